/** Where the pixels lie that are shown: an image in several sizes, whole or by tiles. */

/** @typedef {import("../core/types.js").Values} Values */
/** @typedef {{width: number, height: number}} Size */

/**
 * @typedef {object} Shown An image, or labels, as the viewer reads it.
 * @property {number} width
 * @property {number} height
 * @property {Size[]} levels The finest first.
 * @property {number} side px of a tile; Infinity where every level is one piece.
 * @property {(level: number, row: number, column: number) => Values[] | undefined} tile One plane a
 *   channel; undefined where they are not here yet.
 */

/**
 * An image that is in memory, with smaller copies for when it is far away.
 *
 * @param {Values[]} planes
 * @param {number} width
 * @param {number} height
 * @returns {Shown}
 */
export function wholeImage(planes, width, height) {
  const channels = planes.map((plane) => levelsOf(plane, width, height));
  const levels = channels[0].map((level) => ({ width: level.width, height: level.height }));
  const tiles = levels.map((_, number) => channels.map((channel) => channel[number].plane));
  return { width, height, levels, side: Infinity, tile: (level) => tiles[level] };
}

/** Bytes of tiles that are kept. */
const KEPT = 1 << 28;

/**
 * An image whose tiles are asked for when they come into sight.
 *
 * @param {{width: number, height: number, levels: Size[], side: number}} of
 * @param {(asked: {level: number, row: number, column: number}) => Promise<Values[]>} ask
 * @param {() => void} arrived
 * @returns {Shown}
 */
export function tiledImage({ width, height, levels, side }, ask, arrived) {
  /** @type {Map<string, Values[] | null>} null: asked for. The one used last comes last. */
  const tiles = new Map();
  let bytes = 0;
  const size = (/** @type {Values[] | null | undefined} */ planes) => (planes ?? []).reduce((sum, plane) => sum + plane.byteLength, 0);
  const fetchTile = async (/** @type {string} */ key, /** @type {{level: number, row: number, column: number}} */ asked) => {
    tiles.set(key, null);
    try {
      const planes = await ask(asked);
      tiles.set(key, planes);
      bytes += size(planes);
      for (const [old, held] of tiles) {
        if (bytes <= KEPT) break;
        if (!held || old === key) continue;
        bytes -= size(held);
        tiles.delete(old);
      }
      arrived();
    } catch (problem) {
      console.error(problem); // the place stays empty, and is not asked for again
    }
  };
  return {
    width, height, levels, side,
    tile(level, row, column) {
      const key = `${level} ${row} ${column}`;
      const held = tiles.get(key);
      if (held === undefined) fetchTile(key, { level, row, column });
      else if (held) {
        tiles.delete(key);
        tiles.set(key, held);
      }
      return held ?? undefined;
    },
  };
}

/**
 * The coarsest level that has a px for every px of the screen.
 *
 * @param {Shown} image
 * @param {number} zoom px of the screen for one of the image.
 */
export function levelFor(image, zoom) {
  let found = 0;
  image.levels.forEach((level, number) => {
    if (image.width / level.width <= (1 / zoom) * 1.01) found = number;
  });
  return found;
}

/**
 * @param {Values} plane
 * @param {number} width
 * @param {number} height
 * @returns {{plane: Values, width: number, height: number}[]} The first is the plane itself.
 */
function levelsOf(plane, width, height) {
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
 * @param {Values} plane
 * @param {number} width
 * @param {number} height
 * @returns {[Values, number, number]}
 */
function halved(plane, width, height) {
  const [w, h] = [Math.max(1, width >> 1), Math.max(1, height >> 1)];
  const found = /** @type {Values} */ (new /** @type {any} */ (plane.constructor)(w * h));
  const [right, below] = [width > 1 ? 1 : 0, height > 1 ? width : 0];
  for (let y = 0; y < h; y++) {
    for (let x = 0; x < w; x++) {
      const at = 2 * y * width + 2 * x;
      found[y * w + x] = (plane[at] + plane[at + right] + plane[at + below] + plane[at + below + right]) / 4;
    }
  }
  return [found, w, h];
}
