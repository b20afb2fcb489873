/** Paints what is seen of an image and its objects, pixel by pixel of the screen. */

import { classColour, objectColour } from "./colours.js";
import { levelFor } from "./levels.js";

/** Steps into which the light of a channel is divided. */
const STEPS = 1024;

/**
 * @typedef {object} Channel
 * @property {import("./colours.js").Colour} colour
 * @property {number} low Shown black.
 * @property {number} high Shown at its brightest.
 * @property {boolean} shown
 *
 * @typedef {object} Overlay
 * @property {import("./levels.js").Shown} labels Objects, in px of the part of the image that was looked at.
 * @property {number} left Where that part lies.
 * @property {number} top
 * @property {ArrayLike<number> | null} classOf Below 0 where an object has no class.
 * @property {ArrayLike<number>} [tints] Which colour each object has; without them it is the number.
 * @property {number} selected
 * @property {boolean} outlines
 * @property {number} fill 0 to 1.
 *
 * @typedef {{zoom: number, x: number, y: number}} View px of the screen for one of the image, and
 *   the image's place at the upper left of the screen.
 *
 * @typedef {{tile: number, from: number, to: number}} Run px of the screen that lie in one tile.
 */

/**
 * @param {ImageData} screen
 * @param {View} view
 * @param {import("./levels.js").Shown} image
 * @param {Channel[]} channels
 * @param {(Overlay | null)[]} overlays
 * @param {number} line px of the screen that an outline is wide.
 * @param {number[]} ground Colour beside the image.
 */
export function paint(screen, view, image, channels, overlays, line, ground) {
  const pixels = new Uint32Array(screen.data.buffer);
  pixels.fill(word(ground[0], ground[1], ground[2]));
  const wanted = levelFor(image, view.zoom);
  // The coarsest level first, which is here soonest, where tiles of the right one may be missing.
  const levels = image.side === Infinity || wanted === image.levels.length - 1 ? [wanted] : [image.levels.length - 1, wanted];
  for (const level of levels) {
    eachTile(screen, view, image, level, 0, 0, (planes, tile) => paintTile(pixels, screen.width, planes, tile, channels));
  }
  for (const overlay of overlays) if (overlay?.labels.width) paintOverlay(pixels, screen, view, overlay, line);
}

/**
 * @typedef {object} Tile
 * @property {Run} across
 * @property {Run} down
 * @property {Int32Array} columns For each px of the screen that of the level.
 * @property {Int32Array} rows
 * @property {number} left Where the tile begins in its level.
 * @property {number} top
 * @property {number} width
 */

/**
 * Call for each tile of a level that is seen, and here.
 *
 * @param {{width: number, height: number}} screen
 * @param {View} view
 * @param {import("./levels.js").Shown} image
 * @param {number} number Of the level.
 * @param {number} left Where the image lies in the one that the view is of.
 * @param {number} top
 * @param {(planes: import("../core/types.js").Values[], tile: Tile) => void} act
 */
function eachTile(screen, view, image, number, left, top, act) {
  const { levels, side } = image;
  const level = levels[number];
  const columns = placesOf(screen.width, view.x - left, view.zoom, image.width, level.width);
  const rows = placesOf(screen.height, view.y - top, view.zoom, image.height, level.height);
  const runs = (/** @type {Int32Array} */ places) => runsOf(places, side);
  for (const down of runs(rows)) {
    for (const across of runs(columns)) {
      const planes = image.tile(number, down.tile, across.tile);
      if (!planes) continue;
      const start = side === Infinity ? 0 : across.tile * side;
      act(planes, {
        across, down, columns, rows, left: start, top: side === Infinity ? 0 : down.tile * side,
        width: Math.min(side, level.width - start),
      });
    }
  }
}

/**
 * For each px of the screen the level's, −1 beside it.
 *
 * @param {number} length
 * @param {number} start
 * @param {number} zoom
 * @param {number} full px of the image.
 * @param {number} level px of the level.
 */
function placesOf(length, start, zoom, full, level) {
  return Int32Array.from({ length }, (_, i) => {
    const place = Math.floor(start + (i + 0.5) / zoom);
    return place >= 0 && place < full ? Math.min(Math.floor((place + 0.5) * (level / full)), level - 1) : -1;
  });
}

