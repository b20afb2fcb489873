/** Correcting objects: brush, eraser, classes, masks from a file, and back again. */

import { element, input, made, show } from "./elements.js";
import { TEXTS, say } from "../texts.js";

/** @typedef {"choose" | "brush" | "eraser"} Tool */

export class Editing {
  /**
   * @param {import("../core/types.js").Description} description
   * @param {import("./asking.js").Asking} asking
   * @param {import("./viewer.js").Viewer} viewer
   * @param {import("./results.js").Results} results
   * @param {{complain: (problem: unknown) => void, changed: (told: any) => void, part: {left: number, top: number}}} page
   */
  constructor(description, asking, viewer, results, page) {
    this.asking = asking;
    this.viewer = viewer;
    this.results = results;
    this.page = page;
    this.prompted = description.task === "promptable";
    this.possible = ["segmentation", "promptable"].includes(description.task);
    /** @type {string[]} Names of classes, by number. */
    this.classes = description.outputs.some((name) => name.startsWith("type:")) ? [...description.classes] : [];
    /** Whether objects were changed since the network found them. */
    this.edited = false;
    show("editing", this.possible);
    if (!this.possible) return;
    for (const radio of this.tools) radio.onchange = () => this.use(/** @type {Tool} */ (radio.value));
    input("brush-size").oninput = () => this.resize(Number(input("brush-size").value));
    viewer.addEventListener("stroke", (event) => this.stroke(/** @type {CustomEvent} */ (event).detail));
    element("kinds").onchange = () => this.classify(this.kind);
    element("add-class").onclick = () => this.addClass(input("new-class").value);
    input("new-class").onkeydown = (event) => {
      if (event.key === "Enter") this.addClass(input("new-class").value);
    };
    element("undo").onclick = () => this.undo();
    element("delete").onclick = () => this.remove();
    element("import").onclick = () => input("masks-file").click();
    input("masks-file").onchange = () => {
      const [file] = input("masks-file").files ?? [];
      if (file) this.apply({ file, name: file.name });
      input("masks-file").value = "";
    };
    this.resize(10);
    this.showClasses();
  }

  /** @returns {HTMLInputElement[]} */
  get tools() {
    return [...element("editing").querySelectorAll("input[name=tool]")].map((each) => /** @type {HTMLInputElement} */ (each));
  }

  /** The class that is chosen, −1 for none. */
  get kind() {
    return Number(/** @type {HTMLSelectElement} */ (element("kinds")).value || -1);
  }

  /** Whether there is something to correct. */
  get ready() {
    const { told } = this.results;
    return this.possible && document.body.dataset.state === "done" && (this.prompted || !told?.labels.tiled);
  }

  /** @param {Tool} tool */
  use(tool) {
    if (!this.possible) return;
    for (const radio of this.tools) radio.checked = radio.value === tool;
    this.viewer.tool = tool;
    this.viewer.canvas.dataset.tool = tool;
  }

  /** @param {number} size px of the image across. */
  resize(size) {
    const shown = Math.min(Math.max(Math.round(size), 1), 200);
    input("brush-size").value = String(shown);
    this.viewer.radius = shown / 2;
    /** @type {HTMLOutputElement} */ (input("brush-size").parentElement?.querySelector("output")).value = String(shown);
  }

  /** @param {{points: [number, number][], erase: boolean}} drawn */
  async stroke({ points, erase }) {
    if (!this.ready) return;
    const { left = 0, top = 0 } = this.results.told?.labels ?? this.page.part;
    const patch = strokeOf(points.map(([x, y]) => [x - left, y - top]), this.viewer.radius);
    const number = this.results.table.selected;
    await this.apply({ patch, erase, number, category: this.kind }, erase ? number : undefined);
  }

  /** Change the objects. @param {object} asked @param {number} [choose] The object that is chosen then; else what the worker says. */
  async apply(asked, choose) {
    try {
      const told = await this.asking.ask("keep", { ...asked, classes: this.classes });
      this.edited = true;
      show("problem", false);
      this.results.table.selected = Math.min(choose ?? told.number ?? 0, told.labels.count);
      this.results.show(told);
      element("status").textContent = say(TEXTS.accepted, { count: told.labels.count });
      this.page.changed(told);
    } catch (problem) {
      this.page.complain(Object.assign(/** @type {Error} */ (problem), { minor: true }));
    }
  }

  /** @param {number} kind */
  async classify(kind) {
    const number = this.results.table.selected;
    if (number && this.ready) await this.apply({ number, category: kind, classify: true }, number);
  }

  /** @param {string} name */
  addClass(name) {
    const text = name.trim();
    if (!text) return;
    if (!this.classes.includes(text)) this.classes.push(text);
    input("new-class").value = "";
    this.showClasses();
    /** @type {HTMLSelectElement} */ (element("kinds")).value = String(this.classes.indexOf(text));
    this.classify(this.kind);
  }

  /** Choose the class of this number, if there is one. @param {number} kind */
  pick(kind) {
    if (kind >= this.classes.length) return;
    /** @type {HTMLSelectElement} */ (element("kinds")).value = String(kind);
    this.classify(kind);
  }

  showClasses() {
    const before = this.kind;
    const options = [TEXTS.noClass, ...this.classes].map((name, i) => made("option", { value: String(i - 1), textContent: name }));
    element("kinds").replaceChildren(...options);
    /** @type {HTMLSelectElement} */ (element("kinds")).value = String(before);
    this.results.named(this.classes);
  }

  async remove() {
    const { selected } = this.results.table;
    if (selected && this.ready) await this.apply({ remove: selected }, 0);
  }

  async undo() {
    if (this.ready) await this.apply({ undo: true }, this.results.table.selected);
  }
}

/**
 * The px whose centres a round brush touches on its way.
 *
 * @param {number[][]} points
 * @param {number} radius px
 */
export function strokeOf(points, radius) {
  const reach = Math.max(radius, 0.71); // a px at least, wherever its centre is
  const [xs, ys] = [points.map(([x]) => x), points.map(([, y]) => y)];
  const [left, top] = [Math.floor(Math.min(...xs) - reach), Math.floor(Math.min(...ys) - reach)];
  const width = Math.ceil(Math.max(...xs) + reach) - left;
  const height = Math.ceil(Math.max(...ys) + reach) - top;
  const data = new Uint8Array(width * height);
  points.forEach(([x1, y1], i) => {
    const [x0, y0] = points[Math.max(i - 1, 0)];
    const [dx, dy] = [x1 - x0, y1 - y0];
    const square = dx * dx + dy * dy;
    for (let y = Math.floor(Math.min(y0, y1) - reach); y <= Math.max(y0, y1) + reach; y++) {
      for (let x = Math.floor(Math.min(x0, x1) - reach); x <= Math.max(x0, x1) + reach; x++) {
        const along = square ? Math.min(Math.max(((x + 0.5 - x0) * dx + (y + 0.5 - y0) * dy) / square, 0), 1) : 0;
        const away = Math.hypot(x + 0.5 - x0 - along * dx, y + 0.5 - y0 - along * dy);
        if (away <= reach) data[(y - top) * width + x - left] = 1;
      }
    }
  });
  return { left, top, width, height, data };
}
