/** The page: an image comes in, the worker looks at it, and what it found is shown. */

import { Asking } from "./page/asking.js";
import { cardOf } from "./page/card.js";
import { ImageForm } from "./page/image_form.js";
import { Prompting } from "./page/prompting.js";
import { Results } from "./page/results.js";
import { Editing } from "./page/editing.js";
import { chosenFolder, droppedFolder } from "./page/folders.js";
import { Images } from "./page/images.js";
import { RuleForm } from "./page/rule_form.js";
import { keepOffline } from "./page/offline.js";
import { Viewer } from "./page/viewer.js";
import { listenToKeys } from "./page/keys.js";
import { element, show } from "./page/elements.js";
import { PROBLEMS, TEXTS, fillWords, say } from "./texts.js";

/** @typedef {import("./core/types.js").Picture} Picture */

/** px of a part of a large image that is looked at in one go. */
const MOST_SEEN = 2 ** 24;

class Page {
  /** @param {any} site What site.json says. */
  constructor(site) {
    this.site = site;
    /** @type {import("./core/types.js").Description} */
    this.description = site.package;
    this.asking = new Asking();
    this.viewer = new Viewer(/** @type {HTMLCanvasElement} */ (element("canvas")));
    this.form = new ImageForm(this.description, this.viewer, this.asking, () => this.look());
    this.rules = new RuleForm(this.description, (rule) => this.change(rule));
    this.results = new Results(this.description, this.viewer, this.asking, (what) => this.save(what));
    this.images = new Images((number) => this.openServed(number));
    this.editing = new Editing(this.description, this.asking, this.viewer, this.results, this);
    /** @type {Prompting} */
    this.prompting = new Prompting(this.asking, this.viewer, this.results, this.editing, (problem) => this.complain(problem));
    this.asking.told = (message) => this.complain({ message, named: true, minor: true });
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
    if (site.server || description.task === "promptable") document.body.dataset.annotates = "yes";
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
    const linked = new URLSearchParams(location.search).get("zarr");
    if (linked && !this.picture) await this.openAddress(linked);
  }

  /** The page of `abbe serve`: its images are those of the server, and so is what computes. */
  async startServed() {
    for (const id of ["open", "empty"]) show(id, false);
    show("save", true);
    element("save").onclick = () => this.store();
    addEventListener("beforeunload", (event) => {
      if (this.images.list.some(({ unsaved }) => unsaved)) event.preventDefault();
    });
    const { engine } = await this.asking.ask("start", { site: this.site });
    element("engine").textContent = say(TEXTS.engineNative, { engine });
    const session = await (await fetch("api/session")).json();
    document.body.dataset.ready = "yes";
    this.images.show(session.images);
  }

  /** The image that is shown; the list may be ahead of it. */
  get number() {
    return this.picture?.number ?? this.images.number;
  }

