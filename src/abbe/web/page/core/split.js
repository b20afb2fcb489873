/** Touching objects without a boundary map: the twin of `abbe.runtime.postprocess.split_touching`. */

import { componentsOf } from "./components.js";
import { distances, highest3, mean3 } from "./distance.js";
import { flood } from "./flood.js";

/** A cut stands if the neck is narrower than this share of the smaller object's half-width. */
const NECK = 0.92;

/**
 * Cut the components of a mask at their necks.
 *
 * @param {Uint8Array} mask
 * @param {Int32Array} components
 * @param {number} count
 * @param {number} width
 * @param {number} height
 */
export function splitTouching(mask, components, count, width, height) {
  if (mask.every((each) => each)) return components;
  const distance = mean3(distances(mask, width, height), width, height);
  const high = highest3(distance, width, height);
  const peaks = mask.map((inside, i) => (inside && distance[i] === high[i] ? 1 : 0));
  const seeds = componentsOf(peaks, width, height);
  const depth = distance.map((each) => -each);
  const pieces = flood(components, count, seeds.labels, seeds.count, depth, width);
  return withoutShallowCuts(pieces, count + seeds.count, distance, width);
}

/**
 * @param {Int32Array} pieces
 * @param {number} most The highest number there may be.
 * @param {Float32Array} distance
 * @param {number} width
 */
function withoutShallowCuts(pieces, most, distance, width) {
  const peak = new Float32Array(most + 1);
  for (let i = 0; i < pieces.length; i++) {
    if (distance[i] > peak[pieces[i]]) peak[pieces[i]] = distance[i];
  }
  const leader = Int32Array.from({ length: most + 1 }, (_, i) => i);
  const leaderOf = (/** @type {number} */ piece) => {
    while (leader[piece] !== piece) {
      leader[piece] = leader[leader[piece]];
      piece = leader[piece];
    }
    return piece;
  };
  for (const { first, second, saddle } of saddlesOf(pieces, distance, width)) {
    const [a, b] = [leaderOf(first), leaderOf(second)];
    const [low, high] = peak[b] < peak[a] ? [b, a] : [a, b];
    if (low !== high && saddle >= NECK * peak[low]) leader[low] = high;
  }
  return pieces.map(leaderOf);
}

/**
 * All passes between pieces that touch, the highest first.
 *
 * @param {Int32Array} pieces
 * @param {Float32Array} distance
 * @param {number} width
 */
function saddlesOf(pieces, distance, width) {
  /** @type {{first: number, second: number, saddle: number}[]} */
  const found = [];
  const meet = (/** @type {number} */ i, /** @type {number} */ j) => {
    const [a, b] = [pieces[i], pieces[j]];
    if (a === b || !a || !b) return;
    const saddle = Math.min(distance[i], distance[j]);
    found.push({ first: Math.min(a, b), second: Math.max(a, b), saddle });
  };
  for (let i = 0; i < pieces.length; i++) {
    if (i >= width) meet(i, i - width);
    if (i % width) meet(i, i - 1);
  }
  return found.sort(
    (a, b) => b.saddle - a.saddle || a.first - b.first || a.second - b.second,
  );
}
