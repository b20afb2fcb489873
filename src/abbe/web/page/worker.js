/** Reads images and asks the network, beside the page: what is computed here never blocks it. */

import { InputProblem } from "./core/types.js";
import { channelsFor, openPicture, partOf } from "./formats/open.js";
import { Native, NativePrompts, openServed } from "./formats/server.js";
import { labelPng, labelTiff } from "./formats/write.js";
import { csvOf, measured } from "./results/table.js";
import { geojsonOf } from "./results/geojson.js";
import { openRuntime } from "./tasks/network.js";
import { Classes } from "./tasks/classes.js";
import { Instances } from "./tasks/instances.js";
import { Kept } from "./tasks/kept.js";
import { Prompts } from "./tasks/prompts.js";
import { Regions } from "./tasks/regions.js";

/** Thrown where another image or another request came in between. */
class Outdated extends Error {}

/** @type {import("./core/types.js").Description} */
let description;
/** @type {Promise<Instances | Regions | Classes | Prompts | Native | NativePrompts>} */
let ready;
/** @type {import("./core/types.js").Picture | null} */
let picture = null;
/** What was looked at of it: all, or a part. @type {{part: import("./core/types.js").Picture, left: number, top: number} | null} */
let seen = null;
/** @type {Kept | null} */
let kept = null;
/** @type {{labels: import("./core/types.js").Labels, classOf: Uint8Array | null, pixels?: Uint8Array} | null} */
let result = null;
/** Columns that the server measured. @type {import("./results/table.js").Columns | undefined} */
let given;
/** Number of the newest request that makes earlier ones pointless. */
let newest = 0;

/** @param {any} site */
async function start(site) {
  description = site.package;
  if (site.server) {
    ready = Promise.resolve(description.task === "promptable" ? new NativePrompts() : new Native());
    return { engine: site.server, threads: 0 };
  }
  let runtime = await openRuntime(site.webgpu);
  ready = taskOf(runtime);
  try {
    await ready;
  } catch (problem) {
    if (runtime.engine !== "WebGPU") throw problem;
    console.warn("WebGPU does not run this network, WebAssembly computes:", problem);
    runtime = await openRuntime(false);
    ready = taskOf(runtime);
    await ready;
  }
  return { engine: runtime.engine, threads: runtime.threads };
}

/** The package's networks, opened. @param {Awaited<ReturnType<typeof openRuntime>>} runtime */
async function taskOf(runtime) {
  const { files, task } = description;
  const open = (/** @type {string} */ role) => runtime.open(files[role].path);
  if (task === "promptable") {
    return new Prompts(await open("encoder_onnx"), await open("decoder_onnx"), description);
  }
  const Task = { segmentation: Instances, regions: Regions, classification: Classes }[task];
  return new Task(await open("onnx"), description);
}

/** @param {{file?: Blob, name?: string, number?: number}} asked */
async function open({ file, name, number }) {
  let channels = null;
  if (number !== undefined) {
    const task = /** @type {Native | NativePrompts} */ (await ready);
    const served = await openServed(number);
    task.number = number;
    [picture, channels] = [served, served.seen];
  } else {
    picture = await openPicture(/** @type {Blob} */ (file), name ?? "");
  }
  result = kept = seen = null;
  const { read, ...told } = picture;
  return { picture: told, channels: channels ?? channelsFor(picture, description.channels) };
}

/** Pixels of a tile that is seen. @param {{level: number, row: number, column: number}} asked */
async function tile({ level, row, column }) {
  if (!picture?.read || !picture.tiled) throw new Error("no such image is open");
  return { planes: await picture.read(level, regionOf(picture.tiled, level, row, column)) };
}

/** Numbers of a tile that is seen. @param {{level: number, row: number, column: number}} asked */
async function labelTile({ level, row, column }) {
  const task = await ready;
  if (!picture?.tiled || !(task instanceof Native)) throw new Error("no such labels");
  return { planes: [await task.labels(level, regionOf(picture.tiled, level, row, column))] };
}

/** @param {{levels: {width: number, height: number}[], side: number}} tiled @param {number} level @param {number} row @param {number} column */
function regionOf({ levels, side }, level, row, column) {
  const { width, height } = levels[level];
  return {
    top: row * side, left: column * side,
    bottom: Math.min((row + 1) * side, height), right: Math.min((column + 1) * side, width),
  };
}

/**
 * @param {{channels: number[], pixelSize: number | null, diameter: number | null, rule: any,
 *   region: import("./core/types.js").Region | null}} asked
 * @param {number} id
 */
async function look({ channels, pixelSize, diameter, rule, region }, id) {
  if (!picture) throw new Error("no image is open");
  const looked = { ...picture, pixelSize };
  const task = await ready;
  const begun = performance.now();
  const native = task instanceof Native || task instanceof NativePrompts;
  const part = native ? { part: looked, left: 0, top: 0 } : await partOf(looked, region);
  await task.look(part.part, { channels, diameter, rule }, advanceOf(id, begun));
  [picture, seen] = [looked, part];
  if (task instanceof Prompts || task instanceof NativePrompts) {
    kept = new Kept(part.part.width, part.part.height);
    return { seconds: (performance.now() - begun) / 1000, left: part.left, top: part.top };
  }
  return { ...answered(await task.answer(rule)), seconds: (performance.now() - begun) / 1000 };
}

