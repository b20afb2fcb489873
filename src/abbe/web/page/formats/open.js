/** Opens a file of any kind that the page reads. */

import { InputProblem } from "../core/types.js";
import { readByBrowser } from "./browser.js";
import { isPng, readPng } from "./png.js";
import { isTiff, openTiff } from "./tiff.js";
import { RED_GREEN_BLUE } from "./tiff_colours.js";

/** Values that an image may have which is kept whole: more fills the memory of a tab. */
const MOST_VALUES = 2 ** 28;
/** px of one that is kept whole although it could be read by region. */
const MOST_PIXELS = 2 ** 26;

/** @typedef {import("../core/types.js").Picture} Picture */
/** @typedef {import("../core/types.js").Region} Region */
/** @typedef {import("../core/types.js").Sides} Sides */

/**
 * @param {Blob & {name?: string}} file
 * @param {string} name
 * @returns {Promise<Picture>}
 */
export async function openPicture(file, name) {
  const start = new Uint8Array(await file.slice(0, 16).arrayBuffer());
  if (isTiff(start)) return kept(await openTiff(file), name);
  const read = isPng(start) ? await readPng(new Uint8Array(await file.arrayBuffer())) : await readByBrowser(file);
  if (!read.width || !read.height || !read.planes.length) throw new InputProblem("notAnImage");
  if (read.width * read.height * read.planes.length > MOST_VALUES) throw new InputProblem("tooLarge");
  return { ...read, ...sized(read), name, tiled: null, channels: read.planes.length === 3 ? RED_GREEN_BLUE : usualNames(read.planes.length) };
}

/**
 * An image that is read by region: whole where it is small enough.
 *
 * @param {Omit<Picture, "planes" | "name" | "channels" | "tiled" | "pixelSize"> & {pixelSize: Sides, channels: string[] | null, count: number,
 *   levels: {width: number, height: number}[], side: number, read: import("../core/types.js").Reader}} opened
 * @param {string} name
 * @returns {Promise<Picture>}
 */
export async function kept({ channels, count, levels, side, ...found }, name) {
  const opened = { ...found, ...sized(found) };
  const { width, height, read } = opened;
  if (!width || !height || !count) throw new InputProblem("notAnImage");
  const names = channels ?? usualNames(count);
  if (width * height > MOST_PIXELS || width * height * count > MOST_VALUES) {
    return { ...opened, name, channels: names, planes: [], tiled: { levels, side } };
  }
  const planes = await read(0, { top: 0, left: 0, bottom: height, right: width });
  return { ...opened, name, channels: names, planes, tiled: null };
}

/**
 * The part of an image that is looked at: all of it, or of a large one what is seen.
 *
 * @param {Picture} picture
 * @param {Region | null} region
 * @returns {Promise<{part: Picture, left: number, top: number}>}
 */
export async function partOf(picture, region) {
  if (!picture.tiled || !picture.read) return { part: picture, left: 0, top: 0 };
  if (!region) throw new InputProblem("partNeeded");
  const [width, height] = [region.right - region.left, region.bottom - region.top];
  if (width < 1 || height < 1) throw new InputProblem("partNeeded");
  const planes = await picture.read(0, region);
  return { part: { ...picture, width, height, planes, tiled: null }, left: region.left, top: region.top };
}

/** One size of pixels that are square, within 1 %; a note says where they are not. @param {{pixelSize: Sides, notes: string[]}} read */
function sized({ pixelSize: sides, notes }) {
  if (!sides) return { pixelSize: null, notes };
  const mean = (sides[0] + sides[1]) / 2;
  return Math.abs(sides[0] - sides[1]) > 0.01 * mean ? { pixelSize: null, notes: [...notes, "notSquare"] } : { pixelSize: mean, notes };
}

/** As `abbe.imaging` names channels that a file does not. @param {number} count */
function usualNames(count) {
  if (count === 1) return ["grey"];
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
  if (picture.channels.length === 1) return [0];
  return isGrey(picture) ? [0] : null;
}

/** Whether red, green and blue are alike. @param {import("../core/types.js").Picture} picture */
export function isGrey(picture) {
  const [red, green, blue] = ["red", "green", "blue"].map((name) => picture.planes[picture.channels.indexOf(name)]);
  if (picture.planes.length !== 3 || !red || !green || !blue) return false;
  return red.every((value, i) => value === green[i] && value === blue[i]);
}
