/** Packages that find objects. */

import { Grid, scaleFor } from "../core/grid.js";
import { findObjects } from "../core/objects.js";
import { mapsOf, sigmoid } from "./maps.js";

/** @typedef {import("../core/types.js").Labels} Labels */

export class Instances {
  /**
   * @param {import("./network.js").Network} network
   * @param {import("../core/types.js").Description} description
   */
  constructor(network, description) {
    this.network = network;
    this.description = description;
    /** @type {{grid: Grid, maps: Float32Array[][]} | null} */
    this.kept = null;
  }

  /**
   * Ask the network about every tile; the maps are kept.
   *
   * @param {import("../core/types.js").Picture} picture
   * @param {{channels: number[], diameter: number | null}} asked
   * @param {import("./maps.js").Advance} advance
   */
  async look(picture, asked, advance) {
    const { description } = this;
    const scale = scaleFor(description, picture.pixelSize, asked.diameter);
    const grid = new Grid([picture.height, picture.width], scale, description);
    const count = description.outputs.length;
    const maps = await mapsOf(this.network, description, picture, asked.channels, grid, count, advance);
    maps.forEach((tiles) => tiles.forEach(sigmoid));
    this.kept = { grid, maps };
  }

  /**
   * The objects by some thresholds, from the maps that are kept.
   *
   * @param {import("../core/objects.js").Rule} rule
   * @returns {{labels: Labels, classOf: null}}
   */
  answer(rule) {
    if (!this.kept) throw new Error("no image has been looked at");
    const { grid, maps } = this.kept;
    const { outputs } = this.description;
    const edges = outputs.indexOf("boundary");
    const boundary = edges < 0 ? null : maps[edges];
    return { labels: findObjects(grid, maps[outputs.indexOf("foreground")], boundary, rule), classOf: null };
  }
}
