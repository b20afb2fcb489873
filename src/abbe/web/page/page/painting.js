/** Paints what is seen of an image and its objects, pixel by pixel of the screen. */

import { classColour, objectColour } from "./colours.js";

/** Steps into which the light of a channel is divided. */
const STEPS = 1024;

/**
 * @typedef {object} Channel
 * @property {import("./levels.js").Level[]} levels
 * @property {import("./colours.js").Colour} colour
 * @property {number} low Shown black.
 * @property {number} high Shown at its brightest.
 * @property {boolean} shown
 *
 * @typedef {object} Overlay
 * @property {Int32Array} values Objects, in px of the image.
 * @property {Uint8Array | null} classOf
 * @property {number} selected
 * @property {boolean} outlines
 * @property {number} fill 0 to 1.
 *
 * @typedef {{zoom: number, x: number, y: number}} View px of the screen for one of the image, and
 *   the image's place at the upper left of the screen.
 */

/**
 * @param {ImageData} screen
 * @param {View} view
 * @param {number} width Of the image.
 * @param {number} height
 * @param {Channel[]} channels
 * @param {Overlay | null} overlay
 * @param {number} line px of the screen that an outline is wide.
 * @param {number[]} ground Colour beside the image.
 */
export function paint(screen, view, width, height, channels, overlay, line, ground) {
  const columns = placesOf(screen.width, view.x, view.zoom, width);
  const rows = placesOf(screen.height, view.y, view.zoom, height);
  const pixels = new Uint32Array(screen.data.buffer);
  pixels.fill(word(ground[0], ground[1], ground[2]));
  paintChannels(pixels, screen.width, view, columns, rows, channels.filter(({ shown }) => shown));
  if (overlay) paintOverlay(pixels, screen.width, columns, rows, width, overlay, line);
}

/** For each px of the screen the image's, −1 beside it. @param {number} length @param {number} start @param {number} zoom @param {number} full */
function placesOf(length, start, zoom, full) {
  return Int32Array.from({ length }, (_, i) => {
    const place = Math.floor(start + (i + 0.5) / zoom);
    return place >= 0 && place < full ? place : -1;
  });
}

/** @param {number} red @param {number} green @param {number} blue */
function word(red, green, blue) {
  return ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
}

/**
 * @param {Uint32Array} pixels
 * @param {number} width Of the screen.
 * @param {View} view
 * @param {Int32Array} columns
 * @param {Int32Array} rows
 * @param {Channel[]} channels
 */
function paintChannels(pixels, width, view, columns, rows, channels) {
  const prepared = channels.map((channel) => {
    const wanted = Math.max(0, Math.floor(Math.log2(1 / view.zoom)));
    const number = Math.min(wanted, channel.levels.length - 1);
    const scale = STEPS / Math.max(channel.high - channel.low, 1e-30);
    return { ...channel.levels[number], number, scale, low: channel.low, colour: channel.colour };
  });
  for (let y = 0; y < rows.length; y++) {
    if (rows[y] < 0) continue;
    for (let x = 0; x < width; x++) {
      if (columns[x] < 0) continue;
      let [red, green, blue] = [0, 0, 0];
      for (const { plane, width: w, height: h, number, scale, low, colour } of prepared) {
        const row = Math.min(rows[y] >> number, h - 1);
        const light = Math.min(Math.max((plane[row * w + Math.min(columns[x] >> number, w - 1)] - low) * scale, 0), STEPS) / STEPS;
        red += light * colour[0];
        green += light * colour[1];
        blue += light * colour[2];
      }
      pixels[y * width + x] = word(Math.min(red, 255), Math.min(green, 255), Math.min(blue, 255));
    }
  }
}

/**
 * @param {Uint32Array} pixels
 * @param {number} width Of the screen.
 * @param {Int32Array} columns
 * @param {Int32Array} rows
 * @param {number} full Width of the image.
 * @param {Overlay} overlay
 * @param {number} line
 */
function paintOverlay(pixels, width, columns, rows, full, overlay, line) {
  const { values, classOf, selected, outlines, fill } = overlay;
  const height = rows.length;
  const at = (/** @type {number} */ x, /** @type {number} */ y) =>
    x < 0 || y < 0 || x >= width || y >= height || columns[x] < 0 || rows[y] < 0 ? -1 : values[rows[y] * full + columns[x]];
  for (let y = 0; y < height; y++) {
    if (rows[y] < 0) continue;
    for (let x = 0; x < width; x++) {
      const number = at(x, y);
      if (number <= 0) continue;
      const chosen = number === selected;
      const reach = chosen ? 2 * line : line;
      const edge =
        (outlines || chosen) &&
        (differs(at(x - reach, y), number) || differs(at(x + reach, y), number) ||
          differs(at(x, y - reach), number) || differs(at(x, y + reach), number));
      const share = edge ? 1 : chosen ? Math.max(fill, 0.2) : fill;
      if (!share) continue;
      const colour = edge && chosen ? [255, 255, 255] : classOf ? classColour(classOf[number]) : objectColour(number);
      const below = pixels[y * width + x];
      const mixed = colour.map((part, c) => Math.round(part * share + ((below >>> (8 * c)) & 255) * (1 - share)));
      pixels[y * width + x] = word(mixed[0], mixed[1], mixed[2]);
    }
  }
}

/** @param {number} there @param {number} here */
function differs(there, here) {
  return there !== here && there !== -1;
}
