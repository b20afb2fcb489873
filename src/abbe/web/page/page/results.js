/** What was found: over the picture, in the table, as a histogram. The three show one choice. */

import { element, input, made, show } from "./elements.js";
import { classColour, hex } from "./colours.js";
import { TEXTS } from "../texts.js";
import { levelFor, tiledImage } from "./levels.js";
import { Table, drawHistogram, rounded } from "./objects.js";

export class Results {
  /**
   * @param {import("../core/types.js").Description} description
   * @param {import("./viewer.js").Viewer} viewer
   * @param {import("./asking.js").Asking} asking
   * @param {(what: string) => void} save
   */
  constructor(description, viewer, asking, save) {
    this.asking = asking;
    /** @type {import("./levels.js").Shown | null} */
    this.shown = null;
    this.description = description;
    this.viewer = viewer;
    /** @type {any} */
    this.told = null;
    /** @type {import("../core/types.js").Picture | null} */
    this.picture = null;
    this.fill = 0.2;
    const typed = description.outputs.some((name) => name.startsWith("type:"));
    const named = typed || (description.classes.length > 0 && description.task !== "segmentation");
    /** @type {string[]} */
    this.classes = named ? description.classes : [];
    /** @type {string[][]} */
    this.heads = [];
    this.table = new Table(element("table"));
    this.showHeads();
    this.table.addEventListener("choose", (event) => this.choose(/** @type {CustomEvent} */ (event).detail, true));
    viewer.addEventListener("choose", (event) => {
      if (description.task === "promptable" || !this.told || viewer.tool !== "choose") return;
      this.choose(this.numberAt(/** @type {CustomEvent} */ (event).detail));
    });
    input("outlines").addEventListener("input", () => this.draw());
    input("fill").addEventListener("input", () => {
      this.fill = Number(input("fill").value);
      this.draw();
    });
    for (const button of element("downloads").querySelectorAll("button")) {
      button.onclick = () => save(button.dataset.save ?? "");
    }
  }

  showHeads() {
    const heads = [["label", TEXTS.number], ["area_px", TEXTS.area], ["x", "x"], ["y", "y"]];
    if (this.classes.length) heads[2] = ["class", TEXTS.class];
    if (this.description.task === "classification") heads[3] = ["confidence", TEXTS.sure];
    this.heads = heads;
    this.table.showHeads(heads);
  }

  /** Objects may have these classes now. @param {string[]} classes */
  named(classes) {
    this.classes = classes;
    this.showHeads();
    if (this.told) this.show(this.told);
  }

  /** @param {import("../core/types.js").Picture} picture */
  clear(picture) {
    this.picture = picture;
    this.told = null;
    this.table.selected = 0;
    this.table.show(new Map(), () => []);
    element("count").textContent = "";
    element("histogram").replaceChildren();
    this.lock();
  }

  /** Nothing can be saved before something is found. */
  lock() {
    for (const button of element("downloads").querySelectorAll("button")) button.disabled = !this.told;
  }

  /** @param {any} told */
  show(told) {
    this.told = told;
    const { labels, columns, classOf } = told;
    this.shown = this.shownOf(labels);
    const [unit, areas] = columns.has("area_um2") ? ["µm²", columns.get("area_um2")] : ["px", columns.get("area_px")];
    if (classOf) columns.set("class", Float64Array.from(classOf.subarray(1)));
    else columns.delete("class");
    element("count").textContent = labels.count.toLocaleString("en");
    drawHistogram(element("histogram"), areas, unit);
    this.table.show(columns, (number) => this.heads.map(([column]) => this.cell(column, number, areas)));
    this.showClasses();
    this.lock();
    this.draw();
  }

  /** @param {string} column @param {number} number @param {Float64Array} areas */
  cell(column, number, areas) {
    const value = this.told.columns.get(column)?.[number - 1];
    if (column === "label") return String(number);
    if (column === "area_px") return rounded(areas[number - 1]);
    if (column === "class") return this.classes[value] ?? "—";
    return column === "confidence" ? `${Math.round(100 * value)} %` : value.toFixed(1);
  }

