/** Which values become 0 and 1: percentiles of each channel, as `abbe.imaging.normalisation`. */

import { roundHalfEven } from "./numbers.js";
import { InputProblem } from "./types.js";

/** Limits of a larger image come from an even grid of windows with about this many pixels. */
const SAMPLED_PIXELS = 1 << 24;
const WINDOW = 512;
/** From this many 8- or 16-bit values on a histogram is counted. */
const COUNTED = 1 << 16;

/**
 * Both percentiles of some values; `numpy.percentile` with linear interpolation.
 *
 * @param {import("./types.js").Values} values
 * @param {[number, number]} wanted
 * @returns {[number, number]}
 */
export function percentiles(values, wanted) {
  const counted =
    (values instanceof Uint8Array || values instanceof Uint16Array) && values.length >= COUNTED;
  return counted ? byHistogram(values, wanted) : bySorting(values, wanted);
}

/**
 * @param {Uint8Array | Uint16Array} values
 * @param {[number, number]} wanted
 * @returns {[number, number]}
 */
function byHistogram(values, wanted) {
  const counts = new Float64Array(values instanceof Uint8Array ? 256 : 65536);
  for (let i = 0; i < values.length; i++) counts[values[i]]++;
  const ranked = (/** @type {number} */ rank) => {
    let sum = 0;
    for (let value = 0; value < counts.length; value++) {
      sum += counts[value];
      if (sum > rank) return value;
    }
    return counts.length - 1;
  };
  const [low, high] = wanted.map((percent) => {
    const position = (percent / 100) * (values.length - 1);
    const below = Math.floor(position);
    const lower = ranked(below);
    const upper = below + 1 < values.length ? ranked(below + 1) : lower;
    return lower + (upper - lower) * (position - below);
  });
  return [low, high];
}

/**
 * @param {import("./types.js").Values} values
 * @param {[number, number]} wanted
 * @returns {[number, number]}
 */
function bySorting(values, wanted) {
  const sorted = values.slice().sort();
  const single = values instanceof Float32Array;
  const last = sorted.length - 1;
  if (Number.isNaN(sorted[last])) return [NaN, NaN];
  const [low, high] = wanted.map((percent) => {
    const position = (percent / 100) * last;
    const below = Math.floor(position);
    const share = position - below;
    const lower = sorted[below];
    const upper = sorted[Math.min(below + 1, last)];
    const step = single ? Math.fround(upper - lower) : upper - lower;
    return share < 0.5 ? lower + step * share : upper - step * (1 - share);
  });
  return [low, high];
}

/** @param {import("./types.js").Values} values @returns {[number, number]} */
function extremes(values) {
  let low = Infinity;
  let high = -Infinity;
  for (let i = 0; i < values.length; i++) {
    if (values[i] < low) low = values[i];
    if (values[i] > high) high = values[i];
  }
  return [low, high];
}

/**
 * What becomes 0 and 1 in each of these planes of one image.
 *
 * @param {import("./types.js").Values[]} planes
 * @param {number} width
 * @param {number} height
 * @param {{kind: string, low: number, high: number}} normalisation
 * @returns {[number, number][]}
 */
export function limitsOf(planes, width, height, normalisation) {
  const { kind, low, high } = normalisation;
  return planes.map((plane) => {
    if (kind === "range" || kind === "none") return limitsOfType(plane, kind);
    const sampled =
      width * height <= SAMPLED_PIXELS ? plane : sample(plane, width, height);
    let found = percentiles(sampled, [low, high]);
    if (!Number.isFinite(found[0]) || !Number.isFinite(found[1])) {
      throw new InputProblem("valuesNotFinite");
    }
    found = [Math.fround(found[0]), Math.fround(found[1])];
    // A few cells on a flat background: both percentiles are the background.
    if (found[0] >= found[1]) found = extremes(plane);
    return [Math.fround(found[0]), Math.fround(found[1])];
  });
}

/** @param {import("./types.js").Values} plane @param {string} kind @returns {[number, number]} */
function limitsOfType(plane, kind) {
  const float = plane instanceof Float32Array || plane instanceof Float64Array;
  if (kind === "range" && plane instanceof Uint8Array) return [0, 255];
  if (kind === "range" && plane instanceof Uint16Array) return [0, 65535];
  if (kind === "range" && !float) throw new InputProblem("valuesWithoutRange");
  const [least, most] = extremes(plane);
  if (!(least >= 0 && most <= 1)) throw new InputProblem("valuesBeyondOne");
  return [0, 1];
}

/**
 * The pixels of windows on an even grid, always the same ones.
 *
 * @param {import("./types.js").Values} plane
 * @param {number} width
 * @param {number} height
 */
function sample(plane, width, height) {
  const windows = evenWindows(height, width);
  const size = windows.reduce((sum, [, , h, w]) => sum + h * w, 0);
  const found = /** @type {import("./types.js").Values} */ (
    new /** @type {any} */ (plane.constructor)(size)
  );
  let at = 0;
  for (const [top, left, h, w] of windows) {
    for (let row = top; row < top + h; row++, at += w) {
      found.set(plane.subarray(row * width + left, row * width + left + w), at);
    }
  }
  return found;
}

/** @param {number} height @param {number} width @returns {[number, number, number, number][]} */
export function evenWindows(height, width) {
  const count = Math.floor(SAMPLED_PIXELS / WINDOW ** 2);
  let rows = roundHalfEven(Math.sqrt((count * height) / width));
  rows = Math.min(Math.max(rows, 1), Math.ceil(height / WINDOW), count);
  const columns = Math.min(Math.floor(count / rows), Math.ceil(width / WINDOW));
  const [h, w] = [Math.min(WINDOW, height), Math.min(WINDOW, width)];
  return starts(height, rows).flatMap((top) =>
    starts(width, columns).map(
      (left) => /** @type {[number, number, number, number]} */ ([top, left, h, w]),
    ),
  );
}

/** @param {number} length @param {number} count */
function starts(length, count) {
  return Array.from({ length: count }, (_, i) => {
    const start = ((i + 0.5) * length) / count - WINDOW / 2;
    return Math.trunc(Math.min(Math.max(start, 0), Math.max(length - WINDOW, 0)));
  });
}

/**
 * A plane's part, rescaled so that its limits become 0 and 1, and clipped.
 *
 * @param {import("./types.js").Values} plane
 * @param {number} width Of the plane.
 * @param {import("./types.js").Region} region
 * @param {[number, number]} limits
 * @returns {Float32Array}
 */
export function normalised(plane, width, region, limits) {
  const { top, left, bottom, right } = region;
  const found = new Float32Array((bottom - top) * (right - left));
  const low = Math.fround(limits[0]);
  const span = Math.fround(Math.fround(limits[1]) - low);
  const scale = span > 0 ? Math.fround(1 / span) : 0;
  let at = 0;
  for (let row = top; row < bottom; row++) {
    for (let i = row * width + left; i < row * width + right; i++) {
      const value = Math.fround(Math.fround(Math.fround(plane[i]) - low) * scale);
      found[at++] = value < 0 ? 0 : value > 1 ? 1 : value;
    }
  }
  return found;
}
