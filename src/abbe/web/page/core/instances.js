/** From probability maps to objects: the twin of `abbe.runtime.postprocess.instances`. */

import { areasOf, componentsOf, ownersOf } from "./components.js";
import { flood } from "./flood.js";
import { splitTouching } from "./split.js";

/** A smaller seed beside a larger one in the same component is taken for noise of the maps. */
const SMALLEST_SEED = 5;

/**
 * Label every object in a foreground map.
 *
 * @param {Float32Array} foreground
 * @param {Float32Array | null} boundary
 * @param {number} width
 * @param {number} height
 * @param {{foreground: number, boundary: number}} thresholds
 * @param {number} minimumArea px; smaller objects are left out.
 * @returns {{labels: Int32Array, count: number}} Objects 1…count in reading order.
 */
export function instancesFromMaps(foreground, boundary, width, height, thresholds, minimumArea) {
  // Maps are float32, so is what they are compared with.
  const threshold = Math.fround(thresholds.foreground);
  const mask = new Uint8Array(foreground.length);
  for (let i = 0; i < mask.length; i++) mask[i] = foreground[i] >= threshold ? 1 : 0;
  const components = componentsOf(mask, width, height);
  if (boundary === null) {
    const pieces = splitTouching(mask, components.labels, components.count, width, height);
    return withoutSpecks(pieces, minimumArea);
  }
  const most = Math.fround(thresholds.boundary);
  const inner = mask.map((inside, i) => (inside && boundary[i] < most ? 1 : 0));
  const seeds = componentsOf(inner, width, height);
  dropTinySeeds(seeds.labels, seeds.count, components.labels, components.count);
  const { labels, count } = components;
  const pieces = flood(labels, count, seeds.labels, seeds.count, boundary, width);
  return withoutSpecks(pieces, minimumArea);
}

/**
 * Drop seeds below `SMALLEST_SEED`, but never the largest of a component.
 *
 * @param {Int32Array} seeds Changed in place.
 * @param {number} count
 * @param {Int32Array} components
 * @param {number} componentCount
 */
function dropTinySeeds(seeds, count, components, componentCount) {
  const area = areasOf(seeds, count);
  const owner = ownersOf(seeds, count, components);
  const largest = new Int32Array(componentCount + 1);
  for (let seed = 1; seed <= count; seed++) {
    largest[owner[seed]] = Math.max(largest[owner[seed]], area[seed]);
  }
  for (let i = 0; i < seeds.length; i++) {
    const seed = seeds[i];
    if (seed && area[seed] < Math.min(SMALLEST_SEED, largest[owner[seed]])) seeds[i] = 0;
  }
}

/** @param {Int32Array} pieces @param {number} minimumArea */
function withoutSpecks(pieces, minimumArea) {
  let most = 0;
  for (let i = 0; i < pieces.length; i++) if (pieces[i] > most) most = pieces[i];
  const areas = areasOf(pieces, most);
  const number = new Int32Array(most + 1);
  const labels = new Int32Array(pieces.length);
  let count = 0;
  for (let i = 0; i < pieces.length; i++) {
    const piece = pieces[i];
    if (!piece || areas[piece] < minimumArea) continue;
    if (!number[piece]) number[piece] = ++count;
    labels[i] = number[piece];
  }
  return { labels, count };
}
