/** The images that `abbe serve` was given: which one is shown, and how far each is. */

import { element, show } from "./elements.js";
import { TEXTS, say } from "../texts.js";

/** @typedef {{name: string, saved: number, unsaved: boolean, done: boolean}} Listed */

export class Images {
  /** @param {(number: number) => void} open */
  constructor(open) {
    this.open = open;
    this.select = /** @type {HTMLSelectElement} */ (element("images"));
    /** @type {Listed[]} */
    this.list = [];
    this.number = 0;
    this.select.onchange = () => this.turnTo(Number(this.select.value));
    element("previous").onclick = () => this.turnTo(this.number - 1);
    element("following").onclick = () => this.turnTo(this.number + 1);
  }

  /** @param {Listed[]} list */
  show(list) {
    this.list = list;
    show("served", true);
    this.select.replaceChildren(...list.map((_, number) => new Option("", String(number))));
    list.forEach((_, number) => this.mark(number, {}));
    this.turnTo(0);
  }

  /** @param {number} number */
  turnTo(number) {
    if (number < 0 || number >= this.list.length) return;
    this.number = number;
    this.select.value = String(number);
    /** @type {HTMLButtonElement} */ (element("previous")).disabled = number === 0;
    /** @type {HTMLButtonElement} */ (element("following")).disabled = number === this.list.length - 1;
    this.open(number);
  }

  /** Note how far an image is. @param {number} number @param {Partial<Listed>} change */
  mark(number, change) {
    const now = Object.assign(this.list[number], change);
    const sign = now.unsaved ? "● " : now.done ? "✓ " : "";
    const state = now.unsaved ? TEXTS.unsavedMark : now.saved ? say(TEXTS.savedMark, { count: now.saved }) : now.done ? TEXTS.doneMark : "";
    this.select.options[number].textContent = `${sign}${now.name}${state ? ` (${state})` : ""}`;
  }
}
