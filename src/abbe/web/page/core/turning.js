/** Images that are stored in another orientation: the twin of what `abbe.imaging.views` turns. */

/** @typedef {import("./types.js").Values} Values */
/** @typedef {import("./types.js").Region} Region */

/** Orientation → rows and columns are swapped, then rows reversed, then columns reversed: TIFF's tag 274, and EXIF. @type {Record<number, [boolean, boolean, boolean]>} */
const TURNS = {
  2: [false, false, true], 3: [false, true, true], 4: [false, true, false], 5: [true, false, false],
  6: [true, false, true], 7: [true, true, true], 8: [true, true, false],
};

/** Whether an image in this orientation has to be turned. @param {number} orientation */
export const isTurned = (orientation) => orientation in TURNS;

/** The size as it is seen of one as it is stored, and the other way. @param {{width: number, height: number}} size @param {number} orientation */
export function turnedSize({ width, height }, orientation) {
  return TURNS[orientation]?.[0] ? { width: height, height: width } : { width, height };
}

/** Where a region that is seen is stored. @param {Region} region @param {{width: number, height: number}} size As it is seen. @param {number} orientation @returns {Region} */
export function storedRegion({ top, left, bottom, right }, { width, height }, orientation) {
  const [swapped, upsideDown, mirrored] = TURNS[orientation] ?? [];
  if (upsideDown) [top, bottom] = [height - bottom, height - top];
  if (mirrored) [left, right] = [width - right, width - left];
  return swapped ? { top: left, left: top, bottom: right, right: bottom } : { top, left, bottom, right };
}

/**
 * Pixels as they are seen.
 *
 * @template {Values} T
 * @param {T} plane
 * @param {{width: number, height: number}} size As it is seen.
 * @param {number} orientation
 * @returns {T}
 */
export function turned(plane, { width, height }, orientation) {
  if (!isTurned(orientation)) return plane;
  const [swapped, upsideDown, mirrored] = TURNS[orientation];
  const found = plane.slice();
  for (let y = 0, at = 0; y < height; y++) {
    const row = upsideDown ? height - 1 - y : y;
    for (let x = 0; x < width; x++, at++) {
      const column = mirrored ? width - 1 - x : x;
      found[at] = plane[swapped ? column * height + row : row * width + column];
    }
  }
  return /** @type {T} */ (found);
}
