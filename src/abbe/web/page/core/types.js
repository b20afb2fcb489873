/**
 * What the parts of the page hand to each other.
 *
 * @typedef {Uint8Array | Uint16Array | Uint32Array | Int8Array | Int16Array | Int32Array
 *   | Float32Array | Float64Array} Values
 *
 * @typedef {{top: number, left: number, bottom: number, right: number}} Region
 *
 * @typedef {object} Picture An opened image.
 * @property {string} name
 * @property {number} width
 * @property {number} height
 * @property {Values[]} planes One for each channel, row by row; none where it is read by region.
 * @property {{levels: {width: number, height: number}[], side: number} | null} tiled Its pyramid,
 *   the finest level first, and the side of the tiles that are shown; null where `planes` are all.
 * @property {Reader} [read]
 * @property {string[]} channels Their names.
 * @property {number | null} pixelSize µm per px.
 * @property {string[]} notes What was taken for granted.
 * @property {number} [number] Its place among the images of `abbe serve`.
 *
 * @typedef {[number, number] | null} Sides µm of a pixel, horizontal and vertical, as a file states them.
 *
 * @typedef {(level: number, region: Region) => Promise<Values[]>} Reader A region of a level.
 *
 * @typedef {object} Labels Objects 1…count in reading order of their first pixel; 0 is background.
 * @property {Int32Array} values
 * @property {number} width
 * @property {number} height
 * @property {number} count
 * @property {Float64Array} confidence By number; empty where none is known.
 * @property {Int32Array} [tints] Which colour each object has, by number; without them it is the number.
 * @property {number} [left] Where the part that was looked at lies in the image.
 * @property {number} [top]
 * @property {{levels: {width: number, height: number}[], side: number}} [tiled] Where they are not
 *   in `values`, but read by region.
 * @property {Float64Array[]} [types] How probable each type of each object is, by type and number.
 *
 * @typedef {object} Description What stands in package.json, as far as the page reads it.
 * @property {string} name
 * @property {string} title
 * @property {"segmentation" | "regions" | "classification" | "promptable"} task
 * @property {string[]} channels
 * @property {number | null} pixel_size
 * @property {number | null} [object_diameter]
 * @property {{kind: string, low: number, high: number}} normalisation
 * @property {[number, number] | null} image_size
 * @property {number} divisor
 * @property {number} tile
 * @property {number} halo
 * @property {number | null} context
 * @property {string[]} outputs
 * @property {number[]} [temperature] By which logits are divided where probabilities are told.
 * @property {{mask: number, foreground: number, boundary: number}} thresholds
 * @property {{rule: string, minimum_area: number}} instances
 * @property {string[]} classes
 * @property {Record<string, {path: string, bytes: number}>} files
 * @property {Record<string, any>} lineage
 */

/** What a person can mend; shown as it is. */
export class InputProblem extends Error {}
