/** Values of a plane that stand for all, sorted: for the first contrast. */

const MOST = 200000;

/** @param {import("../core/types.js").Values} plane */
export function evenSample(plane) {
  const step = Math.max(1, Math.floor(plane.length / MOST));
  return Float64Array.from({ length: Math.ceil(plane.length / step) }, (_, i) => plane[i * step]).sort();
}
