/** Where tiles lie, as `abbe.runtime.tiling.grid`: in px of the network's grid and of the image. */

import { roundHalfEven } from "./numbers.js";
import { InputProblem } from "./types.js";

/** Scales that differ by less from 1 are taken for 1: no image is resampled for nothing. */
const SAME_SCALE = 0.05;
const LARGEST_ENLARGEMENT = 8;
const LARGEST_REDUCTION = 64;
/** Share of its side to which a window may shrink, so that windows share an image evenly. */
const LEAST_TILE = 7 / 8;

/** @typedef {{coreStart: number, coreStop: number, start: number, stop: number}} Span */
/** @typedef {import("./types.js").Region} Region */

/**
 * px of the network for each px of the image.
 *
 * @param {import("./types.js").Description} description
 * @param {number | null} pixelSize µm per px of the image.
 * @param {number | null} diameter px across of the objects in the image.
 */
export function scaleFor(description, pixelSize, diameter) {
  const trained = description.pixel_size;
  if (pixelSize !== null && trained !== null) return sensible(pixelSize / trained);
  if (diameter !== null && description.object_diameter) {
    return sensible(description.object_diameter / diameter);
  }
  if (trained === null) return 1;
  throw new InputProblem("pixelSizeNeeded");
}

/** @param {number} scale */
function sensible(scale) {
  if (Math.abs(scale - 1) <= SAME_SCALE) return 1;
  if (scale >= 1 / LARGEST_REDUCTION && scale <= LARGEST_ENLARGEMENT) return scale;
  throw new InputProblem("scaleBeyond");
}

/**
 * Cover a length by windows; the last is moved back to end with it.
 *
 * @param {number} length
 * @param {number} tile
 * @param {number} margin
 * @returns {Span[]}
 */
export function spans(length, tile, margin) {
  if (length <= tile) return [{ coreStart: 0, coreStop: length, start: 0, stop: length }];
  const found = [];
  for (let covered = 0; covered < length; ) {
    const start = Math.min(Math.max(covered - margin, 0), length - tile);
    const stop = start + tile;
    const end = stop === length ? length : stop - margin;
    found.push({ coreStart: covered, coreStop: end, start, stop });
    covered = end;
  }
  return found;
}

/**
 * The smallest side by which as many windows still cover a length.
 *
 * @param {number} length
 * @param {number} tile
 * @param {number} margin
 * @param {number} divisor
 */
export function evenTile(length, tile, margin, divisor) {
  if (length <= tile) return tile;
  const count = Math.ceil((length - 2 * margin) / (tile - 2 * margin));
  const enough = Math.ceil((length + 2 * margin * (count - 1)) / count);
  const least = Math.max(enough, Math.ceil(LEAST_TILE * tile), 2 * margin + 1);
  return Math.min(Math.ceil(least / divisor) * divisor, tile);
}

/** The tiles of an image: windows that the network sees, cores that do not overlap, halos. */
export class Grid {
  /**
   * @param {[number, number]} imageShape Height and width in px.
   * @param {number} scale px of the network for each px of the image.
   * @param {import("./types.js").Description} description
   */
  constructor(imageShape, scale, description) {
    const { divisor, tile } = description;
    const margin = description.context ?? (description.halo || divisor);
    this.halo = description.halo || divisor;
    this.imageShape = imageShape;
    this.shape = imageShape.map((side) => Math.max(1, roundHalfEven(side * scale)));
    const [rows, columns] = this.shape.map((side) => {
      const length = Math.ceil(side / divisor) * divisor;
      return spans(length, evenTile(length, tile, margin, divisor), margin).map((span) => ({
        ...span,
        coreStop: Math.min(span.coreStop, side),
      }));
    });
    this.rows = rows;
    this.columns = columns;
    /** For each row and column of the image the network's that its centre lies in. */
    this.sources = imageShape.map((full, axis) => {
      const small = this.shape[axis];
      const step = small / full;
      return Int32Array.from({ length: full }, (_, i) =>
        Math.min(Math.trunc((i + 0.5) * step), small - 1),
      );
    });
  }

  /** How many tiles there are. */
  get count() {
    return this.rows.length * this.columns.length;
  }

  /** Whether the network's pixels are others than the image's. */
  get scaled() {
    return this.shape.some((side, axis) => side !== this.imageShape[axis]);
  }

  /** Whether the image has fewer pixels than the network sees. */
  get coarserImage() {
    return this.shape.some((side, axis) => side > this.imageShape[axis]);
  }

  /** @param {number} number @returns {[Span, Span]} */
  spansOf(number) {
    const width = this.columns.length;
    return [this.rows[Math.floor(number / width)], this.columns[number % width]];
  }

  /** @param {number} number @returns {Region} */
  window(number) {
    const [rows, columns] = this.spansOf(number);
    return { top: rows.start, left: columns.start, bottom: rows.stop, right: columns.stop };
  }

  /** @param {number} number @returns {Region} */
  core(number) {
    const [rows, columns] = this.spansOf(number);
    return {
      top: rows.coreStart, left: columns.coreStart,
      bottom: rows.coreStop, right: columns.coreStop,
    };
  }

  /** The core in px of the image: those whose centres lie in it; maybe none. @param {number} number @returns {Region} */
  imageCore(number) {
    const core = this.core(number);
    const [top, bottom] = [core.top, core.bottom].map((edge) => atLeast(this.sources[0], edge));
    const [left, right] = [core.left, core.right].map((edge) => atLeast(this.sources[1], edge));
    return { top, left, bottom, right };
  }

  /** The core and the halo around it: where objects are found. @param {number} number @returns {Region} */
  field(number) {
    const core = this.core(number);
    return {
      top: Math.max(core.top - this.halo, 0),
      left: Math.max(core.left - this.halo, 0),
      bottom: Math.min(core.bottom + this.halo, this.shape[0]),
      right: Math.min(core.right + this.halo, this.shape[1]),
    };
  }
}

/** The first place whose ascending value is not below a bound. @param {Int32Array} values @param {number} bound */
function atLeast(values, bound) {
  const found = values.findIndex((each) => each >= bound);
  return found < 0 ? values.length : found;
}

/** @param {Region} a @param {Region} b @returns {Region} */
export function intersection(a, b) {
  return {
    top: Math.max(a.top, b.top), left: Math.max(a.left, b.left),
    bottom: Math.min(a.bottom, b.bottom), right: Math.min(a.right, b.right),
  };
}

/**
 * Part of a plane that covers a region.
 *
 * @template {import("./types.js").Values} T
 * @param {T} plane
 * @param {Region} region
 * @param {Region} part
 * @returns {T}
 */
export function crop(plane, region, part) {
  const width = region.right - region.left;
  const [h, w] = [part.bottom - part.top, part.right - part.left];
  const found = /** @type {T} */ (new /** @type {any} */ (plane.constructor)(h * w));
  for (let row = 0; row < h; row++) {
    const start = (part.top - region.top + row) * width + part.left - region.left;
    found.set(plane.subarray(start, start + w), row * w);
  }
  return found;
}
