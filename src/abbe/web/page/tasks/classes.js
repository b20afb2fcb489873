/** Packages that tell classes of images apart: an image whole, a large one tile by tile. */

import { calibratedClasses } from "../core/calibration.js";
import { scaleFor, spans } from "../core/grid.js";
import { limitsOf, normalised } from "../core/limits.js";
import { roundHalfEven } from "../core/numbers.js";
import { resizeFloats } from "../core/resize.js";
import { mirrorInto } from "../core/sampling.js";
import { checkAnswer } from "./maps.js";

export class Classes {
  /**
   * @param {import("./network.js").Network} network
   * @param {import("../core/types.js").Description} description
   */
  constructor(network, description) {
    this.network = network;
    this.description = description;
    /** @type {{rows: import("../core/grid.js").Span[], columns: import("../core/grid.js").Span[],
     *   width: number, height: number, probabilities: Float32Array[]} | null} */
    this.kept = null;
  }

  /**
   * @param {import("../core/types.js").Picture} picture
   * @param {{channels: number[], diameter: number | null}} asked
   * @param {import("./maps.js").Advance} advance
   */
  async look(picture, asked, advance) {
    const { description } = this;
    const { width, height } = picture;
    const scale = scaleFor(description, picture.pixelSize, null);
    const side = Math.max(1, roundHalfEven(description.tile / scale));
    const [rows, columns] = [spans(height, side, 0), spans(width, side, 0)];
    const planes = asked.channels.map((place) => picture.planes[place]);
    const byTile = description.normalisation.kind === "tile_percentile";
    const limits = byTile ? null : limitsOf(planes, width, height, description.normalisation);
    const probabilities = [];
    const total = rows.length * columns.length;
    advance(0, total);
    for (const down of rows) {
      for (const across of columns) {
        const window = { top: down.start, left: across.start, bottom: down.stop, right: across.stop };
        const seen = networkInput(planes, width, window, limits, scale, description);
        const [answer] = await this.network.run({ [this.network.inputs[0]]: seen });
        checkAnswer(answer, [1, description.classes.length]);
        probabilities.push(calibratedClasses(softmax(answer.data), description.temperature?.[0]));
        advance(probabilities.length, total);
      }
    }
    this.kept = { rows, columns, width, height, probabilities };
  }

  /** The class of each tile, and the mean of all, each as much as it answers for. */
  answer() {
    if (!this.kept) throw new Error("no image has been looked at");
    const { rows, columns, width, height, probabilities } = this.kept;
    const values = new Int32Array(width * height);
    const mean = new Float64Array(this.description.classes.length);
    const classOf = new Uint8Array(probabilities.length + 1);
    const confidence = new Float64Array(probabilities.length + 1);
    probabilities.forEach((found, tile) => {
      const [down, across] = [rows[Math.floor(tile / columns.length)], columns[tile % columns.length]];
      for (let y = down.coreStart; y < down.coreStop; y++) {
        values.fill(tile + 1, y * width + across.coreStart, y * width + across.coreStop);
      }
      const area = (down.coreStop - down.coreStart) * (across.coreStop - across.coreStart);
      found.forEach((probability, k) => (mean[k] += (probability * area) / (width * height)));
      const best = found.indexOf(Math.max(...found));
      classOf[tile + 1] = best;
      confidence[tile + 1] = found[best];
    });
    const labels = { values, width, height, count: probabilities.length, confidence };
    return { labels, classOf, whole: Float32Array.from(mean), probabilities };
  }
}

/**
 * What the network sees of a tile: normalised, resized, mirrored to whole divisors.
 *
 * @param {import("../core/types.js").Values[]} planes
 * @param {number} width
 * @param {import("../core/types.js").Region} window
 * @param {[number, number][] | null} limits Of the whole image; null: of the tile itself.
 * @param {number} scale
 * @param {import("../core/types.js").Description} description
 */
export function networkInput(planes, width, window, limits, scale, description) {
  const { divisor, image_size, normalisation } = description;
  const [h, w] = [window.bottom - window.top, window.right - window.left];
  const scaled = [h, w].map((side) => Math.max(1, roundHalfEven(side * scale)));
  const [height, newWidth] = image_size ?? scaled;
  const [H, W] = [height, newWidth].map((side) => Math.ceil(side / divisor) * divisor);
  const data = new Float32Array(planes.length * H * W);
  const own = limits ?? limitsOf(
    planes.map((plane) => cut(plane, width, window)), w, h, { ...normalisation, kind: "percentile" },
  );
  planes.forEach((plane, c) => {
    let values = normalised(plane, width, window, own[c]);
    if (height !== h || newWidth !== w) {
      values = resizeFloats(values, w, h, newWidth, height).map((value) => Math.min(Math.max(value, 0), 1));
    }
    mirrorInto(data.subarray(c * H * W, (c + 1) * H * W), H, W, values, height, newWidth);
  });
  return { data, shape: [1, planes.length, H, W] };
}

/** @param {import("../core/types.js").Values} plane @param {number} width @param {import("../core/types.js").Region} window */
function cut(plane, width, { top, left, bottom, right }) {
  const rows = [];
  for (let y = top; y < bottom; y++) rows.push(plane.subarray(y * width + left, y * width + right));
  const found = new /** @type {any} */ (plane.constructor)((bottom - top) * (right - left));
  rows.forEach((row, i) => found.set(row, i * (right - left)));
  return found;
}

/** @param {Float32Array} logits */
function softmax(logits) {
  const most = Math.max(...logits);
  const powers = logits.map((value) => Math.exp(value - most));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((power) => power / sum);
}