  showClasses() {
    const { classOf, whole, pixels } = this.told;
    show("classes", Boolean(classOf));
    if (!classOf) return;
    const shares = whole ?? sharesOf(pixels ?? classOf.subarray(1), this.classes.length);
    const rows = this.classes.map((name, number) => {
      const [swatch, bar] = [made("b"), made("i")];
      swatch.style.background = hex(classColour(number));
      bar.style.width = `${100 * shares[number]}%`;
      return made("div", { className: "class" }, [swatch, name, made("span", { textContent: `${(100 * shares[number]).toFixed(1)} %` }), bar]);
    });
    /** @type {HTMLElement} */ (element("classes").querySelector("div")).replaceChildren(...rows);
  }

  /** Labels as the viewer reads them. @param {import("../core/types.js").Labels} labels @returns {import("./levels.js").Shown} */
  shownOf({ values, width, height, tiled }) {
    if (!tiled) return { width, height, levels: [{ width, height }], side: Infinity, tile: () => [values] };
    const ask = async (/** @type {object} */ asked) => (await this.asking.ask("labelTile", asked)).planes;
    return tiledImage({ width, height, ...tiled }, ask, () => this.viewer.draw());
  }

  draw() {
    const { told, viewer } = this;
    /** @type {HTMLOutputElement} */ (input("fill").parentElement?.querySelector("output")).value = `${Math.round(100 * this.fill)} %`;
    viewer.overlay = told && {
      labels: /** @type {import("./levels.js").Shown} */ (this.shown), left: told.labels.left ?? 0, top: told.labels.top ?? 0,
      classOf: told.classOf, tints: told.labels.tints, selected: this.table.selected,
      outlines: input("outlines").checked, fill: this.fill,
    };
    viewer.draw();
  }

  /** @param {{imageX: number, imageY: number}} place */
  numberAt({ imageX, imageY }) {
    const { left = 0, top = 0 } = this.told.labels;
    const [x, y] = [Math.floor(imageX) - left, Math.floor(imageY) - top];
    const shown = /** @type {import("./levels.js").Shown} */ (this.shown);
    if (x < 0 || y < 0 || x >= shown.width || y >= shown.height) return 0;
    const number = levelFor(shown, this.viewer.view.zoom);
    const level = shown.levels[number];
    const [column, row] = [Math.floor((x + 0.5) * (level.width / shown.width)), Math.floor((y + 0.5) * (level.height / shown.height))];
    const side = Math.min(shown.side, level.width);
    const [across, down] = shown.side === Infinity ? [0, 0] : [Math.floor(column / side), Math.floor(row / side)];
    const planes = shown.tile(number, down, across);
    const width = Math.min(side, level.width - across * side);
    return planes ? planes[0][(row - down * side) * width + column - across * side] : 0;
  }

  /** Choose an object. @param {number} number 0 for none. @param {boolean} [centre] Whether to bring it into sight. */
  choose(number, centre = false) {
    if (!this.told) return;
    this.table.choose(number, true);
    const { columns } = this.told;
    if (centre && number && columns.has("x")) {
      const [x, y] = [columns.get("x")[number - 1] + 0.5, columns.get("y")[number - 1] + 0.5];
      this.viewer.centre(x, y, Math.sqrt(columns.get("area_px")[number - 1]));
    }
    this.draw();
  }

  /** The next object of the table, or the one before. @param {number} step */
  step(step) {
    const { order, selected } = this.table;
    if (!order.length) return;
    const at = order.indexOf(selected);
    this.choose(order[(at + step + order.length) % order.length], true);
  }

  toggleFill() {
    this.fill = this.fill ? 0 : 0.35;
    input("fill").value = String(this.fill);
    this.draw();
  }
}

/** The share of each class. @param {Uint8Array | Int16Array} pixels @param {number} count */
function sharesOf(pixels, count) {
  const found = new Float64Array(count);
  for (const pixel of pixels) if (pixel >= 0) found[pixel] += 1 / pixels.length;
  return found;
}