/** @param {Int32Array} places @param {number} side @returns {Run[]} */
function runsOf(places, side) {
  /** @type {Run[]} */
  const found = [];
  places.forEach((place, i) => {
    if (place < 0) return;
    const tile = Math.floor(place / side);
    const last = found[found.length - 1];
    if (last?.tile === tile) last.to = i + 1;
    else found.push({ tile, from: i, to: i + 1 });
  });
  return found;
}

/** @param {number} red @param {number} green @param {number} blue */
function word(red, green, blue) {
  return ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
}

/**
 * @param {Uint32Array} pixels
 * @param {number} width Of the screen.
 * @param {import("../core/types.js").Values[]} planes
 * @param {Tile} tile
 * @param {Channel[]} channels
 */
function paintTile(pixels, width, planes, tile, channels) {
  const { across, down, columns, rows } = tile;
  const prepared = channels.flatMap(({ shown, low, high, colour }, i) =>
    shown ? [{ plane: planes[i], scale: STEPS / Math.max(high - low, 1e-30), low, colour }] : [],
  );
  for (let y = down.from; y < down.to; y++) {
    const row = (rows[y] - tile.top) * tile.width - tile.left;
    for (let x = across.from; x < across.to; x++) {
      let [red, green, blue] = [0, 0, 0];
      for (const { plane, scale, low, colour } of prepared) {
        const light = Math.min(Math.max((plane[row + columns[x]] - low) * scale, 0), STEPS) / STEPS;
        red += light * colour[0];
        green += light * colour[1];
        blue += light * colour[2];
      }
      pixels[y * width + x] = word(Math.min(red, 255), Math.min(green, 255), Math.min(blue, 255));
    }
  }
}

/** The object at each px of the screen, 0 where none is, −1 beside the image. @param {{width: number, height: number}} screen @param {View} view @param {Overlay} overlay */
function numbersOf(screen, view, { labels, left, top }) {
  const numbers = new Int32Array(screen.width * screen.height).fill(-1);
  eachTile(screen, view, labels, levelFor(labels, view.zoom), left, top, ([plane], { across, down, columns, rows, ...tile }) => {
    for (let y = down.from; y < down.to; y++) {
      const row = (rows[y] - tile.top) * tile.width - tile.left;
      for (let x = across.from; x < across.to; x++) numbers[y * screen.width + x] = plane[row + columns[x]];
    }
  });
  return numbers;
}

/**
 * @param {Uint32Array} pixels
 * @param {{width: number, height: number}} screen
 * @param {View} view
 * @param {Overlay} overlay
 * @param {number} line
 */
function paintOverlay(pixels, screen, view, overlay, line) {
  const { classOf, tints, selected, outlines, fill } = overlay;
  const { width, height } = screen;
  const numbers = numbersOf(screen, view, overlay);
  const differs = (/** @type {number} */ x, /** @type {number} */ y, /** @type {number} */ here) => {
    if (x < 0 || y < 0 || x >= width || y >= height) return false;
    const there = numbers[y * width + x];
    return there !== here && (there !== -1 || overlay.selected === here);
  };
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const number = numbers[y * width + x];
      if (number <= 0) continue;
      const chosen = number === selected;
      const reach = chosen ? 2 * line : line;
      const edge =
        (outlines || chosen) &&
        (differs(x - reach, y, number) || differs(x + reach, y, number) ||
          differs(x, y - reach, number) || differs(x, y + reach, number));
      const share = edge ? 1 : chosen ? Math.max(fill, 0.2) : fill;
      if (!share) continue;
      const colour = edge && chosen ? [255, 255, 255] : classOf && classOf[number] >= 0 ? classColour(classOf[number]) : objectColour(tints?.[number] ?? number);
      const below = pixels[y * width + x];
      const mixed = colour.map((part, c) => Math.round(part * share + ((below >>> (8 * c)) & 255) * (1 - share)));
      pixels[y * width + x] = word(mixed[0], mixed[1], mixed[2]);
    }
  }
}
