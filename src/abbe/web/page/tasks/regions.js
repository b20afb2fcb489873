/** Packages that say of each pixel which class it is. */

import { areasOf, componentsOf } from "../core/components.js";
import { Grid, scaleFor } from "../core/grid.js";
import { inImage } from "../core/objects.js";
import { mapsOf } from "./maps.js";

export class Regions {
  /**
   * @param {import("./network.js").Network} network
   * @param {import("../core/types.js").Description} description
   */
  constructor(network, description) {
    this.network = network;
    this.description = description;
    /** @type {{grid: Grid, classes: Uint8Array[]} | null} */
    this.kept = null;
  }

  /**
   * @param {import("../core/types.js").Picture} picture
   * @param {{channels: number[], diameter: number | null}} asked
   * @param {import("./maps.js").Advance} advance
   */
  async look(picture, asked, advance) {
    const { description } = this;
    const scale = scaleFor(description, picture.pixelSize, null);
    const grid = new Grid([picture.height, picture.width], scale, description);
    const count = description.classes.length;
    const maps = await mapsOf(this.network, description, picture, asked.channels, grid, count, advance);
    const classes = maps[0].map((first, tile) =>
      Uint8Array.from(first, (_, i) => {
        let best = 0;
        for (let k = 1; k < count; k++) if (maps[k][tile][i] > maps[best][tile][i]) best = k;
        return best;
      }),
    );
    this.kept = { grid, classes };
  }

  /**
   * The class of each pixel, and the connected areas of all but the background.
   *
   * @param {{minimumArea: number}} rule
   */
  answer({ minimumArea }) {
    if (!this.kept) throw new Error("no image has been looked at");
    const { grid, classes } = this.kept;
    const pixels = inImage(grid, classes);
    const [height, width] = grid.imageShape;
    const skip = this.description.classes.indexOf("background");
    // Areas are looked for in the coarser pixels, the network's or the image's.
    const coarser = grid.coarserImage;
    const found = coarser
      ? areasIn(pixels, width, height, skip, minimumArea)
      : areasIn(wholeOf(grid, classes), grid.shape[1], grid.shape[0], skip, minimumArea);
    const values = coarser ? found.labels : enlarged(grid, found.labels);
    return {
      labels: { values, width, height, count: found.classOf.length - 1, confidence: new Float64Array(0) },
      classOf: found.classOf, pixels,
    };
  }
}

/**
 * @param {Uint8Array} pixels
 * @param {number} width
 * @param {number} height
 * @param {number} skip
 * @param {number} minimumArea
 */
function areasIn(pixels, width, height, skip, minimumArea) {
  const numbers = Uint16Array.from(pixels, (value) => (value === skip ? 0 : value + 1));
  const parts = componentsOf(numbers, width, height);
  const areas = areasOf(parts.labels, parts.count);
  const number = new Int32Array(parts.count + 1);
  const classOf = [0];
  for (let i = 0; i < pixels.length; i++) {
    const part = parts.labels[i];
    if (!part || number[part] || areas[part] < minimumArea) continue;
    number[part] = classOf.length;
    classOf.push(pixels[i]);
  }
  return { labels: parts.labels.map((part) => number[part]), classOf: Uint8Array.from(classOf) };
}

/** All cores as one plane in px of the network. @param {Grid} grid @param {Uint8Array[]} cores */
function wholeOf(grid, cores) {
  const [, width] = grid.shape;
  const found = new Uint8Array(grid.shape[0] * width);
  cores.forEach((core, tile) => {
    const { top, left, bottom, right } = grid.core(tile);
    for (let y = top; y < bottom; y++) {
      const row = core.subarray((y - top) * (right - left), (y - top + 1) * (right - left));
      found.set(row, y * width + left);
    }
  });
  return found;
}

/** From px of the network to px of the image. @param {Grid} grid @param {Int32Array} labels */
function enlarged(grid, labels) {
  if (!grid.scaled) return labels;
  const [rows, columns] = grid.sources;
  const found = new Int32Array(rows.length * columns.length);
  for (let y = 0, i = 0; y < rows.length; y++) {
    for (let x = 0; x < columns.length; x++) found[i++] = labels[rows[y] * grid.shape[1] + columns[x]];
  }
  return found;
}
