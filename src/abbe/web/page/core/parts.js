/** Objects in px of an image that is coarser than the network's: each in one part, none too small. */

import { areasOf, componentsOf } from "./components.js";
import { toldOf } from "./seams.js";

/**
 * Of each object the largest 4-connected part; the twin of `abbe.runtime.tiling.one_part`.
 *
 * @param {Int32Array} values Objects, each px with the number that its centre lies in.
 * @param {import("./grid.js").Grid} grid
 * @param {Float64Array[]} means What is told of each object.
 * @param {number} minimumArea px of the image.
 * @returns {import("./types.js").Labels}
 */
export function largestParts(values, grid, means, minimumArea) {
  const [height, width] = grid.imageShape;
  const parts = componentsOf(values, width, height);
  const areas = areasOf(parts.labels, parts.count);
  const objectOf = new Int32Array(parts.count + 1);
  for (let i = 0; i < values.length; i++) objectOf[parts.labels[i]] = values[i];
  const met = metByTile(parts.labels, parts.count, grid);
  const best = new Int32Array(means[0].length);
  for (let part = 1; part <= parts.count; part++) {
    const object = objectOf[part];
    const more = areas[part] - areas[best[object]];
    if (!best[object] || more > 0 || (more === 0 && met[part] < met[best[object]])) best[object] = part;
  }
  const number = new Int32Array(parts.count + 1);
  const objects = [0];
  let count = 0;
  for (let part = 1; part <= parts.count; part++) {
    const object = objectOf[part];
    if (best[object] !== part || areas[part] < Math.max(minimumArea, 1)) continue;
    number[part] = ++count;
    objects.push(object);
  }
  const found = parts.labels.map((part) => number[part]);
  const told = means.map((mean) => Float64Array.from(objects, (object) => mean[object]));
  return { values: found, width, height, count, ...toldOf(told) };
}

/**
 * The order in which parts are met, tile by tile and each tile in reading order: of parts of one
 * size the first of these stays.
 *
 * @param {Int32Array} labels
 * @param {number} count
 * @param {import("./grid.js").Grid} grid
 */
function metByTile(labels, count, grid) {
  const width = grid.imageShape[1];
  const met = new Int32Array(count + 1);
  let order = 0;
  for (let tile = 0; tile < grid.count; tile++) {
    const { top, left, bottom, right } = grid.imageCore(tile);
    for (let row = top; row < bottom; row++) {
      for (let i = row * width + left; i < row * width + right; i++) {
        if (labels[i] && !met[labels[i]]) met[labels[i]] = ++order;
      }
    }
  }
  return met;
}
