/** TIFF and OME-TIFF by geotiff.js: one plane, or the channels of one. */

import { storedRegion, isTurned, turned, turnedSize } from "../core/turning.js";
import { InputProblem } from "../core/types.js";
import { RED_GREEN_BLUE, meaningOf } from "./tiff_colours.js";

/** µm of the units that OME-XML, ImageJ and TIFF name. */
const UNITS = /** @type {Record<string, number>} */ ({
  "µm": 1, "μm": 1, um: 1, micron: 1, microns: 1, micrometer: 1, nm: 1e-3, mm: 1e3, cm: 1e4, m: 1e6,
  inch: 25400, in: 25400, "\\u00B5m": 1,
});
/** µm; what is coarser is the resolution of a printer or a screen. */
const COARSEST = 10;
const MOST_CHANNELS = 64;

/** @param {Uint8Array} data */
export function isTiff(data) {
  const order = String.fromCharCode(data[0], data[1]);
  const magic = order === "II" ? data[2] | (data[3] << 8) : (data[2] << 8) | data[3];
  return (order === "II" || order === "MM") && (magic === 42 || magic === 43);
}

/** Side of the tiles that are shown, px. */
const SIDE = 512;

/**
 * Open the largest image of a TIFF, with its pyramid; pixels are decoded when a region is read.
 *
 * @param {Blob} file
 */
export async function openTiff(file) {
  await import(new URL("../lib/geotiff.js", import.meta.url).href); // it puts itself among the globals
  return named(async () => {
    const tiff = await /** @type {any} */ (globalThis).GeoTIFF.fromBlob(file);
    const { pages, smaller, first } = await pagesOf(tiff);
    const text = String((await tag(await tiff.getImage(0), "ImageDescription")) ?? "");
    const stated = layoutOf(text, pages.length, sizeOf(pages[0]));
    if (stated.stack) throw new InputProblem("tiffStack");
    const shown = pages.slice(0, stated.pages ?? pages.length);
    for (const page of shown) {
      if ([8, 16, 32, 64].every((bits) => bits !== page.getBitsPerSample())) throw new InputProblem("tiffBits");
    }
    const levels = [shown, ...(await coarser(tiff, shown, smaller))];
    const found = await described(levels, stated, text);
    return { ...found, notes: [...(first ? [] : ["largest"]), ...found.notes] };
  });
}

/** @template T @param {() => Promise<T>} act @returns {Promise<T>} What goes wrong has a name. */
async function named(act) {
  try {
    return await act();
  } catch (problem) {
    if (problem instanceof InputProblem) throw problem;
    throw new InputProblem("tiffDamaged", { cause: problem });
  }
}

/**
 * The smaller copies of some pages: below each of them (OME-TIFF), or behind them (SVS and others).
 *
 * @param {any} tiff
 * @param {any[]} pages
 * @param {any[]} smaller
 * @returns {Promise<any[][]>} By level.
 */
async function coarser(tiff, pages, smaller) {
  const below = await Promise.all(pages.map((page) => tag(page, "SubIFDs")));
  const image = async (/** @type {number} */ offset) =>
    new /** @type {any} */ (globalThis).GeoTIFF.GeoTIFFImage(
      await tiff.parser.parseFileDirectoryAt(Number(offset)), tiff.littleEndian, tiff.cache, tiff.source,
    );
  if (below.every((offsets) => offsets?.length)) {
    const count = Math.min(...below.map((offsets) => offsets.length));
    return Promise.all(Array.from({ length: count }, (_, level) => Promise.all(below.map((offsets) => image(offsets[level])))));
  }
  const [{ width, height }] = pages.map(sizeOf);
  /** @type {Map<number, any[]>} */
  const bySize = new Map();
  for (const page of smaller) {
    const size = sizeOf(page);
    const factors = [width / size.width, height / size.height];
    // A label or macro picture has another shape, and is no level.
    if (!page.isTiled || Math.abs(factors[0] - factors[1]) > 0.02 * factors[0]) continue;
    bySize.set(size.width, [...(bySize.get(size.width) ?? []), page]);
  }
  const found = [...bySize].sort(([a], [b]) => b - a).map(([, level]) => level);
  return found.filter((level) => level.length === pages.length);
}

