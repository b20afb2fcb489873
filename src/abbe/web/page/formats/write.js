/** Label images as files: TIFF and PNG that every program reads. */

import { InputProblem } from "../core/types.js";

/** @param {BlobPart} data */
async function deflated(data) {
  const packed = new Blob([data]).stream().pipeThrough(new CompressionStream("deflate"));
  return new Uint8Array(await new Response(packed).arrayBuffer());
}

/**
 * A grey TIFF of whole numbers, 16 bits where they suffice, else 32.
 *
 * @param {Int32Array} values
 * @param {number} width
 * @param {number} height
 * @returns {Promise<Uint8Array>}
 */
export async function labelTiff(values, width, height) {
  const bits = highest(values) < 65536 ? 16 : 32;
  const numbers = bits === 16 ? Uint16Array.from(values) : Uint32Array.from(values);
  const pixels = await deflated(numbers.buffer);
  // Tag, kind (3: 16 bits, 4: 32 bits), value; one value each, in ascending order.
  const tags = [
    [256, 4, width], [257, 4, height], [258, 3, bits], [259, 3, 8], [262, 3, 1], [273, 4, 0],
    [277, 3, 1], [278, 4, height], [279, 4, pixels.length], [339, 3, 1],
  ];
  const start = 8 + 2 + tags.length * 12 + 4;
  const data = new Uint8Array(start + pixels.length);
  const view = new DataView(data.buffer);
  data.set([0x49, 0x49, 42, 0, 8, 0, 0, 0]);
  view.setUint16(8, tags.length, true);
  tags.forEach(([tag, kind, value], i) => {
    const at = 10 + i * 12;
    view.setUint16(at, tag, true);
    view.setUint16(at + 2, kind, true);
    view.setUint32(at + 4, 1, true);
    const stored = tag === 273 ? start : value;
    if (kind === 3) view.setUint16(at + 8, stored, true);
    else view.setUint32(at + 8, stored, true);
  });
  data.set(pixels, start);
  return data;
}

/** @param {Int32Array} values */
function highest(values) {
  let most = 0;
  for (let i = 0; i < values.length; i++) if (values[i] > most) most = values[i];
  return most;
}

/**
 * A grey PNG of 16 bits; InputProblem where an object's number is larger than that.
 *
 * @param {Int32Array} values
 * @param {number} width
 * @param {number} height
 * @returns {Promise<Uint8Array>}
 */
export async function labelPng(values, width, height) {
  if (highest(values) > 65535) throw new InputProblem("pngTooMany");
  const lines = new Uint8Array(height * (1 + 2 * width)); // each begins with its filter, 0
  for (let y = 0, at = 0, i = 0; y < height; y++) {
    at++;
    for (let x = 0; x < width; x++, i++) {
      lines[at++] = values[i] >> 8;
      lines[at++] = values[i] & 255;
    }
  }
  const head = new Uint8Array(13);
  new DataView(head.buffer).setUint32(0, width);
  new DataView(head.buffer).setUint32(4, height);
  head[8] = 16;
  const parts = [chunk("IHDR", head), chunk("IDAT", await deflated(lines)), chunk("IEND", new Uint8Array(0))];
  const file = new Uint8Array(8 + parts.reduce((sum, part) => sum + part.length, 0));
  file.set([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  let at = 8;
  for (const part of parts) {
    file.set(part, at);
    at += part.length;
  }
  return file;
}

/** @param {string} kind @param {Uint8Array} data */
function chunk(kind, data) {
  const found = new Uint8Array(12 + data.length);
  const view = new DataView(found.buffer);
  view.setUint32(0, data.length);
  for (let i = 0; i < 4; i++) found[4 + i] = kind.charCodeAt(i);
  found.set(data, 8);
  view.setUint32(8 + data.length, crc(found.subarray(4, 8 + data.length)));
  return found;
}

const CRC = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
  return value;
});

/** PNG's checksum. @param {Uint8Array} data */
function crc(data) {
  let value = 0xffffffff;
  for (let i = 0; i < data.length; i++) value = CRC[(value ^ data[i]) & 255] ^ (value >>> 8);
  return (value ^ 0xffffffff) >>> 0;
}
