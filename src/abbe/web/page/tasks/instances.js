/** Packages that find objects. */

import { calibrated } from "../core/calibration.js";
import { Grid, scaleFor } from "../core/grid.js";
import { findObjects } from "../core/objects.js";
import { mapsOf, sigmoid } from "./maps.js";

/** What stands before a type's name in that of its map. */
const TYPE = "type:";

/** @typedef {import("../core/types.js").Labels} Labels */

export class Instances {
  /**
   * @param {import("./network.js").Network} network
   * @param {import("../core/types.js").Description} description
   */
  constructor(network, description) {
    this.network = network;
    this.description = description;
    /** @type {{grid: Grid, maps: Float32Array[][], told: Float32Array[][]} | null} */
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
    const { outputs, temperature } = description;
    const place = outputs.indexOf("foreground");
    const foreground = temperature?.length
      ? maps[place].map((map) => calibrated(map, temperature[place]))
      : maps[place];
    const types = outputs.filter((name) => name.startsWith(TYPE)).map((name) => maps[outputs.indexOf(name)]);
    this.kept = { grid, maps, told: [foreground, ...types] };
  }

  /**
   * The objects by some thresholds, from the maps that are kept.
   *
   * @param {import("../core/objects.js").Rule} rule
   * @returns {{labels: Labels, classOf: Uint8Array | null}}
   */
  answer(rule) {
    if (!this.kept) throw new Error("no image has been looked at");
    const { grid, maps, told } = this.kept;
    const { outputs } = this.description;
    const edges = outputs.indexOf("boundary");
    const boundary = edges < 0 ? null : maps[edges];
    const labels = findObjects(grid, maps[outputs.indexOf("foreground")], boundary, told, rule);
    return { labels, classOf: labels.types ? mostProbable(labels.types) : null };
  }
}

/** The type of each object, of equals the first. @param {Float64Array[]} types */
function mostProbable(types) {
  return Uint8Array.from(types[0], (_, i) =>
    types.reduce((best, each, kind) => (each[i] > types[best][i] ? kind : best), 0),
  );
}
