/** PNG as it is stored: browsers reduce 16 bits to 8, and mix colours with the opacity. */

import { isTurned, turned, turnedSize } from "../core/turning.js";
import { InputProblem } from "../core/types.js";

const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];
/** Samples of a pixel by colour type, and how many of them are colours. */
const SAMPLES = /** @type {Record<number, [number, number]>} */ ({
  0: [1, 1], 2: [3, 3], 3: [1, 1], 4: [2, 1], 6: [4, 3],
});
/** First column and row, and steps, of Adam7's seven passes. */
const PASSES = [
  [0, 0, 8, 8], [4, 0, 8, 8], [0, 4, 4, 8], [2, 0, 4, 4], [0, 2, 2, 4], [1, 0, 2, 2], [0, 1, 1, 2],
];
/** µm; what is coarser is the resolution of a printer or a screen. */
const COARSEST = 10;

/** @param {Uint8Array} data */
export function isPng(data) {
  return SIGNATURE.every((byte, i) => data[i] === byte);
}

/**
 * Read a PNG of 1 to 16 bits; palettes become colours and opacity is left out.
 *
 * @param {Uint8Array} data
 * @returns {Promise<{width: number, height: number, planes: (Uint8Array | Uint16Array)[],
 *   pixelSize: import("../core/types.js").Sides, notes: string[]}>}
 */
export async function readPng(data) {
  const chunks = chunksOf(data);
  const head = chunks.get("IHDR")?.[0];
  const pixels = chunks.get("IDAT");
  if (!head || head.length !== 13 || !pixels || !chunks.has("IEND")) throw new InputProblem("pngDamaged");
  const view = new DataView(head.buffer, head.byteOffset, 13);
  const [width, height, depth, kind] = [view.getUint32(0), view.getUint32(4), head[8], head[9]];
  const known = SAMPLES[kind];
  if (!known || !width || !height) throw new InputProblem("pngDamaged");
  const stored = await inflated(pixels);
  const raw = unfiltered(stored, width, height, depth, known[0], head[12] === 1);
  const palette = kind === 3 ? chunks.get("PLTE")?.[0] : undefined;
  if (kind === 3 && !palette) throw new InputProblem("pngDamaged");
  const planes = palette
    ? [0, 1, 2].map((c) => Uint8Array.from(raw, (value) => palette[3 * value + c] ?? 0))
    : planesOf(raw, width * height, known, depth);
  const opaque = known[0] === known[1] && !chunks.has("tRNS");
  const orientation = orientationOf(chunks.get("eXIf")?.[0]);
  const size = turnedSize({ width, height }, orientation);
  return {
    ...size, planes: planes.map((plane) => turned(plane, size, orientation)), pixelSize: pixelSizeOf(chunks.get("pHYs")?.[0]),
    notes: [...(opaque ? [] : ["alphaLeftOut"]), ...(isTurned(orientation) ? ["turned"] : [])],
  };
}

/** The orientation that EXIF states, a TIFF's first table; 1 where it states none. @param {Uint8Array | undefined} exif */
function orientationOf(exif) {
  if (!exif || exif.length < 14) return 1;
  const view = new DataView(exif.buffer, exif.byteOffset, exif.length);
  const little = view.getUint16(0) === 0x4949;
  const start = view.getUint32(4, little);
  const count = start + 2 <= exif.length ? view.getUint16(start, little) : 0;
  for (let at = start + 2, i = 0; i < count && at + 12 <= exif.length; i++, at += 12) {
    if (view.getUint16(at, little) === 0x0112) return view.getUint16(at + 8, little);
  }
  return 1;
}

/** @param {Uint8Array} data */
function chunksOf(data) {
  /** @type {Map<string, Uint8Array[]>} */
  const found = new Map();
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  for (let at = 8; at + 12 <= data.length; ) {
    const size = view.getUint32(at);
    const kind = String.fromCharCode(...data.subarray(at + 4, at + 8));
    if (at + 12 + size > data.length) break;
    const part = data.subarray(at + 8, at + 8 + size);
    const earlier = found.get(kind);
    if (earlier) earlier.push(part);
    else found.set(kind, [part]);
    at += 12 + size;
  }
  return found;
}

