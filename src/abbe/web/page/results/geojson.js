/** Objects as GeoJSON that QuPath opens; the features of `abbe predict --results geojson`. */

import { polygonsOf } from "./contours.js";

/**
 * @param {import("../core/types.js").Labels[]} all Of which each may cover others; objects are numbered through.
 * @param {object} options
 * @param {number | null} options.pixelSize µm
 * @param {string | null} options.classification A class for all objects.
 * @param {((number: number) => {name: string, colour: number[]} | null) | null} options.classOf The class of each.
 * @param {string} options.kind QuPath's objectType.
 * @param {import("./table.js").Columns} options.columns What was measured.
 */
export function geojsonOf(all, { pixelSize, classification, classOf, kind, columns }) {
  const areas = /** @type {Float64Array} */ (columns.get("area_px"));
  const told = [...columns].filter(([name]) => !["label", "area_px", "area_um2"].includes(name));
  const prefix = randomPrefix();
  const features = all.flatMap(placedOutlines).flatMap((polygons, i) => {
    if (!polygons.length) return [];
    const number = i + 1;
    const one = polygons.length === 1;
    const geometry = one
      ? { type: "Polygon", coordinates: polygons[0] }
      : { type: "MultiPolygon", coordinates: polygons };
    /** @type {Record<string, number>} */
    const measurements = { "Area px^2": areas[i] };
    if (pixelSize) measurements["Area µm^2"] = Number((areas[i] * pixelSize ** 2).toFixed(3));
    for (const [name, values] of told) {
      measurements[name === "confidence" ? "Confidence" : name] = Number(values[i].toPrecision(6));
    }
    const found = classOf?.(number);
    const named = found
      ? { classification: { name: found.name, color: found.colour } }
      : classification
        ? { classification: { name: classification } }
        : {};
    const id = prefix + String(number).padStart(12, "0");
    const properties = { objectType: kind, ...named, name: String(number), measurements };
    return [JSON.stringify({ type: "Feature", id, geometry, properties })];
  });
  return `{"type":"FeatureCollection","features":[\n${features.join(",\n")}\n]}\n`;
}

/** Polygons of each object, in px of the image. @param {import("../core/types.js").Labels} labels */
function placedOutlines(labels) {
  const { left = 0, top = 0 } = labels;
  const placed = (/** @type {import("./contours.js").Ring} */ ring) => ring.map(([x, y]) => [x + left, y + top]);
  return polygonsOf(labels).slice(1).map((polygons) => polygons.map((rings) => rings.map(placed)));
}

/** The first four parts of a UUID. */
function randomPrefix() {
  const bytes = crypto.getRandomValues(new Uint8Array(10));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-`;
}
