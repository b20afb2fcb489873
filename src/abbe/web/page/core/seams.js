/** From the tiles' own objects to those of the image: the twin of `abbe.runtime.tiling.seams`. */

import { areasOf } from "./components.js";
import { crop, intersection } from "./grid.js";

/** Two tiles mean the same object if what they see of it agrees to more than this IoU. */
const SAME_OBJECT = 0.5;

/** @typedef {import("./types.js").Region} Region */

/**
 * @typedef {object} Pieces The objects of one tile as far as they lie in its core, by number.
 * @property {Int32Array} area px in the core.
 * @property {Int32Array} firstRow Of the first pixel, in px of the whole image.
 * @property {Int32Array} firstColumn
 * @property {Float64Array[]} sums Of each map that is told, over the pixels in the core.
 *
 * @typedef {{count: number, ofTile: Int32Array[], means: Float64Array[]}} Numbering
 * @typedef {[number, number, [number, number][]]} Match Two tiles, and pairs of their numbers.
 */

/**
 * Measure what of a tile's objects lies in its core.
 *
 * @param {Int32Array} labels Of the field.
 * @param {number} count
 * @param {Region} field
 * @param {Region} core
 * @param {Float32Array[]} told Maps of the field whose means are told of each object.
 * @returns {Pieces}
 */
export function piecesOf(labels, count, field, core, told) {
  const inside = crop(labels, field, core);
  const sums = told.map(() => new Float64Array(count + 1));
  const firstRow = new Int32Array(count + 1);
  const firstColumn = new Int32Array(count + 1);
  const width = core.right - core.left;
  const values = told.map((map) => crop(map, field, core));
  for (let i = inside.length - 1; i >= 0; i--) {
    const number = inside[i];
    if (!number) continue;
    firstRow[number] = Math.floor(i / width) + core.top;
    firstColumn[number] = (i % width) + core.left;
    for (let k = 0; k < sums.length; k++) sums[k][number] += values[k][i];
  }
  const area = areasOf(inside, count);
  area[0] = 0;
  return { area, firstRow, firstColumn, sums };
}

/**
 * Pairs of numbers by which two tiles mean the same object.
 *
 * @param {Int32Array} here
 * @param {Region} hereField
 * @param {Int32Array} there
 * @param {Region} thereField
 * @returns {[number, number][]}
 */
export function sameObjects(here, hereField, there, thereField) {
  const shared = intersection(hereField, thereField);
  const [a, b] = [crop(here, hereField, shared), crop(there, thereField, shared)];
  /** @type {Map<number, number>[]} */
  const [areaA, areaB, both] = [new Map(), new Map(), new Map()];
  const most = 2 ** 26;
  for (let i = 0; i < a.length; i++) {
    if (a[i]) areaA.set(a[i], (areaA.get(a[i]) ?? 0) + 1);
    if (b[i]) areaB.set(b[i], (areaB.get(b[i]) ?? 0) + 1);
    if (!a[i] || !b[i]) continue;
    const key = a[i] * most + b[i];
    both.set(key, (both.get(key) ?? 0) + 1);
  }
  /** @type {[number, number][]} */
  const found = [];
  for (const [key, overlap] of both) {
    const [first, second] = [Math.floor(key / most), key % most];
    const union = (areaA.get(first) ?? 0) + (areaB.get(second) ?? 0) - overlap;
    if (overlap > SAME_OBJECT * union) found.push([first, second]);
  }
  return found;
}

/**
 * Join pieces to objects, leave out small ones, and number the rest in reading order.
 *
 * @param {Pieces[]} pieces Of every tile.
 * @param {Match[]} matches
 * @param {number} minimumArea px; an object with fewer, all its pieces together, is left out.
 * @returns {Numbering}
 */
export function numberObjects(pieces, matches, minimumArea) {
  const start = startsOf(pieces);
  const total = start[pieces.length];
  const area = joined(pieces, total, start, (each) => each.area);
  const group = groupsOf(pairsOf(matches, start, area), total);
  const sums = new Float64Array(total);
  for (let i = 0; i < total; i++) sums[group[i]] += area[i];
  const rows = joined(pieces, total, start, (each) => each.firstRow);
  const columns = joined(pieces, total, start, (each) => each.firstColumn);
  const order = [];
  for (let i = 0; i < total; i++) if (area[i] > 0) order.push(i);
  order.sort((a, b) => rows[a] - rows[b] || columns[a] - columns[b] || a - b);
  const number = new Int32Array(total);
  let count = 0;
  for (const i of order) {
    const of = group[i];
    if (!number[of] && sums[of] >= Math.max(minimumArea, 1)) number[of] = ++count;
  }
  const all = new Float64Array(count + 1);
  const totals = pieces[0].sums.map(() => new Float64Array(count + 1));
  const ofTile = pieces.map((each, tile) => {
    const numbers = new Int32Array(each.area.length);
    for (let i = 0; i < numbers.length; i++) {
      if (!each.area[i]) continue;
      numbers[i] = number[group[start[tile] + i]];
      all[numbers[i]] += each.area[i];
      totals.forEach((total, k) => (total[numbers[i]] += each.sums[k][i]));
    }
    return numbers;
  });
  const means = totals.map((total) => total.map((sum, i) => (i ? Math.min(sum / all[i], 1) : 0)));
  return { count, ofTile, means };
}

/** @param {Pieces[]} pieces */
export function startsOf(pieces) {
  const start = [0];
  for (const each of pieces) start.push(start[start.length - 1] + each.area.length);
  return start;
}

/**
 * @param {Pieces[]} pieces
 * @param {number} total
 * @param {number[]} start
 * @param {(pieces: Pieces) => Int32Array} what
 */
export function joined(pieces, total, start, what) {
  const found = new Int32Array(total);
  pieces.forEach((each, tile) => found.set(what(each), start[tile]));
  return found;
}

/**
 * Pairs of places in the row of all pieces; those without pixels are left out.
 *
 * @param {Match[]} matches
 * @param {number[]} start
 * @param {Int32Array} area
 * @returns {[number, number][]}
 */
export function pairsOf(matches, start, area) {
  return matches.flatMap(([a, b, pairs]) =>
    pairs
      .map(([one, other]) => /** @type {[number, number]} */ ([start[a] + one, start[b] + other]))
      .filter(([one, other]) => area[one] > 0 && area[other] > 0),
  );
}

/**
 * The group of each of `count` things that the pairs make: the first thing in it.
 *
 * @param {[number, number][]} pairs
 * @param {number} count
 */
export function groupsOf(pairs, count) {
  const parent = Int32Array.from({ length: count }, (_, i) => i);
  const root = (/** @type {number} */ i) => {
    while (parent[i] !== i) {
      parent[i] = parent[parent[i]];
      i = parent[i];
    }
    return i;
  };
  for (const [a, b] of pairs) {
    const [one, other] = [root(a), root(b)];
    if (one < other) parent[other] = one;
    else parent[one] = other;
  }
  return parent.map((_, i) => root(i));
}

/** Confidence, and how probable each type is: shares of 1. @param {Float64Array[]} means */
export function toldOf([confidence, ...means]) {
  if (!means.length) return { confidence };
  const total = confidence.map((_, i) => means.reduce((sum, each) => sum + each[i], 0));
  const types = means.map((each) => each.map((mean, i) => (total[i] > 0 ? mean / total[i] : 1 / means.length)));
  return { confidence, types };
}
