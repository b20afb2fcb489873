/** From the image's pixels to what the network sees: normalised, resampled, padded. */

import { normalised } from "./limits.js";
import { resizeFloats } from "./resize.js";

/**
 * What the network sees of a window; the twin of `abbe.runtime.tiling.sampling.read_window`.
 *
 * @param {import("./types.js").Values[]} planes Channels that the network sees, in its order.
 * @param {[number, number][]} limits
 * @param {import("./grid.js").Grid} grid
 * @param {import("./types.js").Region} window
 * @returns {Float32Array} (C, h, w)
 */
export function readWindow(planes, limits, grid, window) {
  const [rows, columns] = grid.shape;
  const inside = { ...window, bottom: Math.min(window.bottom, rows), right: Math.min(window.right, columns) };
  const [h, w] = [inside.bottom - inside.top, inside.right - inside.left];
  const [H, W] = [window.bottom - window.top, window.right - window.left];
  const found = new Float32Array(planes.length * H * W);
  planes.forEach((plane, channel) => {
    const width = grid.imageShape[1];
    const values = grid.scaled
      ? resampled(plane, limits[channel], grid, inside)
      : normalised(plane, width, inside, limits[channel]);
    mirrorInto(found.subarray(channel * H * W, (channel + 1) * H * W), H, W, values, h, w);
  });
  return found;
}

/**
 * @param {import("./types.js").Values} plane
 * @param {[number, number]} limits
 * @param {import("./grid.js").Grid} grid
 * @param {import("./types.js").Region} inside
 */
function resampled(plane, limits, grid, inside) {
  const down = source(inside.top, inside.bottom, grid, 0);
  const across = source(inside.left, inside.right, grid, 1);
  const region = { top: down.start, left: across.start, bottom: down.stop, right: across.stop };
  const values = normalised(plane, grid.imageShape[1], region, limits);
  const found = resizeFloats(
    values, region.right - region.left, region.bottom - region.top,
    inside.right - inside.left, inside.bottom - inside.top,
    [across.from - across.start, down.from - down.start, across.to - across.start, down.to - down.start],
  );
  for (let i = 0; i < found.length; i++) found[i] = Math.min(Math.max(found[i], 0), 1);
  return found;
}

/**
 * Where an interval lies in the image, and the whole px of it that its values depend on.
 *
 * @param {number} start
 * @param {number} stop
 * @param {import("./grid.js").Grid} grid
 * @param {number} axis
 */
function source(start, stop, grid, axis) {
  const full = grid.imageShape[axis];
  const ratio = full / grid.shape[axis];
  const from = start * ratio;
  const to = Math.min(stop * ratio, full);
  const reach = Math.ceil(Math.max(ratio, 1)) + 1;
  return {
    from, to,
    start: Math.max(Math.floor(from) - reach, 0),
    stop: Math.min(Math.ceil(to) + reach, full),
  };
}

/**
 * A plane, continued at its lower and right border by mirroring, the border px repeated.
 *
 * @param {Float32Array} found (H, W), to be filled.
 * @param {number} H
 * @param {number} W
 * @param {Float32Array} values (h, w)
 * @param {number} h
 * @param {number} w
 */
export function mirrorInto(found, H, W, values, h, w) {
  const columns = Int32Array.from({ length: W }, (_, x) => mirrored(x, w));
  for (let y = 0; y < H; y++) {
    const row = mirrored(y, h) * w;
    for (let x = 0; x < W; x++) found[y * W + x] = values[row + columns[x]];
  }
}

/** @param {number} place @param {number} length */
function mirrored(place, length) {
  const turn = place % (2 * length);
  return turn < length ? turn : 2 * length - 1 - turn;
}
