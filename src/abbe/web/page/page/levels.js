/** Smaller copies of a plane, each half as large: what is shown of an image that is far away. */

/** @typedef {{plane: import("../core/types.js").Values, width: number, height: number}} Level */

/**
 * @param {import("../core/types.js").Values} plane
 * @param {number} width
 * @param {number} height
 * @returns {Level[]} The first is the plane itself.
 */
export function levelsOf(plane, width, height) {
  const found = [{ plane, width, height }];
  while (Math.max(width, height) > 512) {
    [plane, width, height] = halved(plane, width, height);
    found.push({ plane, width, height });
  }
  return found;
}

/**
 * Means of 2 × 2 px.
 *
 * @param {import("../core/types.js").Values} plane
 * @param {number} width
 * @param {number} height
 * @returns {[import("../core/types.js").Values, number, number]}
 */
function halved(plane, width, height) {
  const [w, h] = [Math.max(1, width >> 1), Math.max(1, height >> 1)];
  const found = /** @type {import("../core/types.js").Values} */ (
    new /** @type {any} */ (plane.constructor)(w * h)
  );
  const [right, below] = [width > 1 ? 1 : 0, height > 1 ? width : 0];
  for (let y = 0; y < h; y++) {
    for (let x = 0; x < w; x++) {
      const at = 2 * y * width + 2 * x;
      found[y * w + x] = (plane[at] + plane[at + right] + plane[at + below] + plane[at + below + right]) / 4;
    }
  }
  return [found, w, h];
}
