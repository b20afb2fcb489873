/** The page: an image comes in, the worker looks at it, and what it found is shown. */

import { classColour } from "./page/colours.js";
import { Asking } from "./page/asking.js";
import { cardOf } from "./page/card.js";
import { ImageForm } from "./page/image_form.js";
import { Prompting } from "./page/prompting.js";
import { Results } from "./page/results.js";
import { Images } from "./page/images.js";
import { RuleForm } from "./page/rule_form.js";
import { keepOffline } from "./page/offline.js";
import { Viewer } from "./page/viewer.js";
import { listenToKeys } from "./page/keys.js";
import { element, show } from "./page/elements.js";
import { PROBLEMS, TEXTS, say } from "./texts.js";

/** @typedef {import("./core/types.js").Picture} Picture */

/** px of a part of a large image that is looked at in one go. */
const MOST_SEEN = 2 ** 24;

class Page {
  /** @param {any} site What site.json says. */
  constructor(site) {
    this.site = site;
    /** @type {import("./core/types.js").Description} */
    this.description = site.package;
    this.description.colours = this.description.classes.map((_, number) => classColour(number));
    this.asking = new Asking();
    this.viewer = new Viewer(/** @type {HTMLCanvasElement} */ (element("canvas")));
    this.form = new ImageForm(this.description, this.viewer, this.asking, () => this.look());
    this.rules = new RuleForm(this.description, (rule) => this.change(rule));
    this.results = new Results(this.description, this.viewer, this.asking, (what) => this.save(what));
    this.images = new Images((number) => this.openServed(number));
    this.prompting = new Prompting(this.asking, this.viewer, this.results);
    /** @type {Picture | null} */
    this.picture = null;
    /** @type {string | undefined} */
    this.opening = undefined;
    /** @type {any} */
    this.wanted = null;
    this.changing = false;
  }

  async start() {
    const { site, description } = this;
    document.title = description.title;
    element("title").textContent = description.title;
    element("found").textContent = TEXTS[description.task];
    element("licence").textContent = licenceOf(description);
    element("privacy").textContent = site.server ? TEXTS.staysHere : TEXTS.nothingLeaves;
    this.listen();
    if (site.server) {
      await this.startServed();
      return;
    }
    this.tell(TEXTS.starting);
    // Where the service worker is new, the page comes again with it, and threads with that.
    if (await keepOffline(site.files)) return;
    const ready = await this.asking.ask("start", { site });
    const { engine, threads } = ready;
    element("engine").textContent = say(threads > 1 ? TEXTS.engine : TEXTS.engineOne, { engine, threads });
    if (!this.picture) this.tell(TEXTS.readyToOpen);
    document.body.dataset.ready = "yes";
  }

  /** The page of `abbe serve`: its images are those of the server, and so is what computes. */
  async startServed() {
    for (const id of ["open", "empty"]) show(id, false);
    const { engine } = await this.asking.ask("start", { site: this.site });
    element("engine").textContent = say(TEXTS.engineNative, { engine });
    const session = await (await fetch("api/session")).json();
    document.body.dataset.ready = "yes";
    this.images.show(session.images);
  }

  /** @param {number} number */
  openServed(number) {
    const { name } = this.images.list[number];
    return this.openPicture({ number }, name);
  }

  /** @param {string} text */
  tell(text) {
    element("status").textContent = text;
  }

  /** @param {unknown} problem */
  complain(problem) {
    const told = /** @type {{message: string, named?: boolean, outdated?: boolean}} */ (problem);
    show("progress", false);
    if (told.outdated) return;
    const { description, picture } = this;
    const known = told.message in PROBLEMS ? PROBLEMS[/** @type {keyof typeof PROBLEMS} */ (told.message)] : told.message;
    const text = told.named ? known : PROBLEMS.failed;
    const size = description.pixel_size ? `${description.pixel_size} µm` : `${description.object_diameter} px`;
    element("problem").textContent = say(text, {
      name: this.opening ?? picture?.name ?? "", reason: told.message, size,
      has: picture?.channels.join(", ") ?? "", names: description.channels.join(", "),
    });
    show("problem", true);
    this.tell("");
    document.body.dataset.state = "problem";
  }

  /** @param {Blob} file @param {string} name */
  open(file, name) {
    return this.openPicture({ file, name }, name);
  }

  /** @param {object} asked What the worker opens. @param {string} name */
  async openPicture(asked, name) {
    document.body.dataset.state = "busy";
    show("problem", false);
    this.opening = name;
    this.tell(say(TEXTS.opening, { name }));
    try {
      const { picture, channels } = await this.asking.ask("open", asked);
      this.picture = picture;
      this.opening = undefined;
      show("empty", false);
      for (const id of ["tools", "panels"]) show(id, true);
      await this.form.show(picture, channels);
      element("canvas").focus({ preventScroll: true }); // so that keys mean the image, and no button
      this.results.clear(picture);
      this.prompting.clear();
      await this.look();
    } catch (problem) {
      this.complain(problem);
    }
  }

  async look() {
    if (!this.picture) return;
    document.body.dataset.state = "busy";
    show("problem", false);
    const asked = this.form.asked();
    if (!asked) {
      const grey = this.picture.channels.length < this.description.channels.length;
      this.complain({ message: grey && this.description.channels.length === 3 ? "colourNeeded" : "channelsNeeded", named: true });
      return;
    }
    const region = this.region();
    if (region && (region.right - region.left) * (region.bottom - region.top) > MOST_SEEN) {
      this.tell(TEXTS.largeImage);
      document.body.dataset.state = "large";
      return;
    }
    this.tell(TEXTS.lookingFirst);
    this.picture.pixelSize = asked.pixelSize ?? null;
    try {
      const told = await this.asking.ask("look", { ...asked, rule: this.rules.rule(), region }, (progress) => this.progress(progress));
      show("progress", false);
      this.form.looked(asked);
      if (this.description.task === "promptable") {
        const { width, height } = this.picture;
        this.prompting.ready(region ?? { left: 0, top: 0, right: width, bottom: height });
        this.tell(TEXTS.embedded);
      } else {
        this.found(told);
      }
      document.body.dataset.state = "done";
    } catch (problem) {
      this.complain(problem);
    }
  }

