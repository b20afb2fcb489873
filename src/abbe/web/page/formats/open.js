/** Opens a file of any kind that the page reads. */

import { InputProblem } from "../core/types.js";
import { readByBrowser } from "./browser.js";
import { isPng, readPng } from "./png.js";
import { isTiff, readTiff } from "./tiff.js";

/** Values that an image may have: more fills the memory of a tab. */
const MOST_VALUES = 2 ** 28;

/**
 * @param {Blob & {name?: string}} file
 * @param {string} name
 * @returns {Promise<import("../core/types.js").Picture>}
 */
export async function openPicture(file, name) {
  const start = new Uint8Array(await file.slice(0, 16).arrayBuffer());
  const read = isPng(start)
    ? { channels: null, ...(await readPng(new Uint8Array(await file.arrayBuffer()))) }
    : isTiff(start)
      ? await readTiff(file)
      : { channels: null, ...(await readByBrowser(file)) };
  if (!read.width || !read.height || !read.planes.length) throw new InputProblem("notAnImage");
  if (read.width * read.height * read.planes.length > MOST_VALUES) throw new InputProblem("tooLarge");
  const { width, height, planes, pixelSize, notes } = read;
  return { name, width, height, planes, pixelSize, notes, channels: read.channels ?? usualNames(planes.length) };
}

/** As `abbe.imaging` names channels that a file does not. @param {number} count */
function usualNames(count) {
  if (count === 1) return ["grey"];
  if (count === 3) return ["red", "green", "blue"];
  return Array.from({ length: count }, (_, i) => `channel-${i}`);
}

/**
 * Which of the image's channels the package sees, by their places; null where the user must say.
 *
 * @param {import("../core/types.js").Picture} picture
 * @param {string[]} wanted
 * @returns {number[] | null}
 */
export function channelsFor(picture, wanted) {
  const places = wanted.map((name) => picture.channels.indexOf(name));
  if (places.every((place) => place >= 0)) return places;
  if (wanted.length !== 1) return null;
  if (picture.planes.length === 1) return [0];
  return isGrey(picture) ? [0] : null;
}

/** Whether red, green and blue are alike. @param {import("../core/types.js").Picture} picture */
export function isGrey(picture) {
  const [red, green, blue] = ["red", "green", "blue"].map((name) => picture.planes[picture.channels.indexOf(name)]);
  if (picture.planes.length !== 3 || !red || !green || !blue) return false;
  return red.every((value, i) => value === green[i] && value === blue[i]);
}
