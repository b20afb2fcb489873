/** Reads images and asks the network, beside the page: what is computed here never blocks it. */

import { InputProblem } from "./core/types.js";
import { channelsFor, openPicture } from "./formats/open.js";
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
/** @type {Promise<Instances | Regions | Classes | Prompts>} */
let ready;
/** @type {import("./core/types.js").Picture | null} */
let picture = null;
/** @type {Kept | null} */
let kept = null;
/** @type {{labels: import("./core/types.js").Labels, classOf: Uint8Array | null, pixels?: Uint8Array} | null} */
let result = null;
/** Number of the newest request that makes earlier ones pointless. */
let newest = 0;

/** @param {any} site */
async function start(site) {
  description = site.package;
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

/** @param {{file: Blob, name: string}} asked */
async function open({ file, name }) {
  const opened = await openPicture(file, name);
  picture = opened;
  result = kept = null;
  return { picture: opened, channels: channelsFor(opened, description.channels) };
}

/**
 * @param {{channels: number[], pixelSize: number | null, diameter: number | null, rule: any}} asked
 * @param {number} id
 */
async function look({ channels, pixelSize, diameter, rule }, id) {
  if (!picture) throw new Error("no image is open");
  const looked = { ...picture, pixelSize };
  const task = await ready;
  const begun = performance.now();
  await task.look(looked, { channels, diameter }, (done, total) => {
    if (id !== newest) throw new Outdated();
    postMessage({ id, progress: { done, total, seconds: (performance.now() - begun) / 1000 } });
  });
  picture = looked;
  if (task instanceof Prompts) {
    kept = new Kept(looked.width, looked.height);
    return { seconds: (performance.now() - begun) / 1000 };
  }
  return { ...answered(task.answer(rule)), seconds: (performance.now() - begun) / 1000 };
}

/** @param {{rule: any}} asked */
async function change({ rule }) {
  const task = await ready;
  if (task instanceof Prompts) throw new Error("a promptable network has no thresholds");
  const begun = performance.now();
  return { ...answered(task.answer(rule)), seconds: (performance.now() - begun) / 1000 };
}

/** @param {import("./core/types.js").Labels} labels @param {import("./core/types.js").Picture} of */
function columnsOf(labels, of) {
  const columns = measured(labels, of);
  labels.types?.forEach((shares, kind) => {
    columns.set(`probability_${description.classes[kind]}`, shares.slice(1));
  });
  return columns;
}

/** What the page is told of an answer. @param {any} found */
function answered(found) {
  if (!picture) throw new Error("no image is open");
  result = found;
  return { ...found, columns: columnsOf(found.labels, picture) };
}

/** @param {{prompt: import("./tasks/prompts.js").Prompt}} asked */
async function prompt(asked) {
  const task = await ready;
  if (!(task instanceof Prompts)) throw new Error("this network takes no prompts");
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
  if (!result || !picture) throw new Error("there are no objects yet");
  const { labels, classOf, pixels } = result;
  const { classes, task } = description;
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
    return { data: csvOf(columnsOf(labels, picture), words), type: "text/csv" };
  }
  const one = task === "segmentation" && !classOf && classes.length === 1 ? classes[0] : null;
  const kind = { segmentation: "detection", promptable: "annotation", regions: "annotation", classification: "tile" }[task];
  const text = geojsonOf(labels, {
    pixelSize: picture.pixelSize, columns: columnsOf(labels, picture), classification: one, kind,
    classOf: classOf && ((n) => ({ name: nameOf(n), colour: description.colours[classOf[n]] })),
  });
  return { data: text, type: "application/geo+json" };
}

const answers = { start, open, look, change, prompt, keep, save, stop: async () => {} };
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
    if (!named && !(problem instanceof Outdated)) console.error(problem);
    postMessage({ id, problem: { message, named, outdated: problem instanceof Outdated } });
  }
};
