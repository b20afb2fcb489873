/** Objects as GeoJSON that QuPath opens; the features of `abbe predict --results geojson`. */

import { polygonsOf } from "./contours.js";

/**
 * @param {import("../core/types.js").Labels} labels
 * @param {object} options
 * @param {number | null} options.pixelSize µm
 * @param {string | null} options.classification A class for all objects.
 * @param {((number: number) => {name: string, colour: number[]} | null) | null} options.classOf The class of each.
 * @param {string} options.kind QuPath's objectType.
 * @param {import("./table.js").Columns} options.columns What was measured.
 */
export function geojsonOf(labels, { pixelSize, classification, classOf, kind, columns }) {
  const areas = new Float64Array(labels.count + 1);
  for (let i = 0; i < labels.values.length; i++) areas[labels.values[i]]++;
  const told = [...columns].filter(([name]) => !["label", "area_px", "area_um2"].includes(name));
  const prefix = randomPrefix();
  const { left = 0, top = 0 } = labels;
  const placed = (/** @type {import("./contours.js").Ring} */ ring) => ring.map(([x, y]) => [x + left, y + top]);
  const features = polygonsOf(labels).flatMap((outlines, number) => {
    if (!number || !outlines.length) return [];
    const polygons = outlines.map((rings) => rings.map(placed));
    const one = polygons.length === 1;
    const geometry = one
      ? { type: "Polygon", coordinates: polygons[0] }
      : { type: "MultiPolygon", coordinates: polygons };
    /** @type {Record<string, number>} */
    const measurements = { "Area px^2": areas[number] };
    if (pixelSize) measurements["Area µm^2"] = Number((areas[number] * pixelSize ** 2).toFixed(3));
    for (const [name, values] of told) {
      measurements[name === "confidence" ? "Confidence" : name] = Number(values[number - 1].toPrecision(6));
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

/** The first four parts of a UUID. */
function randomPrefix() {
  const bytes = crypto.getRandomValues(new Uint8Array(10));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-`;
}