/** @param {Uint8Array[]} parts */
async function inflated(parts) {
  const stream = new Blob(/** @type {BlobPart[]} */ (parts)).stream();
  try {
    const plain = stream.pipeThrough(new DecompressionStream("deflate"));
    return new Uint8Array(await new Response(plain).arrayBuffer());
  } catch {
    throw new InputProblem("pngDamaged");
  }
}

/**
 * Samples one after the other, as numbers of up to 16 bits.
 *
 * @param {Uint8Array} stored
 * @param {number} width
 * @param {number} height
 * @param {number} depth Bits of a sample.
 * @param {number} samples Of a pixel.
 * @param {boolean} interlaced
 */
function unfiltered(stored, width, height, depth, samples, interlaced) {
  const found = depth === 16 ? new Uint16Array(width * height * samples) : new Uint8Array(width * height * samples);
  const passes = interlaced ? PASSES : [[0, 0, 1, 1]];
  const step = Math.max(1, (depth * samples) >> 3);
  let at = 0;
  for (const [left, top, across, down] of passes) {
    const [w, h] = [Math.ceil((width - left) / across), Math.ceil((height - top) / down)];
    if (w <= 0 || h <= 0) continue;
    const length = Math.ceil((w * samples * depth) / 8);
    let above = new Uint8Array(length);
    for (let row = 0; row < h; row++) {
      if (at + 1 + length > stored.length) throw new InputProblem("pngDamaged");
      const line = stored.slice(at + 1, at + 1 + length);
      unfilter(line, above, stored[at], step);
      at += 1 + length;
      above = line;
      for (let column = 0; column < w; column++) {
        const to = ((top + row * down) * width + left + column * across) * samples;
        for (let s = 0; s < samples; s++) found[to + s] = sampleOf(line, column * samples + s, depth);
      }
    }
  }
  return found;
}

/** @param {Uint8Array} line @param {number} number @param {number} depth */
function sampleOf(line, number, depth) {
  if (depth === 8) return line[number];
  if (depth === 16) return (line[2 * number] << 8) | line[2 * number + 1];
  const bit = number * depth;
  return (line[bit >> 3] >> (8 - depth - (bit & 7))) & ((1 << depth) - 1);
}

/** @param {Uint8Array} line @param {Uint8Array} above @param {number} filter @param {number} step */
function unfilter(line, above, filter, step) {
  for (let i = 0; i < line.length; i++) {
    const left = i >= step ? line[i - step] : 0;
    const up = above[i];
    const corner = i >= step ? above[i - step] : 0;
    if (filter === 1) line[i] += left;
    else if (filter === 2) line[i] += up;
    else if (filter === 3) line[i] += (left + up) >> 1;
    else if (filter === 4) line[i] += paeth(left, up, corner);
    else if (filter !== 0) throw new InputProblem("pngDamaged");
  }
}

/** @param {number} left @param {number} up @param {number} corner */
function paeth(left, up, corner) {
  const guess = left + up - corner;
  const [a, b, c] = [Math.abs(guess - left), Math.abs(guess - up), Math.abs(guess - corner)];
  if (a <= b && a <= c) return left;
  return b <= c ? up : corner;
}

/**
 * @param {Uint8Array | Uint16Array} raw
 * @param {number} pixels
 * @param {[number, number]} samples All, and those that are colours.
 * @param {number} depth
 */
function planesOf(raw, pixels, [all, colours], depth) {
  const full = depth < 8 ? 255 / ((1 << depth) - 1) : 1; // few bits are stretched to eight
  return Array.from({ length: colours }, (_, c) => {
    const plane = depth === 16 ? new Uint16Array(pixels) : new Uint8Array(pixels);
    for (let i = 0; i < pixels; i++) plane[i] = raw[i * all + c] * full;
    return plane;
  });
}

/** @param {Uint8Array | undefined} resolution @returns {import("../core/types.js").Sides} */
function pixelSizeOf(resolution) {
  if (!resolution || resolution.length !== 9 || resolution[8] !== 1) return null;
  const view = new DataView(resolution.buffer, resolution.byteOffset, 9);
  const [across, down] = [1e6 / view.getUint32(0), 1e6 / view.getUint32(4)];
  return Math.max(across, down) < COARSEST ? [across, down] : null;
}
