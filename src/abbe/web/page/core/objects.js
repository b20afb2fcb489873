/** The objects of an image from the maps of its tiles: seams joined, in px of the image. */

import { crop, intersection } from "./grid.js";
import { instancesFromMaps } from "./instances.js";
import { largestParts } from "./parts.js";
import { numberObjects, piecesOf, sameObjects, toldOf } from "./seams.js";

/** @typedef {import("./types.js").Region} Region */

/**
 * @typedef {object} Rule How maps become objects.
 * @property {{foreground: number, boundary: number}} thresholds
 * @property {number} minimumArea
 */

/**
 * Find the objects of an image.
 *
 * @param {import("./grid.js").Grid} grid
 * @param {Float32Array[]} foreground Of each tile's core.
 * @param {Float32Array[] | null} boundary The same; null where the network gives none.
 * @param {Float32Array[][]} told Maps whose means are told of each object: the foreground as it is
 *   told, then one for each type.
 * @param {Rule} rule
 * @returns {import("./types.js").Labels} In px of the image.
 */
export function findObjects(grid, foreground, boundary, told, rule) {
  const tiles = Array.from({ length: grid.count }, (_, number) => {
    const field = grid.field(number);
    const [w, h] = [field.right - field.left, field.bottom - field.top];
    const maps = assembled(grid, foreground, field);
    const edges = boundary && assembled(grid, boundary, field);
    // Small objects may be parts of larger ones: they are left out once pieces are joined.
    const { labels, count } = instancesFromMaps(maps, edges, w, h, rule.thresholds, 1);
    const means = told.map((map) => (map === foreground ? maps : assembled(grid, map, field)));
    return { labels, field, pieces: piecesOf(labels, count, field, grid.core(number), means) };
  });
  /** @type {import("./seams.js").Match[]} */
  const matches = [];
  tiles.forEach(({ labels, field }, number) => {
    for (const other of neighbours(grid, number)) {
      matches.push([number, other, sameObjects(labels, field, tiles[other].labels, tiles[other].field)]);
    }
  });
  const numbering = numberObjects(tiles.map(({ pieces }) => pieces), matches, rule.minimumArea);
  const cores = tiles.map(({ labels, field }, number) =>
    crop(labels, field, grid.core(number)).map((each) => numbering.ofTile[number][each]),
  );
  const values = inImage(grid, cores);
  const [height, width] = grid.imageShape;
  if (grid.coarserImage) return largestParts(values, grid, numbering.means, rule.minimumArea);
  return { values, width, height, count: numbering.count, ...toldOf(numbering.means) };
}

/** The tiles to the right and below. @param {import("./grid.js").Grid} grid @param {number} number */
function neighbours(grid, number) {
  const width = grid.columns.length;
  const found = [];
  if ((number + 1) % width) found.push(number + 1);
  if (number + width < grid.count) found.push(number + width);
  return found;
}

/**
 * A map of a field, from those of the cores that it overlaps.
 *
 * @param {import("./grid.js").Grid} grid
 * @param {Float32Array[]} cores
 * @param {Region} field
 */
function assembled(grid, cores, field) {
  const width = field.right - field.left;
  const found = new Float32Array(width * (field.bottom - field.top));
  for (let number = 0; number < grid.count; number++) {
    const core = grid.core(number);
    const shared = intersection(core, field);
    if (shared.top >= shared.bottom || shared.left >= shared.right) continue;
    const own = core.right - core.left;
    for (let row = shared.top; row < shared.bottom; row++) {
      const from = (row - core.top) * own + shared.left - core.left;
      const part = cores[number].subarray(from, from + shared.right - shared.left);
      found.set(part, (row - field.top) * width + shared.left - field.left);
    }
  }
  return found;
}

/**
 * Values of all cores in px of the image: each px takes the value that its centre lies in.
 *
 * @template {import("./types.js").Values} T
 * @param {import("./grid.js").Grid} grid
 * @param {T[]} cores
 * @returns {T}
 */
export function inImage(grid, cores) {
  const [height, width] = grid.imageShape;
  const found = /** @type {T} */ (new /** @type {any} */ (cores[0].constructor)(height * width));
  const tileRows = placesOf(grid.rows, grid.shape[0]);
  const tileColumns = placesOf(grid.columns, grid.shape[1]);
  const [rows, columns] = grid.sources;
  for (let y = 0; y < height; y++) {
    const tileRow = tileRows[rows[y]];
    const down = rows[y] - grid.rows[tileRow].coreStart;
    for (let x = 0; x < width; x++) {
      const tileColumn = tileColumns[columns[x]];
      const { coreStart, coreStop } = grid.columns[tileColumn];
      const core = cores[tileRow * grid.columns.length + tileColumn];
      found[y * width + x] = core[down * (coreStop - coreStart) + columns[x] - coreStart];
    }
  }
  return found;
}

/** For each px of the network the span whose core it lies in. @param {import("./grid.js").Span[]} spans @param {number} length */
function placesOf(spans, length) {
  const found = new Int32Array(length);
  spans.forEach(({ coreStart, coreStop }, place) => found.fill(place, coreStart, coreStop));
  return found;
}