  /** The part of a large image that is looked at: what is seen; null for all of it. */
  region() {
    return this.picture?.tiled && !this.site.server ? this.viewer.seen() : null;
  }

  /** @param {{done: number, total: number, seconds: number}} told */
  progress({ done, total, seconds }) {
    const box = element("progress");
    show("progress", (total > 1 || done > 0) && done < total);
    /** @type {HTMLProgressElement} */ (box.querySelector("progress")).value = done / total;
    const left = done ? (seconds / done) * (total - done) : 0;
    const time = left < 90 ? say(TEXTS.secondsLeft, { count: Math.ceil(left) }) : say(TEXTS.minutesLeft, { count: Math.ceil(left / 60) });
    const percent = Math.floor((100 * done) / total);
    /** @type {HTMLElement} */ (box.querySelector("span")).textContent = done ? say(TEXTS.looking, { percent, left: time }) : TEXTS.lookingFirst;
  }

  /** @param {any} told */
  found(told) {
    this.results.show(told);
    if (this.site.server) this.images.mark(this.images.number, { done: true });
    const seconds = told.seconds.toFixed(told.seconds < 10 ? 1 : 0);
    const { count } = told.labels;
    if (told.whole) {
      const best = told.whole.indexOf(Math.max(...told.whole));
      this.tell(say(TEXTS.classFound, { name: this.description.classes[best], percent: Math.round(100 * told.whole[best]) }));
    } else if (this.description.task === "regions") {
      this.tell(say(TEXTS.areasFound, { count, seconds }));
    } else {
      this.tell(say(count === 1 ? TEXTS.oneObject : TEXTS.objectsFound, { count, seconds }));
    }
  }

  /** Apply other thresholds: the newest, when the last are answered. @param {any} rule */
  async change(rule) {
    this.wanted = rule;
    if (this.changing || document.body.dataset.state !== "done") return;
    this.changing = true;
    try {
      while (this.wanted) {
        const next = this.wanted;
        this.wanted = null;
        this.found(await this.asking.ask("change", { rule: next }));
      }
    } catch (problem) {
      this.complain(problem);
    } finally {
      this.changing = false;
    }
  }

  /** @param {string} what */
  async save(what) {
    if (!this.picture) return;
    try {
      const { data, type, file } = await this.asking.ask("save", { what });
      if (file) {
        this.tell(say(TEXTS.saved, { name: file }));
        return;
      }
      const stem = this.picture.name.replace(/(\.ome)?\.\w+$/i, "");
      const ending = /** @type {Record<string, string>} */ ({ geojson: "geojson", labels: "labels.tif", png: "labels.png", csv: "csv" })[what];
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([data], { type }));
      link.download = `${stem}.${ending}`;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 60000);
      this.tell(say(TEXTS.saved, { name: link.download }));
    } catch (problem) {
      this.complain(problem);
    }
  }

  async openExample() {
    const answer = await fetch(this.site.example);
    await this.open(await answer.blob(), this.site.example);
  }

  listen() {
    const file = /** @type {HTMLInputElement} */ (element("file"));
    const openFirst = (/** @type {FileList | undefined | null} */ files) => {
      if (files?.length && !this.site.server) this.open(files[0], files[0].name);
    };
    element("open").onclick = () => file.click();
    file.onchange = () => {
      openFirst(file.files);
      file.value = "";
    };
    show("example", Boolean(this.site.example));
    element("example").onclick = () => this.openExample();
    element("stop").onclick = () => this.stop();
    addEventListener("dragover", (event) => {
      event.preventDefault();
      show("drop", true);
    });
    addEventListener("dragleave", (event) => event.relatedTarget ?? show("drop", false));
    addEventListener("drop", (event) => {
      event.preventDefault();
      show("drop", false);
      openFirst(event.dataTransfer?.files);
    });
    addEventListener("paste", (event) => openFirst(event.clipboardData?.files));
    show("about", this.site.card);
    element("about").onclick = () => this.showCard();
    listenToKeys(this);
  }

  /** Let go of what is computed for. */
  async stop() {
    show("progress", false);
    if (document.body.dataset.state !== "busy") return;
    document.body.dataset.state = "stopped";
    this.tell(TEXTS.stopped);
    // A new number makes the running look outdated; the answer does not matter.
    await this.asking.ask("stop", {});
  }

  async showCard() {
    const dialog = /** @type {HTMLDialogElement} */ (element("card"));
    const text = await (await fetch("package/README.md")).text();
    /** @type {HTMLElement} */ (dialog.querySelector(".text")).replaceChildren(cardOf(text));
    dialog.showModal();
  }
}

/** @param {import("./core/types.js").Description} description */
function licenceOf({ lineage }) {
  const parts = [["Licence of the weights", lineage.weights_licence], ["Of the training images", lineage.dataset_licence]];
  return parts.filter(([, text]) => text).map(([what, text]) => `${what}: ${text}.`).join(" ");
}

async function begin() {
  show("unserved", false);
  const site = await (await fetch("site.json")).json();
  const page = new Page(site);
  Object.assign(window, { abbe: page });
  page.start().catch((problem) => {
    element("problem").textContent = say(PROBLEMS.startFailed, { reason: problem.message });
    show("problem", true);
    page.tell("");
  });
}

begin();
