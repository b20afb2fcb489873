/** The table of objects and the histogram of their areas. */

import { TEXTS, say } from "../texts.js";

const ROW = 30; // px

/** Rows that are made when they come into sight: there may be many thousands. */
export class Table extends EventTarget {
  /** @param {HTMLElement} box That scrolls. */
  constructor(box) {
    super();
    this.box = box;
    this.body = /** @type {HTMLElement} */ (box.querySelector(".rows"));
    /** @type {number[]} Numbers of the objects, in the order shown. */
    this.order = [];
    this.selected = 0;
    this.sorted = { column: "label", up: true };
    /** @type {Map<string, Float64Array>} */
    this.columns = new Map();
    /** @type {((number: number) => string[])} */
    this.cells = () => [];
    box.addEventListener("scroll", () => this.draw());
    new ResizeObserver(() => this.draw()).observe(box);
    this.body.addEventListener("click", ({ target }) => {
      const row = /** @type {HTMLElement} */ (target).closest("[data-number]");
      if (row) this.choose(Number(/** @type {HTMLElement} */ (row).dataset.number));
    });
    box.addEventListener("keydown", (event) => {
      const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10 }[event.key];
      if (!step || !this.order.length) return;
      event.preventDefault();
      event.stopPropagation();
      const at = this.order.indexOf(this.selected);
      this.choose(this.order[Math.min(Math.max(at + step, 0), this.order.length - 1)]);
    });
  }

  /** @param {string[][]} heads Columns and what they are called. */
  showHeads(heads) {
    const buttons = heads.map(([column, textContent]) => {
      const button = document.createElement("button");
      button.textContent = textContent;
      button.dataset.column = column;
      button.onclick = () => {
        this.sorted = { column, up: this.sorted.column === column ? !this.sorted.up : true };
        this.sort();
      };
      return button;
    });
    /** @type {HTMLElement} */ (this.box.querySelector(".head")).replaceChildren(...buttons);
  }

  /** @param {Map<string, Float64Array>} columns @param {(number: number) => string[]} cells */
  show(columns, cells) {
    Object.assign(this, { columns, cells });
    if (this.selected > (columns.get("label")?.length ?? 0)) this.selected = 0;
    this.sort();
  }

  sort() {
    const values = this.columns.get(this.sorted.column) ?? this.columns.get("label") ?? [];
    this.order = Array.from({ length: values.length }, (_, i) => i + 1);
    this.order.sort((a, b) => (values[a - 1] - values[b - 1]) * (this.sorted.up ? 1 : -1) || a - b);
    this.draw();
  }

  /** @param {number} number 0 for none. @param {boolean} [told] Whether the choice came from elsewhere. */
  choose(number, told = false) {
    this.selected = number;
    const at = this.order.indexOf(number);
    const head = this.box.querySelector(".head")?.clientHeight ?? 0;
    const [top, height] = [this.box.scrollTop, this.box.clientHeight - head];
    if (at >= 0 && (at * ROW < top || (at + 1) * ROW > top + height)) {
      this.box.scrollTop = at * ROW - height / 2;
    }
    this.draw();
    if (!told) this.dispatchEvent(new CustomEvent("choose", { detail: number }));
  }

  draw() {
    const { box, body } = this;
    const first = Math.max(0, Math.floor(box.scrollTop / ROW) - 2);
    const last = Math.min(this.order.length, first + Math.ceil(box.clientHeight / ROW) + 4);
    body.style.height = `${this.order.length * ROW}px`;
    body.replaceChildren(...this.order.slice(first, last).map((number, i) => {
      const row = document.createElement("div");
      row.className = "row";
      row.dataset.number = String(number);
      row.setAttribute("role", "row");
      row.setAttribute("aria-selected", String(number === this.selected));
      row.style.top = `${(first + i) * ROW}px`;
      row.append(...this.cells(number).map((text) => {
        const cell = document.createElement("span");
        cell.setAttribute("role", "cell");
        cell.textContent = text;
        return cell;
      }));
      return row;
    }));
  }
}

/**
 * Draw a histogram of areas. Of more than a hundred, the last bar holds the largest hundredth, so that one
 * huge object does not squeeze all others into the first bar; the axis says so.
 *
 * @param {HTMLElement} box
 * @param {ArrayLike<number>} areas
 * @param {string} unit
 */
export function drawHistogram(box, areas, unit) {
  box.replaceChildren();
  if (!areas.length) {
    box.textContent = TEXTS.histogramEmpty;
    return;
  }
  const sorted = Float64Array.from(areas).sort();
  const most = Math.max(sorted[Math.ceil(0.99 * (sorted.length - 1))], sorted[0] + 1e-9);
  const largest = sorted[sorted.length - 1];
  const bins = Math.min(24, Math.max(6, Math.ceil(Math.sqrt(areas.length))));
  const counts = new Float64Array(bins);
  for (const area of sorted) counts[Math.min(Math.floor((area / most) * bins), bins - 1)]++;
  const highest = Math.max(...counts);
  const bars = document.createElement("div");
  bars.className = "bars";
  bars.setAttribute("role", "img");
  bars.setAttribute("aria-label", say(TEXTS.histogramTitle, { unit }));
  counts.forEach((count, i) => {
    const bar = document.createElement("i");
    bar.style.height = `${(100 * count) / highest}%`;
    const end = i === bins - 1 ? Math.max(largest, most) : ((i + 1) * most) / bins;
    bar.title = `${rounded((i * most) / bins)}–${rounded(end)} ${unit}: ${count}`;
    bars.append(bar);
  });
  const axis = document.createElement("div");
  axis.className = "axis";
  for (const text of ["0", say(largest > most ? TEXTS.orMore : TEXTS.largest, { value: rounded(most), unit })]) {
    const mark = document.createElement("span");
    mark.textContent = text;
    axis.append(mark);
  }
  box.append(bars, axis);
}

/** Three digits that count. @param {number} value */
export function rounded(value) {
  return Number(value.toPrecision(3)).toLocaleString("en");
}
