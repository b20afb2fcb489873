/** Outlines of objects along pixel edges: the twin of `abbe.runtime.writing.contours`. */

/** Steps to the east, south, west, north, as x and y. */
const STEPS = [[1, 0], [0, 1], [-1, 0], [0, -1]];

/** @typedef {[number, number][]} Ring Closed: the last point is the first. */

/**
 * The polygons of every object, each an outer ring and its holes.
 *
 * Where two pixels of an object touch at a corner only, the outline follows each of them.
 *
 * @param {import("../core/types.js").Labels} labels
 * @returns {Ring[][][]} By number; [0] is empty.
 */
export function polygonsOf({ values, width, height, count }) {
  const at = (/** @type {number} */ x, /** @type {number} */ y) =>
    x < 0 || y < 0 || x >= width || y >= height ? 0 : values[y * width + x];
  /** @type {{ring: Ring, area: number}[][]} */
  const rings = Array.from({ length: count + 1 }, () => []);
  // Upper sides of pixels that were walked along: every ring has one that runs east or west.
  const seen = new Uint8Array(values.length);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const number = values[y * width + x];
      if (!number || seen[y * width + x] || at(x, y - 1) === number) continue;
      rings[number].push(...parted(walk(at, number, x, y, seen, width)));
    }
  }
  return rings.map(arranged);
}

/**
 * Follow an outline, the object on the right, from the upper left corner of a pixel.
 *
 * @param {(x: number, y: number) => number} at
 * @param {number} number
 * @param {number} x
 * @param {number} y
 * @param {Uint8Array} seen
 * @param {number} width
 */
function walk(at, number, x, y, seen, width) {
  /** @type {Ring} */
  const ring = [];
  let [cx, cy, direction] = [x, y, 0];
  do {
    if (direction === 0) seen[cy * width + cx] = 1;
    const [dx, dy] = STEPS[direction];
    [cx, cy] = [cx + dx, cy + dy];
    const right = ahead(at, cx, cy, direction, true) === number;
    const left = ahead(at, cx, cy, direction, false) === number;
    const turn = !right ? 1 : left ? 3 : 0;
    if (turn) ring.push([cx, cy]);
    direction = (direction + turn) % 4;
  } while (cx !== x || cy !== y || direction !== 0);
  return ring;
}

/**
 * A walk that meets itself at a corner, in parts: the gap that it encloses becomes a hole, which
 * is a valid polygon, where a ring that touches itself is none.
 *
 * @param {Ring} walked Not closed.
 * @returns {{ring: Ring, area: number}[]}
 */
function parted(walked) {
  const found = [];
  /** @type {Ring} */
  const path = [];
  const place = new Map();
  for (const point of [...walked, walked[0]]) {
    const key = `${point[0]},${point[1]}`;
    const met = place.get(key);
    if (met !== undefined) {
      const ring = path.splice(met);
      for (const [x, y] of ring) place.delete(`${x},${y}`);
      found.push({ ring: /** @type {Ring} */ ([...ring, point]), area: areaOf([...ring, point]) });
    }
    place.set(key, path.length);
    path.push(point);
  }
  return found;
}

/** px, negative for holes. @param {Ring} ring */
export function areaOf(ring) {
  let twice = 0;
  for (let i = 1; i < ring.length; i++) {
    twice += ring[i - 1][0] * ring[i][1] - ring[i][0] * ring[i - 1][1];
  }
  return twice / 2;
}

/**
 * The pixel ahead of a corner, on the right or the left of where one goes.
 *
 * @param {(x: number, y: number) => number} at
 * @param {number} x
 * @param {number} y
 * @param {number} direction
 * @param {boolean} right
 */
function ahead(at, x, y, direction, right) {
  const down = direction === 1 || (direction === 0 && right) || (direction === 2 && !right);
  const east = direction === 0 || (direction === 3 && right) || (direction === 1 && !right);
  return at(east ? x : x - 1, down ? y : y - 1);
}

/**
 * Polygons: outer rings, each with the holes in it.
 *
 * @param {{ring: Ring, area: number}[]} rings
 * @returns {Ring[][]}
 */
function arranged(rings) {
  const outer = rings.filter(({ area }) => area > 0).map(({ ring, area }) => ({ area, parts: [ring] }));
  for (const { ring, area } of rings) {
    if (area > 0) continue;
    const inside = innerPoint(ring);
    const around = outer.filter(({ parts }) => contains(parts[0], inside));
    around.sort((a, b) => a.area - b.area);
    around[0].parts.push(ring);
  }
  return outer.map(({ parts }) => parts);
}

/** A point in the hole: left of the way of its first side. @param {Ring} ring @returns {[number, number]} */
function innerPoint([[x, y], [nextX, nextY]]) {
  const [dx, dy] = [Math.sign(nextX - x), Math.sign(nextY - y)];
  return [x + dx / 2 + dy / 2, y + dy / 2 - dx / 2];
}

/** @param {Ring} ring @param {[number, number]} point */
function contains(ring, [x, y]) {
  let inside = false;
  for (let i = 1; i < ring.length; i++) {
    const [[x0, y0], [x1, y1]] = [ring[i - 1], ring[i]];
    if (x0 === x1 && y0 > y !== y1 > y && x0 > x) inside = !inside;
  }
  return inside;
}