/** @param {any} page */
function sizeOf(page) {
  return { width: page.getWidth(), height: page.getHeight() };
}

/** @param {any} image @param {string} name */
async function tag(image, name) {
  const directory = image.fileDirectory;
  if (typeof directory.loadValue === "function") {
    return directory.hasTag(name) ? await directory.loadValue(name) : undefined;
  }
  return directory[name];
}

/** Pages of the size of the largest, of which thumbnails may come first, and those that are smaller. @param {any} tiff */
async function pagesOf(tiff) {
  const count = await tiff.getImageCount();
  if (count > 4 * MOST_CHANNELS) throw new InputProblem("tiffStack");
  /** @type {any[]} */
  const all = [];
  for (let i = 0; i < count; i++) all.push(await tiff.getImage(i));
  const area = (/** @type {any} */ page) => page.getWidth() * page.getHeight();
  const largest = all.reduce((most, page) => (area(page) > area(most) ? page : most));
  const whole = sizeOf(largest);
  const [pages, smaller] = [/** @type {any[]} */ ([]), /** @type {any[]} */ ([])];
  for (const page of all) {
    const reduced = (Number(await tag(page, "NewSubfileType")) & 1) === 1;
    const own = sizeOf(page);
    if (page === largest || (!reduced && own.width === whole.width && own.height === whole.height)) pages.push(page);
    else if (own.width < whole.width && own.height < whole.height) smaller.push(page);
  }
  return { pages, smaller, first: largest === all[0] };
}

/**
 * @param {any[][]} levels Pages, by level.
 * @param {{names: string[], pixelSize: import("../core/types.js").Sides}} stated
 * @param {string} text
 */
async function described(levels, stated, text) {
  const [[first]] = levels;
  const { colours, notes, seen } = await meaningOf(first, (name) => tag(first, name), text);
  const extra = (await tag(first, "ExtraSamples")) ?? [];
  let count = levels[0].reduce((sum, page) => sum + page.getSamplesPerPixel(), 0);
  if (levels[0].length === 1 && [1, 2].includes(extra[extra.length - 1])) {
    count--;
    notes.push("alphaLeftOut");
  }
  if (count > MOST_CHANNELS) throw new InputProblem("tiffStack");
  const orientation = Number((await tag(first, "Orientation")) ?? 1);
  if (isTurned(orientation)) notes.push("turned");
  const sizes = levels.map(([page]) => turnedSize(sizeOf(page), orientation));
  const colourNames = Array.from({ length: count }, (_, i) => RED_GREEN_BLUE[i] ?? `channel-${i}`);
  const namesFit = stated.names.length === count && stated.names.some(Boolean);
  const pixelSize = stated.pixelSize ?? (await resolutionOf(first, text));
  /** @type {import("../core/types.js").Reader} */
  const read = (level, region) =>
    named(async () => {
      const { left, top, right, bottom } = storedRegion(region, sizes[level], orientation);
      const planes = [];
      for (const page of levels[level]) {
        planes.push(...(await page.readRasters({ interleave: false, window: [left, top, right, bottom] })));
      }
      const size = { width: region.right - region.left, height: region.bottom - region.top };
      return seen(planes.slice(0, count)).map((plane) => turned(plane, size, orientation));
    });
  return {
    ...sizes[0], channels: namesFit ? stated.names : colours && count >= 3 ? colourNames : null, count, pixelSize, notes, read, side: SIDE, levels: sizes,
  };
}

/**
 * What OME-XML or ImageJ say of channels, stacks and the pixel size.
 *
 * @param {string} text
 * @param {number} pages
 * @param {{width: number, height: number}} size Of the image that is read, where the file has several.
 * @returns {{names: string[], stack: boolean, pages: number | null, pixelSize: import("../core/types.js").Sides}}
 */