  /** Whether the list stands at another image, which is still being opened or could not be. */
  get behind() {
    return Boolean(this.site.server) && this.picture?.number !== this.images.number;
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
    const told = /** @type {{message: string, named?: boolean, outdated?: boolean, minor?: boolean}} */ (problem);
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
    if (!told.minor) document.body.dataset.state = "problem";
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
      this.prompting.isReady = false; // what is clicked now was not looked at yet
      show("empty", false);
      for (const id of ["tools", "panels"]) show(id, true);
      await this.form.show(picture, channels);
      if (this.picture !== picture || this.behind) return; // another is opened
      element("canvas").focus({ preventScroll: true }); // so that keys mean the image, and no button
      this.results.clear(picture);
      this.editing.edited = false;
      this.prompting.clear();
      await this.look();
    } catch (problem) {
      this.complain(problem);
      if (this.opening === name) this.opening = undefined;
    }
  }

  /** Where what was looked at lies in the image. @returns {{left: number, top: number}} */
  get part() {
    return this.prompting.part;
  }

  async look() {
    if (this.behind) {
      await this.openServed(this.images.number);
      return;
    }
    if (!this.picture || !this.mayDrop()) return;
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
        this.shown(told);
        this.tell(TEXTS.embedded);
      } else {
        this.found(told);
        this.shown(told);
      }
      document.body.dataset.state = "done";
    } catch (problem) {
      this.complain(problem);
    }
  }

  /** What was corrected at an earlier time is there again. @param {any} told */
  shown(told) {
    this.editing.edited = Boolean(told.edited);
    if (this.description.task === "promptable" && told.labels) this.results.show(told);
    if (told.names?.length) {
      this.editing.classes = told.names;
      this.editing.showClasses();
    }
    if (this.site.server) this.showSaved();
  }

  /** Objects were changed. @param {any} told */
  changed(told) {
    if (!this.site.server) return;
    this.images.mark(this.number, { unsaved: told.unsaved });
    this.showSaved();
  }

  showSaved() {
    const { unsaved, saved } = this.images.list[this.number];
    element("saved").textContent = unsaved ? TEXTS.notSaved : saved ? TEXTS.allSaved : "";
  }

  /** Save the objects with `abbe serve`. */
  async store() {
    if (!this.site.server || !this.editing.ready) return;
    try {
      const { files, count, number, unsaved } = await this.asking.ask("store", {});
      this.images.mark(number, { unsaved, done: true, saved: count });
      this.showSaved();
      this.tell(say(TEXTS.savedIn, { files: files.join(", ") }));
    } catch (problem) {
      this.complain(Object.assign(/** @type {Error} */ (problem), { minor: true }));
    }
  }

  /** Whether what was corrected may be replaced by what the network finds, or left behind with its part of the image. */
  mayDrop() {
    if (!this.editing.edited) return true;
    if (this.region()) return confirm(TEXTS.dropPart);
    return this.description.task === "promptable" || confirm(TEXTS.dropEdits);
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
    if (told.unsaved !== undefined) this.changed(told);
    // What can be corrected is done once it is saved.
    if (this.site.server && !this.editing.possible) this.images.mark(this.number, { done: true });
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
    if (this.editing.edited && !this.changing && !this.mayDrop()) return;
    this.editing.edited = false;
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
      const { name, data, type, file } = await this.asking.ask("save", { what });
      if (file) {
        this.tell(say(TEXTS.saved, { name: file }));
        return;
      }
      const stem = name.replace(/(\.ome)?\.\w+$/i, "");
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
      show("drop", !this.site.server);
    });
    addEventListener("dragleave", (event) => event.relatedTarget ?? show("drop", false));
    addEventListener("drop", (event) => {
      event.preventDefault();
      show("drop", false);
      const folder = this.site.server ? null : droppedFolder(event.dataTransfer);
      if (folder) folder.then(({ name, files }) => this.openPicture({ files, name }, name));
      else openFirst(event.dataTransfer?.files);
    });
    this.listenToZarr();
    addEventListener("paste", (event) => openFirst(event.clipboardData?.files));
    show("about", this.site.card);
    element("about").onclick = () => this.showCard();
    listenToKeys(this);
  }

  /** OME-Zarr: an address, or a folder. */
  listenToZarr() {
    const dialog = /** @type {HTMLDialogElement} */ (element("zarr"));
    const folder = /** @type {HTMLInputElement} */ (element("folder"));
    show("open-zarr", !this.site.server);
    element("open-zarr").onclick = () => dialog.showModal();
    element("zarr-form").onsubmit = () => this.openAddress(/** @type {HTMLInputElement} */ (element("address")).value.trim());
    element("choose-folder").onclick = () => folder.click();
    folder.onchange = () => {
      if (!folder.files?.length) return;
      const { name, files } = chosenFolder(folder.files);
      folder.value = "";
      dialog.close();
      this.openPicture({ files, name }, name);
    };
  }

  /** @param {string} address Of an OME-Zarr; relative ones are beside the page. */
  async openAddress(address) {
    if (!address) return;
    const url = new URL(address, location.href).href.replace(/\/+$/, "");
    const name = decodeURIComponent(url.split("/").pop() ?? url);
    await this.openPicture({ url, name }, name);
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
  const parts = [[TEXTS.licenceOfWeights, lineage.weights_licence], [TEXTS.licenceOfImages, lineage.dataset_licence]];
  return parts.filter(([, text]) => text).map(([what, text]) => `${what}: ${text}.`).join(" ");
}

async function begin() {
  fillWords();
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
