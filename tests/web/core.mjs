// Answers of the page's own functions for cases that a test wrote: node core.mjs PAGE FOLDER.
// cases.json names the function of each case; arrays lie beside it as raw bytes.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [, , page, folder] = process.argv;
const load = (name) => import(pathToFileURL(join(page, "core", name)).href);
const { instancesFromMaps } = await load("instances.js");
const { findObjects } = await load("objects.js");
const { Grid } = await load("grid.js");
const { limitsOf } = await load("limits.js");
const { readWindow } = await load("sampling.js");
const { resizeBytes } = await load("resize.js");
const { calibrated, calibratedClasses } = await load("calibration.js");

const { classColour } = await import(pathToFileURL(join(page, "page", "colours.js")).href);
const { Kept, countsOf, patchOf } = await import(pathToFileURL(join(page, "tasks", "kept.js")).href);

const KINDS = {
  uint8: Uint8Array, uint16: Uint16Array, int32: Int32Array, float32: Float32Array,
  float64: Float64Array,
};
const array = ({ file, kind }) => {
  const data = readFileSync(join(folder, file));
  return new KINDS[kind](data.buffer.slice(data.byteOffset, data.byteOffset + data.length));
};

const functions = {
  instances({ foreground, boundary, width, height, thresholds, minimumArea }) {
    const edges = boundary ? array(boundary) : null;
    return instancesFromMaps(array(foreground), edges, width, height, thresholds, minimumArea).labels;
  },
  runs({ labels, width, height }) {
    // Each object's run lengths, and the labels that are made of these again.
    const found = Kept.of(array(labels), width, height);
    const counts = found.objects.map((each) => countsOf(each, width, height));
    const again = new Kept(width, height, counts.map((each) => ({ ...patchOf(each, height), score: 1, kind: -1 })));
    return Int32Array.from([...again.labels().values, ...counts.flatMap((each) => [each.length, ...each])]);
  },
  colours({ count }) {
    return Uint8Array.from(Array.from({ length: count }, (_, number) => classColour(number)).flat());
  },
  calibrated({ probabilities, temperature, exclusive }) {
    return (exclusive ? calibratedClasses : calibrated)(array(probabilities), temperature);
  },
  objects({ shape, scale, description, maps, types, rule, temperature }) {
    const grid = new Grid(shape, scale, description);
    const cores = (map) => {
      const plane = array(map);
      return Array.from({ length: grid.count }, (_, number) => {
        const { top, left, bottom, right } = grid.core(number);
        const found = [];
        for (let y = top; y < bottom; y++) {
          found.push(...plane.subarray(y * grid.shape[1] + left, y * grid.shape[1] + right));
        }
        return Float32Array.from(found);
      });
    };
    const foreground = cores(maps[0]);
    const shown = temperature ? foreground.map((map) => calibrated(map, temperature)) : foreground;
    const told = [shown, ...(types ?? []).map(cores)];
    const found = findObjects(grid, foreground, maps[1] ? cores(maps[1]) : null, told, rule);
    const means = [found.confidence, ...(found.types ?? [])];
    writeFileSync(join(folder, "confidence.out"), Buffer.concat(means.map((each) => Buffer.from(each.buffer))));
    return found.values;
  },
  limits({ planes, width, height, normalisation }) {
    return Float64Array.from(limitsOf(planes.map(array), width, height, normalisation).flat());
  },
  windows({ shape, scale, description, planes, limits }) {
    const grid = new Grid(shape, scale, description);
    const seen = Array.from({ length: grid.count }, (_, number) =>
      readWindow(planes.map(array), limits, grid, grid.window(number)),
    );
    return Float32Array.from(seen.flatMap((each) => [...each]));
  },
  bytes({ plane, width, height, newWidth, newHeight }) {
    return resizeBytes(array(plane), width, height, newWidth, newHeight);
  },
};

const cases = JSON.parse(readFileSync(join(folder, "cases.json"), "utf8"));
cases.forEach(({ call, ...given }, number) => {
  const found = functions[call](given);
  writeFileSync(join(folder, `${number}.out`), Buffer.from(found.buffer, found.byteOffset, found.byteLength));
});
