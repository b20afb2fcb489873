/** JPEG and WebP by the browser. */

import { InputProblem } from "../core/types.js";

/**
 * Decode a picture of 8 bits as the browser does, turned as its EXIF says, colours as stored.
 *
 * @param {Blob} file
 * @returns {Promise<{width: number, height: number, planes: Uint8Array[], pixelSize: null,
 *   notes: string[]}>}
 */
export async function readByBrowser(file) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, {
      colorSpaceConversion: "none", premultiplyAlpha: "none", imageOrientation: "from-image",
    });
  } catch {
    throw new InputProblem("notAnImage");
  }
  const { width, height } = bitmap;
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  if (!context) throw new InputProblem("notAnImage");
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  const { data } = context.getImageData(0, 0, width, height);
  const planes = [0, 1, 2].map(() => new Uint8Array(width * height));
  let [grey, opaque] = [true, true];
  for (let i = 0; i < width * height; i++) {
    const [red, green, blue] = [data[4 * i], data[4 * i + 1], data[4 * i + 2]];
    planes[0][i] = red;
    planes[1][i] = green;
    planes[2][i] = blue;
    if (red !== green || green !== blue) grey = false;
    if (data[4 * i + 3] !== 255) opaque = false;
  }
  const notes = opaque ? [] : ["alphaLeftOut"];
  return { width, height, planes: grey ? planes.slice(0, 1) : planes, pixelSize: null, notes };
}
