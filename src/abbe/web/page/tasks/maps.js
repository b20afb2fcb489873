/** What the network answers for the windows of an image. */

import { crop } from "../core/grid.js";
import { limitsOf } from "../core/limits.js";
import { readWindow } from "../core/sampling.js";

/**
 * Told how far it is; throws where the work is no longer wanted.
 * @typedef {(done: number, total: number) => void} Advance
 */

/**
 * Logits of the core of each tile, one map after the other.
 *
 * @param {import("./network.js").Network} network
 * @param {import("../core/types.js").Description} description
 * @param {import("../core/types.js").Picture} picture
 * @param {number[]} channels Places of those that the network sees.
 * @param {import("../core/grid.js").Grid} grid
 * @param {number} count Maps that are expected.
 * @param {Advance} advance
 * @returns {Promise<Float32Array[][]>} By map, then by tile.
 */
export async function mapsOf(network, description, picture, channels, grid, count, advance) {
  const planes = channels.map((place) => picture.planes[place]);
  const limits = limitsOf(planes, picture.width, picture.height, description.normalisation);
  /** @type {Float32Array[][]} */
  const found = Array.from({ length: count }, () => []);
  advance(0, grid.count);
  for (let tile = 0; tile < grid.count; tile++) {
    const window = grid.window(tile);
    const [h, w] = [window.bottom - window.top, window.right - window.left];
    const seen = readWindow(planes, limits, grid, window);
    const [answer] = await network.run({ [network.inputs[0]]: { data: seen, shape: [1, planes.length, h, w] } });
    checkAnswer(answer, [1, count, h, w]);
    for (let map = 0; map < count; map++) {
      const whole = answer.data.subarray(map * h * w, (map + 1) * h * w);
      found[map].push(crop(whole, window, grid.core(tile)));
    }
    advance(tile + 1, grid.count);
  }
  return found;
}

/** @param {{data: Float32Array, shape: number[]}} answer @param {number[]} shape */
export function checkAnswer(answer, shape) {
  if (String(answer.shape) !== String(shape)) {
    throw new Error(`the network answers with ${answer.shape}, not ${shape}`);
  }
  let sum = 0;
  for (let i = 0; i < answer.data.length; i++) sum += answer.data[i];
  if (!Number.isFinite(sum)) throw new Error("the network answers with NaN or infinity");
}

/** 1 / (1 + exp(−x)), in place. @param {Float32Array} logits */
export function sigmoid(logits) {
  for (let i = 0; i < logits.length; i++) {
    const clipped = Math.min(Math.max(logits[i], -80), 80);
    logits[i] = 1 / Math.fround(1 + Math.fround(Math.exp(-clipped)));
  }
  return logits;
}
