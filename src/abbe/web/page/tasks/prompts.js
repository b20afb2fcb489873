/** Promptable packages: an image is embedded once, then a click or a box gives a mask. */

import { limitsOf, normalised } from "../core/limits.js";
import { roundHalfEven } from "../core/numbers.js";
import { resizeBytes } from "../core/resize.js";
import { trimmed } from "./kept.js";
import { checkAnswer } from "./maps.js";

const MEAN = [123.675, 116.28, 103.53];
const DEVIATION = [58.395, 57.12, 57.375];
const PATCH = 16;
const EMBEDDING = 256;
/** px of an image that is taken whole. */
const LARGEST_SIDE = 20000;

/** @typedef {{points: [number, number][], labels: number[], box: [number, number, number, number] | null}} Prompt */

export class Prompts {
  /**
   * @param {import("./network.js").Network} encoder
   * @param {import("./network.js").Network} decoder
   * @param {import("../core/types.js").Description} description
   */
  constructor(encoder, decoder, description) {
    this.encoder = encoder;
    this.decoder = decoder;
    this.description = description;
    this.side = description.image_size?.[0] ?? 1024;
    /** @type {{width: number, height: number, resized: [number, number], embedding: Float32Array, rows: Parts, columns: Parts} | null} */
    this.kept = null;
    /** What the last prompt gave. @type {{plane: Float32Array, score: number}[]} */
    this.answers = [];
  }

  /**
   * Embed an image.
   *
   * @param {import("../core/types.js").Picture} picture
   * @param {{channels: number[], diameter: number | null}} asked
   * @param {import("./maps.js").Advance} advance
   */
  async look(picture, asked, advance) {
    const { width, height } = picture;
    if (Math.max(width, height) > LARGEST_SIDE) throw new Error("tooLarge");
    advance(0, 1);
    const { side } = this;
    const scale = side / Math.max(width, height);
    const [h, w] = [height, width].map((length) => Math.max(1, Math.trunc(length * scale + 0.5)));
    const colours = threeColours(picture, asked.channels, this.description.channels.length);
    const data = new Float32Array(3 * side * side);
    colours.forEach((plane, c) => {
      const small = resizeBytes(plane, width, height, w, h);
      const [mean, deviation] = [Math.fround(MEAN[c]), Math.fround(DEVIATION[c])];
      for (let y = 0; y < h; y++) {
        for (let x = 0; x < w; x++) {
          data[(c * side + y) * side + x] = Math.fround(small[y * w + x] - mean) / deviation;
        }
      }
    });
    const [answer] = await this.encoder.run({ image: { data, shape: [1, 3, side, side] } });
    const grid = side / PATCH;
    checkAnswer(answer, [1, EMBEDDING, grid, grid]);
    // What a mask's pixels are made of is the same for every click.
    const [rows, columns] = [twice(4 * grid, side, h, height), twice(4 * grid, side, w, width)];
    this.kept = { width, height, resized: [h, w], embedding: answer.data.slice(), rows, columns };
    advance(1, 1);
  }

  /**
   * Masks for a prompt: three for a single point, else one.
   *
   * @param {Prompt} prompt
   * @returns {Promise<{mask: import("./kept.js").Patch | null, score: number}[]>} The most certain
   *   first, with its mask; the others' are made when they are asked for.
   */
  async masks({ points, labels, box }) {
    if (!this.kept) throw new Error("no image has been looked at");
    const { width, height, resized, embedding } = this.kept;
    const [down, across] = [resized[0] / height, resized[1] / width];
    const places = points.map(([x, y]) => [x * across, y * down]);
    const meanings = [...labels];
    if (box) {
      places.push([box[0] * across, box[1] * down], [box[2] * across, box[3] * down]);
      meanings.push(2, 3);
    } else {
      places.push([0, 0]); // SAM was trained with a point that is none where no box follows
      meanings.push(-1);
    }
    const grid = this.side / PATCH;
    const low = 4 * grid;
    const [logits, scores] = await this.decoder.run({
      image_embeddings: { data: embedding, shape: [1, EMBEDDING, grid, grid] },
      point_coords: { data: Float32Array.from(places.flat()), shape: [1, places.length, 2] },
      point_labels: { data: Float32Array.from(meanings), shape: [1, places.length] },
      mask_input: { data: new Float32Array(low * low), shape: [1, 1, low, low] },
      has_mask_input: { data: new Float32Array(1), shape: [1] },
    });
    checkAnswer(logits, [1, 4, low, low]);
    checkAnswer(scores, [1, 4]);
    const several = points.length === 1 && !box;
    const wanted = several ? [1, 2, 3] : [0];
    const found = wanted.map((number) => ({
      plane: logits.data.slice(number * low * low, (number + 1) * low * low), score: scores.data[number],
    }));
    this.answers = found.sort((a, b) => b.score - a.score);
    return this.answers.map(({ score }, i) => ({ mask: i ? null : this.mask(0), score }));
  }

  /** One of the masks of the last prompt. @param {number} number */
  mask(number) {
    return this.maskOf(this.answers[number].plane, (4 * this.side) / PATCH);
  }

