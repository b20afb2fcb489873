/** TIFF and OME-TIFF by geotiff.js: one plane, or the channels of one. */

import { InputProblem } from "../core/types.js";

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

/**
 * Read the first image of a TIFF; smaller levels of a pyramid are passed over.
 *
 * @param {Blob} file
 * @returns {Promise<{width: number, height: number, planes: import("../core/types.js").Values[],
 *   channels: string[] | null, pixelSize: number | null, notes: string[]}>}
 */
export async function readTiff(file) {
  await import(new URL("../lib/geotiff.js", import.meta.url).href); // it puts itself among the globals
  const { fromBlob } = /** @type {any} */ (globalThis).GeoTIFF;
  try {
    const tiff = await fromBlob(file);
    const first = await tiff.getImage(0);
    const text = String((await tag(first, "ImageDescription")) ?? "");
    const pages = await pagesOf(tiff, first);
    const stated = layoutOf(text, pages.length);
    if (stated.stack) throw new InputProblem("tiffStack");
    const planes = [];
    for (const page of pages.slice(0, stated.pages ?? pages.length)) {
      if ([8, 16, 32, 64].every((bits) => bits !== page.getBitsPerSample())) {
        throw new InputProblem("tiffBits");
      }
      planes.push(...(await page.readRasters({ interleave: false })));
    }
    return await described(first, planes, stated, text);
  } catch (problem) {
    if (problem instanceof InputProblem) throw problem;
    throw new InputProblem("tiffDamaged", { cause: problem });
  }
}

/** @param {any} image @param {string} name */
async function tag(image, name) {
  const directory = image.fileDirectory;
  if (typeof directory.loadValue === "function") {
    return directory.hasTag(name) ? await directory.loadValue(name) : undefined;
  }
  return directory[name];
}

/** Pages of the size of the first, but reduced ones. @param {any} tiff @param {any} first */
async function pagesOf(tiff, first) {
  const count = await tiff.getImageCount();
  if (count > 4 * MOST_CHANNELS) throw new InputProblem("tiffStack");
  const found = [first];
  for (let i = 1; i < count; i++) {
    const page = await tiff.getImage(i);
    const reduced = (Number(await tag(page, "NewSubfileType")) & 1) === 1;
    if (!reduced && page.getWidth() === first.getWidth() && page.getHeight() === first.getHeight()) {
      found.push(page);
    }
  }
  return found;
}

/**
 * @param {any} first
 * @param {import("../core/types.js").Values[]} planes
 * @param {{names: string[], pixelSize: number | null}} stated
 * @param {string} text
 */
async function described(first, planes, stated, text) {
  const photometric = Number(await tag(first, "PhotometricInterpretation"));
  const notes = [];
  if ([2, 6].includes(photometric) && planes.length === 4) {
    planes.pop();
    notes.push("alphaLeftOut");
  }
  if (planes.length > MOST_CHANNELS) throw new InputProblem("tiffStack");
  if (photometric === 3) throw new InputProblem("tiffPalette");
  if (photometric === 0) {
    planes.forEach(inverted);
    notes.push("inverted");
  }
  const rgb = [2, 6].includes(photometric) && planes.length === 3;
  const named = stated.names.length === planes.length && stated.names.some(Boolean);
  const channels = named ? stated.names : rgb ? ["red", "green", "blue"] : null;
  const pixelSize = stated.pixelSize ?? (await resolutionOf(first, text));
  return {
    width: first.getWidth(), height: first.getHeight(), planes, channels, pixelSize, notes,
  };
}

/** What is white at 0 is turned round. @param {import("../core/types.js").Values} plane */
function inverted(plane) {
  const most = plane instanceof Uint8Array ? 255 : plane instanceof Uint16Array ? 65535 : NaN;
  if (Number.isNaN(most)) throw new InputProblem("tiffBits");
  for (let i = 0; i < plane.length; i++) plane[i] = most - plane[i];
}

/**
 * What OME-XML or ImageJ say of channels, stacks and the pixel size.
 *
 * @param {string} text
 * @param {number} pages
 * @returns {{names: string[], stack: boolean, pages: number | null, pixelSize: number | null}}
 */
export function layoutOf(text, pages) {
  if (text.includes("<OME")) {
    const pixels = /<(?:\w+:)?Pixels\b[^>]*>/.exec(text)?.[0] ?? "";
    const size = Number(attribute(pixels, "PhysicalSizeX"));
    const unit = UNITS[attribute(pixels, "PhysicalSizeXUnit") || "µm"];
    const names = [...text.split(/<(?:\w+:)?Image\b/)[1].matchAll(/<(?:\w+:)?Channel\b[^>]*>/g)].map(
      ([channel]) => attribute(channel, "Name"),
    );
    const planes = ["SizeZ", "SizeT"].map((axis) => Number(attribute(pixels, axis) || 1));
    const channels = Number(attribute(pixels, "SizeC") || 1);
    return {
      names, stack: planes.some((count) => count > 1), pages: Math.min(channels, pages),
      pixelSize: size > 0 && unit ? size * unit : null,
    };
  }
  if (text.startsWith("ImageJ=")) {
    const value = (/** @type {string} */ key) => Number(new RegExp(`\\b${key}=(\\d+)`).exec(text)?.[1] ?? 1);
    return { names: [], stack: value("slices") > 1 || value("frames") > 1, pages: null, pixelSize: null };
  }
  return { names: [], stack: pages > MOST_CHANNELS, pages: null, pixelSize: null };
}

/** @param {string} element @param {string} name */
function attribute(element, name) {
  const found = new RegExp(`\\b${name}="([^"]*)"`).exec(element)?.[1] ?? "";
  return found.replaceAll("&amp;", "&").replaceAll("&lt;", "<").replaceAll("&gt;", ">")
    .replaceAll("&quot;", '"').replaceAll("&#181;", "µ");
}

/** @param {any} image @param {string} text @returns {Promise<number | null>} */
async function resolutionOf(image, text) {
  const value = await tag(image, "XResolution");
  const perUnit = value?.length === 2 ? value[0] / value[1] : Number(value);
  if (!perUnit || !Number.isFinite(perUnit)) return null;
  const imagej = text.startsWith("ImageJ=") ? (/\bunit=(.*)/.exec(text)?.[1].trim() ?? "") : null;
  const unit = imagej ?? { 2: "inch", 3: "cm" }[Number((await tag(image, "ResolutionUnit")) ?? 2)] ?? "";
  if (!UNITS[unit]) return null;
  const size = UNITS[unit] / perUnit;
  const printed = imagej === null || ["inch", "in", "cm"].includes(unit);
  return printed && size >= COARSEST ? null : size;
}
