/** Label images as files: a TIFF that every program reads. */

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
  let most = 0;
  for (let i = 0; i < values.length; i++) if (values[i] > most) most = values[i];
  const bits = most < 65536 ? 16 : 32;
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