  /**
   * Logits, brought to the image as SAM does it: to the square, then without the padding to the image.
   *
   * A px is a mean of some logits: where none of these is above 0 it lies outside, and is not computed.
   *
   * @param {Float32Array} plane
   * @param {number} low Its side.
   */
  maskOf(plane, low) {
    const { rows, columns } = /** @type {NonNullable<typeof this.kept>} */ (this.kept);
    const box = aboveZero(plane, low);
    const [top, bottom] = reached(rows, box.top, box.bottom);
    const [left, right] = reached(columns, box.left, box.right);
    const [width, height] = [right - left, bottom - top];
    const wide = new Float32Array(low * width);
    for (let y = 0; y < low; y++) {
      for (let x = 0; x < width; x++) {
        let sum = 0;
        for (let k = TAPS * (left + x), end = k + TAPS; k < end; k++) sum += plane[y * low + columns.places[k]] * columns.shares[k];
        wide[y * width + x] = sum;
      }
    }
    const data = new Uint8Array(width * height);
    for (let y = 0; y < height; y++) {
      const k = TAPS * (top + y);
      const [a, b, c, d] = rows.places.subarray(k, k + TAPS).map((place) => place * width);
      const [p, q, r, s] = rows.shares.subarray(k, k + TAPS);
      for (let x = 0, at = y * width; x < width; x++, at++) {
        data[at] = wide[a + x] * p + wide[b + x] * q + wide[c + x] * r + wide[d + x] * s > 0 ? 1 : 0;
      }
    }
    return trimmed({ left, top, width, height, data });
  }
}

/** The box of the logits above 0, its ends not counted. @param {Float32Array} plane @param {number} low */
function aboveZero(plane, low) {
  const box = { top: low, left: low, bottom: 0, right: 0 };
  for (let y = 0, at = 0; y < low; y++) {
    for (let x = 0; x < low; x++, at++) {
      if (!(plane[at] > 0)) continue;
      box.top = Math.min(box.top, y);
      box.bottom = y + 1;
      box.left = Math.min(box.left, x);
      box.right = Math.max(box.right, x + 1);
    }
  }
  return box;
}

/** The px that some of these logits count for. @param {Parts} parts @param {number} from @param {number} to @returns {[number, number]} */
function reached({ places, shares }, from, to) {
  let [first, last] = [places.length / TAPS, 0];
  places.forEach((place, k) => {
    if (place < from || place >= to || !shares[k]) return;
    first = Math.min(first, Math.floor(k / TAPS));
    last = Math.floor(k / TAPS) + 1;
  });
  return first < last ? [first, last] : [0, 0];
}

/** Places that a px of the image is made of, at most: two of the square, each of two logits. */
const TAPS = 4;

/** @typedef {{places: Int32Array, shares: Float64Array}} Parts So many of each px, one after the other. */

/**
 * What each px of the image is made of, along one axis: logits → square → image.
 *
 * @param {number} low
 * @param {number} side
 * @param {number} resized
 * @param {number} full
 * @returns {Parts}
 */
function twice(low, side, resized, full) {
  const square = linear(low, side);
  const found = { places: new Int32Array(TAPS * full), shares: new Float64Array(TAPS * full) };
  linear(resized, full).forEach((parts, i) => {
    parts.forEach(([place, share], j) => {
      square[place].forEach(([inner, part], k) => {
        found.places[TAPS * i + 2 * j + k] = inner;
        found.shares[TAPS * i + 2 * j + k] = share * part;
      });
    });
  });
  return found;
}

/**
 * Linear interpolation between the centres of pixels, the border repeated.
 *
 * @param {number} source
 * @param {number} target
 * @returns {[number, number][][]} Two places and shares for each.
 */
function linear(source, target) {
  return Array.from({ length: target }, (_, i) => {
    const place = Math.max((i + 0.5) * (source / target) - 0.5, 0);
    const first = Math.min(Math.trunc(place), source - 1);
    const second = Math.min(first + 1, source - 1);
    const share = Math.fround(place - first);
    return [[first, 1 - share], [second, share]];
  });
}

/**
 * The colour picture that the network sees, as `abbe.imaging.three_channels` makes it.
 *
 * @param {import("../core/types.js").Picture} picture
 * @param {number[]} channels
 * @param {number} wanted How many channels the package names.
 * @returns {Uint8Array[]}
 */
export function threeColours(picture, channels, wanted) {
  const planes = channels.map((place) => picture.planes[place]);
  const bytes = planes.every((plane) => plane instanceof Uint8Array);
  if (bytes && wanted === 3) {
    const found = /** @type {Uint8Array[]} */ (planes);
    return found.length === 1 ? [found[0], found[0], found[0]] : found;
  }
  const { width, height } = picture;
  const limits = limitsOf(planes, width, height, { kind: "percentile", low: 1, high: 99.8 });
  const all = { top: 0, left: 0, bottom: height, right: width };
  const stretched = planes.map((plane, c) =>
    Uint8Array.from(normalised(plane, width, all, limits[c]), (value) => roundHalfEven(Math.fround(value * 255))),
  );
  if (stretched.length === 1 && (wanted === 1 || wanted === 3)) {
    return [stretched[0], stretched[0], stretched[0]];
  }
  const missing = Array.from({ length: 3 - stretched.length }, () => new Uint8Array(width * height));
  return [...missing, ...stretched];
}