/** Tells the page how far it is; throws where the work is no longer wanted. @param {number} id @param {number} begun */
function advanceOf(id, begun) {
  return (/** @type {number} */ done, /** @type {number} */ total) => {
    if (id < newest) throw new Outdated();
    postMessage({ id, progress: { done, total, seconds: (performance.now() - begun) / 1000 } });
  };
}

/** @param {{rule: any}} asked @param {number} id */
async function change({ rule }, id) {
  const task = await ready;
  if (task instanceof Prompts || task instanceof NativePrompts) throw new Error("a promptable network has no thresholds");
  const begun = performance.now();
  if (task instanceof Native) await task.change(rule, advanceOf(id, begun));
  return { ...answered(await task.answer(rule)), seconds: (performance.now() - begun) / 1000 };
}

/** @param {import("./core/types.js").Labels} labels @param {import("./core/types.js").Picture} of */
function columnsOf(labels, of) {
  if (labels.tiled) return given ?? new Map();
  const columns = measured(labels, of);
  labels.types?.forEach((shares, kind) => {
    columns.set(`probability_${description.classes[kind]}`, shares.slice(1));
  });
  return columns;
}

/** What the page is told of an answer. @param {any} found */
function answered(found) {
  if (!seen) throw new Error("no image is open");
  const { columns, ...rest } = found;
  const labels = { ...found.labels, left: seen.left, top: seen.top };
  result = { ...rest, labels };
  given = columns;
  return { ...result, columns: columnsOf(labels, seen.part) };
}

/** @param {{prompt: import("./tasks/prompts.js").Prompt}} asked */
async function prompt(asked) {
  const task = await ready;
  if (!(task instanceof Prompts || task instanceof NativePrompts)) throw new Error("this network takes no prompts");
  return { masks: await task.masks(asked.prompt) };
}

/** @param {{mask?: Uint8Array, score?: number, remove?: number, undo?: boolean}} asked */
async function keep(asked) {
  if (!kept) throw new Error("no image is open");
  if (asked.mask) kept.add(asked.mask, asked.score ?? 0);
  else if (asked.remove) kept.remove(asked.remove);
  else kept.undo();
  return answered({ labels: kept.labels(), classOf: null });
}

/** @param {{what: "geojson" | "labels" | "png" | "csv"}} asked */
async function save({ what }) {
  if (!result || !seen) throw new Error("there are no objects yet");
  const task = await ready;
  // Of a large image the server has the labels, and writes them beside what is saved.
  if (result.labels.tiled && task instanceof Native) return { file: await task.write(what) };
  const { labels, classOf, pixels } = result;
  const { classes, task: purpose } = description;
  const nameOf = (/** @type {number} */ n) => classes[classOf?.[n] ?? 0];
  if (what === "labels" || what === "png") {
    const values = pixels ? Int32Array.from(pixels) : labels.values;
    const write = what === "png" ? labelPng : labelTiff;
    return { data: await write(values, labels.width, labels.height), type: what === "png" ? "image/png" : "image/tiff" };
  }
  if (what === "csv") {
    const words = classOf
      ? new Map([["class", Array.from({ length: labels.count }, (_, i) => nameOf(i + 1))]])
      : new Map();
    return { data: csvOf(columnsOf(labels, seen.part), words), type: "text/csv" };
  }
  const one = purpose === "segmentation" && !classOf && classes.length === 1 ? classes[0] : null;
  const kind = { segmentation: "detection", promptable: "annotation", regions: "annotation", classification: "tile" }[purpose];
  const text = geojsonOf(labels, {
    pixelSize: seen.part.pixelSize, columns: columnsOf(labels, seen.part), classification: one, kind,
    classOf: classOf && ((n) => ({ name: nameOf(n), colour: description.colours[classOf[n]] })),
  });
  return { data: text, type: "application/geo+json" };
}

const answers = { start, open, tile, labelTile, look, change, prompt, keep, save, stop: async () => {} };
/** Those that make an earlier look at an image pointless. */
const NEW = ["open", "look", "stop"];

self.onmessage = async ({ data: { id, kind, ...asked } }) => {
  if (NEW.includes(kind)) newest = id;
  try {
    const answer = await /** @type {any} */ (answers)[kind](kind === "start" ? asked.site : asked, id);
    postMessage({ id, answer });
  } catch (problem) {
    const { message } = /** @type {Error} */ (problem);
    const named = problem instanceof InputProblem;
    const outdated = problem instanceof Outdated || (NEW.includes(kind) && id < newest);
    if (!named && !outdated) console.error(problem);
    postMessage({ id, problem: { message, named, outdated } });
  }
};
