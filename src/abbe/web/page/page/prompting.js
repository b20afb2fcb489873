/** Clicks and boxes of a promptable network, and the masks that are kept. */

import { element, input, show } from "./elements.js";
import { TEXTS, say } from "../texts.js";

export class Prompting {
  /**
   * @param {import("./asking.js").Asking} asking
   * @param {import("./viewer.js").Viewer} viewer
   * @param {import("./results.js").Results} results
   */
  constructor(asking, viewer, results) {
    this.asking = asking;
    this.viewer = viewer;
    this.results = results;
    this.prompted = results.description.task === "promptable";
    /** @type {{mask: Uint8Array, score: number}[]} */
    this.masks = [];
    this.shown = 0;
    this.isReady = false;
    this.asked = 0;
    this.part = { left: 0, top: 0, width: 0, height: 0 };
    show("prompting", this.prompted);
    if (!this.prompted) return;
    viewer.addEventListener("choose", (event) => this.point(/** @type {CustomEvent} */ (event).detail));
    viewer.addEventListener("box", () => this.ask());
    viewer.boxes = true;
    input("boxes").oninput = () => (viewer.alwaysBoxes = input("boxes").checked);
    element("keep").onclick = () => this.keep();
    element("next").onclick = () => this.next();
    element("clear").onclick = () => this.clear();
    element("undo").onclick = () => this.undo();
  }

  /** @param {import("../core/types.js").Region} part What was embedded, in px of the image. */
  ready({ left, top, right, bottom }) {
    this.part = { left, top, width: right - left, height: bottom - top };
    this.isReady = true;
    this.clear();
  }

  /** Drop the prompt. */
  clear() {
    this.asked++;
    this.viewer.points = [];
    this.viewer.box = null;
    this.masks = [];
    this.draw();
  }

  /** @param {{imageX: number, imageY: number, outside: boolean}} place */
  async point({ imageX: x, imageY: y, outside }) {
    const { left, top, width, height } = this.part;
    if (!this.isReady || x < left || y < top || x >= left + width || y >= top + height) return;
    const kept = this.results.told && !this.viewer.points.length && !outside ? this.results.numberAt({ imageX: x, imageY: y }) : 0;
    if (kept) {
      this.results.choose(kept);
      return;
    }
    this.viewer.points.push({ x, y, inside: !outside });
    await this.ask();
  }

  async ask() {
    const { points, box } = this.viewer;
    const { left, top, width, height } = this.part;
    const within = (/** @type {number} */ place, /** @type {number} */ most) => Math.min(Math.max(place, 0), most);
    const clipped = box && [
      within(box[0] - left, width), within(box[1] - top, height), within(box[2] - left, width), within(box[3] - top, height),
    ];
    const number = ++this.asked;
    const prompt = { points: points.map(({ x, y }) => [x - left, y - top]), labels: points.map(({ inside }) => (inside ? 1 : 0)), box: clipped };
    const { masks } = await this.asking.ask("prompt", { prompt });
    if (number !== this.asked) return;
    this.masks = masks;
    this.shown = 0;
    this.draw();
  }

  next() {
    if (!this.masks.length) return;
    this.shown = (this.shown + 1) % this.masks.length;
    this.draw();
  }

  async keep() {
    const chosen = this.masks[this.shown];
    if (!chosen) return;
    this.clear();
    this.told(await this.asking.ask("keep", chosen));
  }

  async undo() {
    if (this.viewer.points.length || this.viewer.box) {
      if (this.viewer.box) this.viewer.box = null;
      else this.viewer.points.pop();
      if (this.viewer.points.length) await this.ask();
      else this.clear();
      return;
    }
    this.told(await this.asking.ask("keep", { undo: true }));
  }

  async remove() {
    const { selected } = this.results.table;
    if (this.masks.length || !selected) this.clear();
    else this.told(await this.asking.ask("keep", { remove: selected }));
  }

  /** @param {any} told */
  told(told) {
    this.results.table.selected = 0;
    this.results.show(told);
    element("status").textContent = say(TEXTS.accepted, { count: told.labels.count });
  }

  /** The mask in question lies over those that were kept. */
  draw() {
    if (!this.prompted) return;
    const { left, top, width, height } = this.part;
    const chosen = this.masks[this.shown];
    this.results.draw();
    if (!chosen) return;
    const values = this.results.told ? this.results.told.labels.values.slice() : new Int32Array(width * height);
    const number = (this.results.told?.labels.count ?? 0) + 1;
    for (let i = 0; i < values.length; i++) if (chosen.mask[i]) values[i] = number;
    const labels = this.results.shownOf({ values, width, height, count: number, confidence: new Float64Array(0) });
    this.viewer.overlay = { labels, left, top, classOf: null, selected: number, outlines: true, fill: this.results.fill };
    this.viewer.draw();
    element("status").textContent = say(TEXTS.masksFound, { number: this.shown + 1, count: this.masks.length, score: chosen.score.toFixed(2) });
  }
}
