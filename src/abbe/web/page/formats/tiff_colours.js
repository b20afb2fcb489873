/** What the stored values of a TIFF mean: the twin of `abbe.imaging.formats.tiff_colours`. */

import { InputProblem } from "../core/types.js";

/** @typedef {import("../core/types.js").Values} Values */

export const RED_GREEN_BLUE = ["red", "green", "blue"];
const [WHITE_IS_ZERO, RGB, PALETTE, YCBCR] = [0, 2, 3, 6];
/** Inks and CIE's colours, which no network has seen. */
const OTHERS = [5, 8, 9, 10];
/** Compressions that keep samples as they are given, JPEG's, and the one that is decoded to RGB. */
const [PLAIN, JPEG, WEBP] = [[1, 5, 8, 32773, 32946, 50000], 7, 50001];

/**
 * How a page's samples become what is seen.
 *
 * @param {any} page
 * @param {(name: string) => Promise<any>} tag
 * @param {string} text What the file says of itself.
 * @returns {Promise<{colours: boolean, notes: string[], seen: (planes: Values[]) => Values[]}>} Whether red,
 *   green and blue come first, what was done, and a function that may change its planes in place.
 */
export async function meaningOf(page, tag, text) {
  const photometric = Number(await tag("PhotometricInterpretation"));
  const imagej = text.startsWith("ImageJ=");
  // ImageJ's palettes and inverting tables are for display: what is stored are the intensities.
  if (photometric === PALETTE && !imagej) throw new InputProblem("tiffPalette");
  if (OTHERS.includes(photometric)) throw new InputProblem("tiffInks");
  const asStored = { colours: photometric === RGB, notes: [], seen: (/** @type {Values[]} */ planes) => planes };
  if (photometric === YCBCR) return { ...asStored, colours: true, seen: await fromYcbcr(page, tag) };
  if (photometric !== WHITE_IS_ZERO) return asStored;
  if (imagej || page.getSampleFormat() !== 1) return { ...asStored, notes: ["asStored"] };
  return { ...asStored, notes: ["inverted"], seen: (planes) => planes.map(inverted) };
}

/** What is white at 0 is turned round. @param {Values} plane */
function inverted(plane) {
  const most = 2 ** (8 * plane.BYTES_PER_ELEMENT) - 1;
  for (let i = 0; i < plane.length; i++) plane[i] = most - plane[i];
  return plane;
}

/** @param {any} page @param {(name: string) => Promise<any>} tag @returns {Promise<(planes: Values[]) => Values[]>} */
async function fromYcbcr(page, tag) {
  const compression = Number((await tag("Compression")) ?? 1);
  if (compression === WEBP) return (planes) => planes;
  const bytes = page.getSamplesPerPixel() >= 3 && page.getBitsPerSample() === 8;
  // JPEG has one rule for its colours, whatever the tags say.
  if (!bytes || (compression !== JPEG && !(PLAIN.includes(compression) && (await isUsual(tag))))) throw new InputProblem("tiffYcbcr");
  return (planes) => [...toRgb(planes), ...planes.slice(3)];
}

/** Whether all samples are stored, by the usual equations. @param {(name: string) => Promise<any>} tag */
async function isUsual(tag) {
  const [steps, luma, reference] = await Promise.all(["YCbCrSubSampling", "YCbCrCoefficients", "ReferenceBlackWhite"].map(tag));
  // Of several fractions geotiff.js 3.0.5 gives the first, third, fifth …: shares of red and blue, and what is black.
  const are = (/** @type {ArrayLike<number> | undefined} */ told, /** @type {number[]} */ usual) =>
    !told || usual.every((value, i) => Math.abs(told[2 * i] / told[2 * i + 1] - value) < 1e-3);
  return Array.from(steps ?? [2, 2]).every((step) => step === 1) && are(luma, [0.299, 0.114]) && are(reference, [0, 128, 128]);
}

/** Red, green and blue of Y, Cb and Cr by ITU-R BT.601, which TIFF and JPEG share. @param {Values[]} planes */
function toRgb([ys, bs, rs]) {
  const found = [0, 1, 2].map(() => new Uint8ClampedArray(ys.length));
  for (let i = 0; i < ys.length; i++) {
    const red = ys[i] + 1.402 * (rs[i] - 128);
    const blue = ys[i] + 1.772 * (bs[i] - 128);
    found[0][i] = red;
    found[1][i] = (ys[i] - 0.114 * blue - 0.299 * red) / 0.587;
    found[2][i] = blue;
  }
  return found.map((plane) => new Uint8Array(plane.buffer)); // clamped arrays round, halves to even
}
