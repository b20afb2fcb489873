/** Clicks and boxes of a promptable network, and the masks that are kept. */

import { element, input, show } from "./elements.js";
import { TEXTS, say } from "../texts.js";

export class Prompting {
  /**
   * @param {import("./asking.js").Asking} asking
   * @param {import("./viewer.js").Viewer} viewer
   * @param {import("./results.js").Results} results
   * @param {import("./editing.js").Editing} editing
   * @param {(problem: unknown) => void} complain
   */
  constructor(asking, viewer, results, editing, complain) {
    this.editing = editing;
    this.complain = complain;
    this.asking = asking;
    this.viewer = viewer;
    this.results = results;
    this.prompted = results.description.task === "promptable";
    /** @type {{mask: import("../tasks/kept.js").Patch | null, score: number}[]} */
    this.masks = [];
    this.shown = 0;
    this.isReady = false;
    this.asked = 0;
    this.part = { left: 0, top: 0, width: 0, height: 0 };
    show("prompting", this.prompted);
    if (!this.prompted) return;
    viewer.addEventListener("choose", (event) => viewer.tool === "choose" && this.point(/** @type {CustomEvent} */ (event).detail));
    viewer.addEventListener("box", () => this.ask());
    viewer.boxes = true;
    input("boxes").oninput = () => (viewer.alwaysBoxes = input("boxes").checked);
    element("keep").onclick = () => this.keep();
    element("next").onclick = () => this.next();
    element("clear").onclick = () => this.clear();
    element("undo").onclick = () => this.undo();
    element("numbers").onsubmit = (event) => {
      event.preventDefault();
      this.place(input("coordinates").value);
    };
  }

  /** Whether a click says what is outside. */
  get outside() {
    return input("means-outside").checked;
  }

  /** Put a point or a box where numbers say. @param {string} text */
  place(text) {
    const numbers = text.split(/[\s,;]+/).filter(Boolean).map(Number);
    const { left, top, width, height } = this.part;
    const limits = [left + width, top + height];
    if (![2, 4].includes(numbers.length) || numbers.some(Number.isNaN)) {
      this.complain({ message: "numbersNeeded", named: true, minor: true });
    } else if (numbers.some((each, i) => each < [left, top][i % 2] || each > limits[i % 2])) {
      this.complain({ message: "numbersOutside", named: true, minor: true });
    } else if (numbers.length === 2) {
      this.viewer.points.push({ x: numbers[0], y: numbers[1], inside: !this.outside });
      this.ask();
    } else {
      this.viewer.box = /** @type {[number, number, number, number]} */ (numbers);
      this.ask();
    }
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
    this.tellPrompt();
    this.draw();
  }

  /** @param {{imageX: number, imageY: number, outside: boolean}} place */
  async point({ imageX: x, imageY: y, outside: other }) {
    const outside = other || this.outside;
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
    this.tellPrompt();
    this.masks = []; // so that Enter keeps no mask of an earlier question
    element("status").textContent = TEXTS.asking;
    try {
      const { masks } = await this.asking.ask("prompt", { prompt });
      if (number !== this.asked) return;
      show("problem", false);
      this.masks = masks;
      this.shown = 0;
      this.draw();
    } catch (problem) {
      this.complain(Object.assign(/** @type {Error} */ (problem), { minor: true }));
    }
  }

  /** Say what was asked. */
  tellPrompt() {
    const { points, box } = this.viewer;
    const parts = [points.length && say(points.length === 1 ? TEXTS.onePoint : TEXTS.points, { count: points.length }), box && TEXTS.aBox];
    element("prompts").textContent = parts.filter(Boolean).join(", ");
  }

  next() {
    this.pick((this.shown + 1) % Math.max(this.masks.length, 1));
  }

  /** @param {number} number Of the masks for a single point. */
  async pick(number) {
    const [wanted, asked] = [this.masks[number], this.asked];
    if (!wanted) return;
    wanted.mask ??= (await this.asking.ask("mask", { number })).mask;
    if (asked !== this.asked) return;
    this.shown = number;
    this.draw();
  }

  async keep() {
    const chosen = this.masks[this.shown];
    if (!chosen?.mask) return;
    if (!chosen.mask.data.includes(1)) {
      element("status").textContent = TEXTS.nothingThere;
      return;
    }
    this.clear();
    await this.editing.apply({ mask: chosen.mask, score: chosen.score, category: this.editing.kind }, 0);
  }

  /** Take the last point or box back, else the last change of the objects. */
  async undo() {
    const { viewer } = this;
    if (!viewer.points.length && !viewer.box) {
      await this.editing.undo();
      return;
    }
    if (viewer.box) viewer.box = null;
    else viewer.points.pop();
    if (viewer.points.length) await this.ask();
    else this.clear();
  }

  async remove() {
    if (this.masks.length || !this.results.table.selected) this.clear();
    else await this.editing.remove();
  }

  /** The mask in question lies over those that were kept. */
  draw() {
    if (!this.prompted) return;
    const chosen = this.masks[this.shown];
    this.viewer.asked = null;
    this.results.draw();
    if (!chosen?.mask) return;
    const { left, top, width, height, data } = chosen.mask;
    const labels = { width, height, levels: [{ width, height }], side: Infinity, tile: () => [data] };
    this.viewer.asked = {
      labels, left: left + this.part.left, top: top + this.part.top, classOf: null, selected: 1, outlines: true,
      fill: this.results.fill,
    };
    this.viewer.draw();
    element("status").textContent = say(TEXTS.masksFound, { number: this.shown + 1, count: this.masks.length, score: chosen.score.toFixed(2) });
  }
}
