/** A watershed that floods only where objects touch: the twin of `abbe.runtime.postprocess.flood`. */

import { ownersOf } from "./components.js";

/** 32 bits of a height and 21 of a rank are what a double holds exactly. */
const RANKS = 2 ** 21;

/** Pixels waiting to be flooded: the lowest first, of equal ones the one that came first. */
class Queue {
  constructor() {
    /** @type {number[]} */
    this.keys = [];
    /** @type {number[]} */
    this.ages = [];
    /** @type {number[]} */
    this.pixels = [];
    /** How high the pixel lies that was taken last. */
    this.level = 0;
  }

  get size() {
    return this.pixels.length;
  }

  /** @param {number} key @param {number} age @param {number} pixel */
  push(key, age, pixel) {
    const { keys, ages, pixels } = this;
    let at = pixels.length;
    while (at > 0) {
      const above = (at - 1) >> 1;
      if (keys[above] < key || (keys[above] === key && ages[above] <= age)) break;
      keys[at] = keys[above];
      ages[at] = ages[above];
      pixels[at] = pixels[above];
      at = above;
    }
    keys[at] = key;
    ages[at] = age;
    pixels[at] = pixel;
  }

  /** The pixel whose turn it is. */
  pop() {
    const { keys, ages, pixels } = this;
    const first = pixels[0];
    this.level = keys[0];
    const key = /** @type {number} */ (keys.pop());
    const age = /** @type {number} */ (ages.pop());
    const pixel = /** @type {number} */ (pixels.pop());
    const size = pixels.length;
    if (!size) return first;
    let at = 0;
    for (;;) {
      let below = 2 * at + 1;
      if (below >= size) break;
      const other = below + 1;
      if (
        other < size &&
        (keys[other] < keys[below] || (keys[other] === keys[below] && ages[other] < ages[below]))
      ) {
        below = other;
      }
      if (key < keys[below] || (key === keys[below] && age <= ages[below])) break;
      keys[at] = keys[below];
      ages[at] = ages[below];
      pixels[at] = pixels[below];
      at = below;
    }
    keys[at] = key;
    ages[at] = age;
    pixels[at] = pixel;
    return first;
  }
}

/**
 * Share each component among its seeds by a watershed on `height`.
 *
 * Components with fewer than two seeds stay whole. Pixels enclosed by their own seed keep out of
 * the watershed: they could not change hands.
 *
 * @param {Int32Array} components
 * @param {number} count Of components.
 * @param {Int32Array} seeds
 * @param {number} seedCount
 * @param {Float32Array} height
 * @param {number} width
 * @returns {Int32Array} Positive where `components` is; numbers may have gaps, none is above
 *   `count + seedCount`.
 */
export function flood(components, count, seeds, seedCount, height, width) {
  const owner = ownersOf(seeds, seedCount, components);
  const seedsIn = new Int32Array(count + 1);
  for (const component of owner) seedsIn[component]++;
  seedsIn[0] = 0;
  if (seedsIn.every((each) => each < 2)) return components;
  const size = components.length;
  const rows = size / width;
  const contested = (/** @type {number} */ i) => seedsIn[components[i]] > 1;
  const enclosed = enclosedBy(seeds, width, rows);
  const { isShore, rank } = ranksOf(seeds, enclosed);

  const bits = new Int32Array(height.buffer, height.byteOffset, height.length);
  const keyOf = (/** @type {number} */ i) => {
    const key = bits[i] < 0 ? -(bits[i] & 0x7fffffff) : bits[i];
    return key * RANKS + (isShore(i) ? rank[i] : RANKS - 1);
  };
  const basins = new Int32Array(size);
  const open = new Uint8Array(size);
  const queue = new Queue();
  for (let i = 0; i < size; i++) {
    open[i] = contested(i) && !enclosed[i] ? 1 : 0;
    if (open[i] && isShore(i)) {
      basins[i] = seeds[i];
      queue.push(keyOf(i), 0, i);
    }
  }
  let age = 1;
  while (queue.size) {
    const pixel = queue.pop();
    const level = queue.level;
    const x = pixel % width;
    const visit = (/** @type {number} */ next) => {
      if (!open[next] || basins[next]) return;
      basins[next] = basins[pixel];
      queue.push(Math.max(keyOf(next), level), ++age, next); // a hollow fills up to its rim
    };
    if (pixel >= width) visit(pixel - width);
    if (x > 0) visit(pixel - 1);
    if (x + 1 < width) visit(pixel + 1);
    if (pixel + width < size) visit(pixel + width);
  }
  const found = new Int32Array(size);
  for (let i = 0; i < size; i++) {
    if (!contested(i)) found[i] = components[i];
    else found[i] = (enclosed[i] ? seeds[i] : basins[i]) + count;
  }
  return found;
}

/**
 * Ranks of the seeds' pixels that are not enclosed, in reading order: no two are equally high.
 *
 * @param {Int32Array} seeds
 * @param {Uint8Array} enclosed
 */
function ranksOf(seeds, enclosed) {
  const isShore = (/** @type {number} */ i) => seeds[i] > 0 && !enclosed[i];
  let shores = 0;
  for (let i = 0; i < seeds.length; i++) if (isShore(i)) shores++;
  const rank = new Int32Array(seeds.length);
  for (let i = 0, order = 0; i < seeds.length; i++) {
    if (!isShore(i)) continue;
    rank[i] = shores < RANKS ? order : Math.floor((order * (RANKS - 1)) / shores);
    order++;
  }
  return { isShore, rank };
}

/**
 * Pixels of the seeds whose four neighbours are in seeds too; never pixels of the rim.
 *
 * @param {Int32Array} seeds
 * @param {number} width
 * @param {number} rows
 */
function enclosedBy(seeds, width, rows) {
  const found = new Uint8Array(seeds.length);
  for (let y = 1; y < rows - 1; y++) {
    for (let i = y * width + 1; i < (y + 1) * width - 1; i++) {
      if (seeds[i] && seeds[i - 1] && seeds[i + 1] && seeds[i - width] && seeds[i + width]) found[i] = 1;
    }
  }
  return found;
}