export function layoutOf(text, pages, { width, height }) {
  if (text.includes("<OME")) {
    const pixelsOf = (/** @type {string} */ image) => /<(?:\w+:)?Pixels\b[^>]*>/.exec(image)?.[0] ?? "";
    const isOf = (/** @type {string} */ told) => attribute(told, "SizeX") === String(width) && attribute(told, "SizeY") === String(height);
    const images = text.split(/<(?:\w+:)?Image\b/).slice(1);
    const image = images.find((each) => isOf(pixelsOf(each))) ?? images[0] ?? "";
    const pixels = pixelsOf(image);
    const [across, down] = ["X", "Y"].map((axis) =>
      Number(attribute(pixels, `PhysicalSize${axis}`)) * (UNITS[attribute(pixels, `PhysicalSize${axis}Unit`) || "µm"] ?? NaN),
    );
    const names = [...image.matchAll(/<(?:\w+:)?Channel\b[^>]*>/g)].map(
      ([channel]) => attribute(channel, "Name"),
    );
    const planes = ["SizeZ", "SizeT"].map((axis) => Number(attribute(pixels, axis) || 1));
    const channels = Number(attribute(pixels, "SizeC") || 1);
    return {
      names, stack: planes.some((count) => count > 1), pages: Math.min(channels, pages),
      pixelSize: across > 0 && down > 0 ? [across, down] : null,
    };
  }
  if (text.startsWith("ImageJ=")) {
    const value = (/** @type {string} */ key) => Number(new RegExp(`\\b${key}=(\\d+)`).exec(text)?.[1] ?? 1);
    return { names: [], stack: value("slices") > 1 || value("frames") > 1, pages: null, pixelSize: null };
  }
  const shaped = /^\{"shape": \[([\d, ]+)\].*"axes": "(\w+)"/.exec(text); // as tifffile writes it
  const stacked = shaped?.[1].split(",").some((length, i) => Number(length) > 1 && "ZT".includes(shaped[2][i] ?? " "));
  return { names: [], stack: stacked || pages > MOST_CHANNELS, pages: null, pixelSize: null };
}

/** @param {string} element @param {string} name */
function attribute(element, name) {
  const found = new RegExp(`\\b${name}="([^"]*)"`).exec(element)?.[1] ?? "";
  return found.replaceAll("&amp;", "&").replaceAll("&lt;", "<").replaceAll("&gt;", ">")
    .replaceAll("&quot;", '"').replaceAll("&#181;", "µ");
}

/** @param {any} image @param {string} text @returns {Promise<import("../core/types.js").Sides>} */
async function resolutionOf(image, text) {
  const aperio = text.startsWith("Aperio ") && /\bMPP\s*=\s*([\d.,]+)/.exec(text);
  if (aperio) {
    const size = Number(aperio[1].replace(",", "."));
    return size > 0 ? [size, size] : null;
  }
  const [across, down] = await Promise.all(["XResolution", "YResolution"].map(async (name) => {
    const value = await tag(image, name);
    return value?.length === 2 ? value[0] / value[1] : Number(value);
  }));
  if (!(across > 0 && down > 0 && Number.isFinite(across + down))) return null;
  const imagej = text.startsWith("ImageJ=") ? (/\bunit=(.*)/.exec(text)?.[1].trim() ?? "") : null;
  const unit = imagej ?? { 2: "inch", 3: "cm", 4: "mm", 5: "um" }[Number((await tag(image, "ResolutionUnit")) ?? 2)] ?? "";
  if (!UNITS[unit]) return null;
  const printed = imagej === null || ["inch", "in", "cm"].includes(unit);
  return printed && UNITS[unit] / Math.min(across, down) >= COARSEST ? null : [UNITS[unit] / across, UNITS[unit] / down];
}
