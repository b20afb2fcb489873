/** One row of measurements for each object: the columns of `abbe predict --results table`. */

import { componentsOf } from "../core/components.js";

/** @typedef {Map<string, Float64Array>} Columns One value an object, in the order of numbers. */

/**
 * Measure every object.
 *
 * @param {import("../core/types.js").Labels} labels
 * @param {import("../core/types.js").Picture} picture
 * @returns {Columns}
 */
export function measured(labels, picture) {
  const { values, width, count, left = 0, top = 0 } = labels;
  const first = new Int32Array(count + 1).fill(-1);
  const [area, sy, sx, yy, xx, yx] = Array.from({ length: 6 }, () => new Float64Array(count + 1));
  const means = picture.planes.map(() => new Float64Array(count + 1));
  for (let i = 0; i < values.length; i++) {
    const number = values[i];
    if (!number) continue;
    if (first[number] < 0) first[number] = i;
    // Moments are taken around the first pixel: about the corner they would lose digits.
    const y = Math.floor(i / width) - Math.floor(first[number] / width);
    const x = (i % width) - (first[number] % width);
    area[number]++;
    sy[number] += y;
    sx[number] += x;
    yy[number] += y * y;
    xx[number] += x * x;
    yx[number] += y * x;
    picture.planes.forEach((plane, c) => (means[c][number] += plane[i]));
  }
  /** @type {Columns} */
  const columns = new Map();
  const column = (/** @type {string} */ name, /** @type {(n: number) => number} */ value) =>
    columns.set(name, Float64Array.from({ length: count }, (_, i) => value(i + 1)));
  const x = (/** @type {number} */ n) => sx[n] / area[n] + (first[n] % width) + left;
  const y = (/** @type {number} */ n) => sy[n] / area[n] + Math.floor(first[n] / width) + top;
  const axes = Array.from({ length: count + 1 }, (_, n) => {
    const [my, mx] = [sy[n] / area[n], sx[n] / area[n]];
    return axesOf(yy[n] / area[n] - my * my, xx[n] / area[n] - mx * mx, yx[n] / area[n] - my * mx);
  });
  column("label", (n) => n);
  column("x", x);
  column("y", y);
  column("area_px", (n) => area[n]);
  const parts = partsOf(labels);
  column("parts", (n) => parts[n]);
  column("major_axis_px", (n) => 4 * Math.sqrt(axes[n][0]));
  column("minor_axis_px", (n) => 4 * Math.sqrt(axes[n][1]));
  column("eccentricity", (n) => Math.sqrt(1 - (axes[n][0] > 0 ? axes[n][1] / axes[n][0] : 1)));
  const size = picture.pixelSize;
  if (size) {
    column("x_um", (n) => x(n) * size);
    column("y_um", (n) => y(n) * size);
    column("area_um2", (n) => area[n] * size ** 2);
  }
  if (labels.confidence.length === count + 1) column("confidence", (n) => labels.confidence[n]);
  picture.channels.forEach((name, c) => column(`mean_${name}`, (n) => means[c][n] / area[n]));
  return columns;
}

/**
 * Measure objects that may overlap, each by its own mask.
 *
 * @param {import("../core/types.js").Labels[]} all One object each.
 * @param {import("../core/types.js").Picture} picture
 * @param {{left: number, top: number}} origin Where the picture lies in the image.
 * @returns {Columns}
 */
export function measuredEach(all, picture, { left, top }) {
  const rows = all.map((labels) => measured(labels, cutOut(picture, labels, left, top)));
  const none = { values: new Int32Array(0), width: 0, height: 0, count: 0, confidence: new Float64Array(1) };
  const names = [...measured(none, picture).keys()];
  const value = (/** @type {Columns} */ row, /** @type {string} */ name) => /** @type {Float64Array} */ (row.get(name))[0];
  const numbers = Float64Array.from(rows, (_, i) => i + 1);
  return new Map(names.map((name) => [name, name === "label" ? numbers : Float64Array.from(rows, (row) => value(row, name))]));
}

/** The part of a picture that a label's box covers. @param {import("../core/types.js").Picture} picture @param {import("../core/types.js").Labels} box @param {number} left @param {number} top */
function cutOut(picture, { width, height, left: x = 0, top: y = 0 }, left, top) {
  const planes = picture.planes.map((plane) => {
    const found = /** @type {import("../core/types.js").Values} */ (new /** @type {any} */ (plane.constructor)(width * height));
    for (let row = 0; row < height; row++) {
      const start = (y - top + row) * picture.width + x - left;
      found.set(plane.subarray(start, start + width), row * width);
    }
    return found;
  });
  return { ...picture, width, height, planes };
}

/** Of how many parts each object is that touch by no side. @param {import("../core/types.js").Labels} labels */
function partsOf({ values, width, height, count }) {
  const { labels, count: parts } = componentsOf(values, width, height);
  const objectOf = new Int32Array(parts + 1);
  for (let i = 0; i < values.length; i++) objectOf[labels[i]] = values[i];
  const found = new Int32Array(count + 1);
  for (let part = 1; part <= parts; part++) found[objectOf[part]]++;
  return found;
}

/** Both eigenvalues of a matrix of second central moments. @param {number} yy @param {number} xx @param {number} yx */
function axesOf(yy, xx, yx) {
  const mean = (yy + xx) / 2;
  const spread = Math.sqrt(((yy - xx) / 2) ** 2 + yx ** 2);
  return [mean + spread, Math.max(mean - spread, 0)];
}

/**
 * A CSV file.
 *
 * @param {Columns} columns
 * @param {Map<string, string[]>} [texts] Columns of words, behind the others.
 */
export function csvOf(columns, texts = new Map()) {
  const names = [...columns.keys(), ...texts.keys()];
  const rows = columns.get("label")?.length ?? [...texts.values()][0]?.length ?? 0;
  const lines = [names.map(cell).join(",")];
  for (let i = 0; i < rows; i++) {
    const numbers = [...columns.values()].map((values) => String(Number(values[i].toPrecision(8))));
    lines.push([...numbers, ...[...texts.values()].map((values) => cell(values[i]))].join(","));
  }
  return lines.join("\n") + "\n";
}

/** A cell that no spreadsheet takes for a formula. @param {string} text */
function cell(text) {
  const safe = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}
