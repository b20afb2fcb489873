/** OME-Zarr 0.4 and 0.5 by zarrita, from an address or a folder: one plane, read by region. */

import { InputProblem } from "../core/types.js";

/** µm of the units that OME-Zarr names. */
const UNITS = /** @type {Record<string, number>} */ ({
  angstrom: 1e-4, nanometer: 1e-3, micrometer: 1, millimeter: 1e3, centimeter: 1e4, meter: 1e6,
});
/** Side of the tiles that are shown, px. */
const SIDE = 512;

/** Files of a folder that was dropped or chosen, as a store of zarrita's. */
export class FolderStore {
  /** @param {Map<string, File>} files By path in the folder, without a slash at the start. */
  constructor(files) {
    this.files = files;
  }

  /** @param {string} key */
  async get(key) {
    const file = this.files.get(key.slice(1));
    return file && new Uint8Array(await file.arrayBuffer());
  }

  /** @param {string} key @param {{offset: number, length: number} | {suffixLength: number}} range */
  async getRange(key, range) {
    const file = this.files.get(key.slice(1));
    if (!file) return undefined;
    const part = "suffixLength" in range ? file.slice(-range.suffixLength) : file.slice(range.offset, range.offset + range.length);
    return new Uint8Array(await part.arrayBuffer());
  }
}

/**
 * Open an image; its first, where the root holds several.
 *
 * @param {{url: string} | {files: Map<string, File>}} from
 */
export async function openZarr(from) {
  const zarr = await import(new URL("../lib/zarr/zarrita/index.js", import.meta.url).href);
  const store = "url" in from ? new zarr.FetchStore(from.url) : new FolderStore(from.files);
  try {
    return await opened(zarr, zarr.root(store));
  } catch (problem) {
    if (problem instanceof InputProblem) throw problem;
    throw new InputProblem("url" in from ? "zarrUnreachable" : "zarrDamaged", { cause: problem });
  }
}

/** @param {any} zarr @param {any} root */
async function opened(zarr, root) {
  const found = await imageIn(zarr, root);
  if (!found) throw new InputProblem("zarrNoImage");
  const { group, attributes } = found;
  const [{ axes, datasets, coordinateTransformations }] = attributes.multiscales;
  /** @type {{name: string, unit?: string}[]} */
  const all = (axes ?? ["t", "c", "z", "y", "x"]).map((/** @type {any} */ axis) => (typeof axis === "string" ? { name: axis } : axis));
  const arrays = await Promise.all(datasets.map((/** @type {{path: string}} */ { path }) => zarr.open(group.resolve(path), { kind: "array" })));
  const place = (/** @type {string} */ name) => all.findIndex((axis) => axis.name === name);
  const [x, y, c] = ["x", "y", "c"].map(place);
  if (x < 0 || y < 0) throw new InputProblem("zarrNoImage");
  const [first] = arrays;
  if (first.shape.some((/** @type {number} */ length, /** @type {number} */ axis) => ![x, y, c].includes(axis) && length > 1)) {
    throw new InputProblem("tiffStack");
  }
  const sizeOf = (/** @type {any} */ array) => ({ width: array.shape[x], height: array.shape[y] });
  const count = c < 0 ? 1 : first.shape[c];
  /** @type {import("../core/types.js").Reader} */
  const read = (level, region) => planesOf(zarr, arrays[level], { x, y, c }, count, region);
  const names = attributes.omero?.channels?.map((/** @type {{label?: string}} */ { label }) => label ?? "");
  const scales = [...(datasets[0].coordinateTransformations ?? []), ...(coordinateTransformations ?? [])].filter(({ type }) => type === "scale");
  const size = (/** @type {number} */ axis) => scales.reduce((product, { scale }) => product * scale[axis], UNITS[all[axis].unit ?? ""] ?? NaN);
  return {
    ...sizeOf(first), count, notes: [], read, levels: arrays.map(sizeOf), side: SIDE,
    channels: names?.length === count && names.some(Boolean) ? names : null,
    pixelSize: scales.length && size(x) > 0 && size(y) > 0 ? /** @type {[number, number]} */ ([size(x), size(y)]) : null,
  };
}

/** The group of an image: the root, or as bioformats2raw has it the group "0". @param {any} zarr @param {any} root */
async function imageIn(zarr, root) {
  for (const location of [root, root.resolve("0")]) {
    const group = await zarr.open(location, { kind: "group" }).catch((/** @type {Error} */ problem) => {
      if (location === root) throw problem;
      return null;
    });
    const attributes = group?.attrs.ome ?? group?.attrs;
    if (attributes?.multiscales?.length) return { group, attributes };
  }
  return null;
}

/**
 * @param {any} zarr
 * @param {any} array
 * @param {{x: number, y: number, c: number}} places
 * @param {number} count
 * @param {import("../core/types.js").Region} region
 */
async function planesOf(zarr, array, { x, y, c }, count, { top, left, bottom, right }) {
  const one = async (/** @type {number} */ channel) => {
    const selection = array.shape.map((/** @type {number} */ _, /** @type {number} */ axis) =>
      axis === x ? zarr.slice(left, right) : axis === y ? zarr.slice(top, bottom) : axis === c ? channel : 0,
    );
    const { data, stride } = await zarr.get(array, selection);
    if (data instanceof BigInt64Array || data instanceof BigUint64Array) throw new InputProblem("tiffBits");
    if (x > y) return data;
    // Stored column by column: turned, so that rows follow each other.
    const turned = new data.constructor(data.length);
    const [width, height] = [right - left, bottom - top];
    for (let row = 0, at = 0; row < height; row++) {
      for (let column = 0; column < width; column++, at++) turned[at] = data[column * stride[0] + row * stride[1]];
    }
    return turned;
  };
  return Promise.all(Array.from({ length: count }, (_, channel) => one(channel)));
}
