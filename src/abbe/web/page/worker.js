/** Reads images and asks the network, beside the page: what is computed here never blocks it. */

import { InputProblem } from "./core/types.js";
import { channelsFor, kept as keptOf, openPicture, partOf } from "./formats/open.js";
import { openZarr } from "./formats/zarr.js";
import { Native, NativePrompts, openServed, request } from "./formats/server.js";
import { labelPng, labelTiff } from "./formats/write.js";
import { classColour } from "./page/colours.js";
import { csvOf, measured, measuredEach } from "./results/table.js";
import { geojsonOf } from "./results/geojson.js";
import { openRuntime } from "./tasks/network.js";
import { Classes } from "./tasks/classes.js";
import { Instances } from "./tasks/instances.js";
import { Kept, countsOf, patchOf } from "./tasks/kept.js";
import { Prompts } from "./tasks/prompts.js";
import { Regions } from "./tasks/regions.js";

/** px of a label image that is made here; `abbe serve` saves larger ones. */
const MOST_LABELS = 2 ** 27;

/** Thrown where another image or another request came in between. */
class Outdated extends Error {}

/** @typedef {import("./tasks/kept.js").Kept1} Kept1 */
/** @typedef {{file?: Blob, files?: Map<string, File>, url?: string, name?: string, number?: number}} Opened What is opened. */

/** @type {import("./core/types.js").Description} */
let description;
/** @type {Promise<Instances | Regions | Classes | Prompts | Native | NativePrompts>} */
let ready;
/** @type {import("./core/types.js").Picture | null} */
let picture = null;
/** What was looked at of it: all, or a part. @type {{part: import("./core/types.js").Picture, left: number, top: number} | null} */
let seen = null;
/** Objects that are corrected; null while they are as the network found them. @type {Kept | null} */
let kept = null;
/** Names of the objects' classes, by number. @type {string[]} */
let names = [];
/**
 * What the server knows of each of its images, and what was corrected.
 * @type {Map<number, {kept: Kept | null, edition: string, saved: Kept1[] | null, names: string[]}>}
 */
const works = new Map();
/** The image that is open, of the server's. @type {number | undefined} */
let served;
/** @type {{labels: import("./core/types.js").Labels, classOf: Uint8Array | Int16Array | null, pixels?: Uint8Array} | null} */
let result = null;
/** Those of the result whose masks may overlap, so that its labels do not show all of each. @type {Kept | null} */
let whole = null;
/** Columns that the server measured. @type {import("./results/table.js").Columns | undefined} */
let given;
/** Numbers of the newest request that makes earlier ones pointless, and of the newest that opens an image. */
let newest = 0;
let newestOpen = 0;
/** How many images were opened. */
let opened = 0;

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

/** @param {Opened} asked @param {number} id */
async function open(asked, id) {
  const { number } = asked;
  const own = number === undefined ? null : await openServed(number);
  const found = own ?? (await pictureOf(asked));
  const task = own && (await ready);
  // The picture, its number and the task's change together, and never to what was asked for earlier.
  if (id < newestOpen) throw new Outdated();
  if (own && (task instanceof Native || task instanceof NativePrompts)) {
    task.number = own.number;
    if (!works.has(own.number)) works.set(own.number, workOf(own));
  }
  [picture, served] = [found, number];
  opened++;
  result = kept = seen = null;
  names = typed() ? description.classes : [];
  const { read, ...told } = found;
  return { picture: told, channels: own?.seen ?? channelsFor(found, description.channels) };
}

/** What a visitor opens. @param {Opened} asked */
async function pictureOf({ file, files, url, name = "" }) {
  if (file) return openPicture(file, name);
  return keptOf(await openZarr(url ? { url } : { files: /** @type {Map<string, File>} */ (files) }), name);
}

/** Whether the package tells types of objects apart. */
const typed = () => description.outputs.some((name) => name.startsWith("type:"));

/** Objects of an earlier time, saved or not. @param {any} opened */
function workOf({ objects, saved, edition, width, height }) {
  const own = typed() ? [...description.classes] : [];
  const found = objects.map((/** @type {{counts: number[], score: number, category: string | null}} */ each) => {
    if (each.category !== null && !own.includes(each.category)) own.push(each.category);
    return { ...patchOf(each.counts, height), score: each.score, kind: each.category === null ? -1 : own.indexOf(each.category) };
  });
  const first = found.length ? new Kept(width, height, found) : null;
  return { kept: first, edition, saved: saved ? found : null, names: own };
}

/** Pixels of a tile that is seen. @param {{level: number, row: number, column: number}} asked */
async function tile({ level, row, column }) {
  if (!picture?.read || !picture.tiled) throw new Error("no such image is open");
  return { planes: await picture.read(level, regionOf(picture.tiled, level, row, column)) };
}

/** Numbers of a tile that is seen. @param {{level: number, row: number, column: number}} asked */
async function labelTile({ level, row, column }) {
  const task = await ready;
  if (!picture?.tiled) throw new Error("no such labels");
  const region = regionOf(picture.tiled, level, row, column);
  if (kept) return { planes: [kept.region(picture.tiled.levels[level], region)] };
  if (!(task instanceof Native)) throw new Error("no such labels");
  return { planes: [await task.labels(level, region)] };
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
  const check = checkOf(id);
  const task = await ready;
  const begun = performance.now();
  const native = task instanceof Native || task instanceof NativePrompts;
  const part = native ? { part: looked, left: 0, top: 0 } : await partOf(looked, region);
  await task.look(part.part, { channels, diameter, rule }, advanceOf(id, check));
  const prompted = task instanceof Prompts || task instanceof NativePrompts;
  const answer = prompted ? null : await task.answer(rule);
  check();
  const first = seen === null;
  const same = seen !== null && String(placeOf(seen)) === String(placeOf(part));
  [picture, seen] = [looked, part];
  const seconds = () => (performance.now() - begun) / 1000;
  const work = served === undefined ? undefined : works.get(served);
  // Objects of another part of the image are none of this one.
  const before = work ? work.kept : same ? kept : null;
  if (!prompted) {
    const found = answered(answer);
    const tiled = Boolean(found.labels?.tiled);
    // What was corrected before stays, until another look is asked for.
    if (!first || !before || tiled) {
      kept = null;
      if (before && !tiled) replaceBy(before);
      return { ...found, seconds: seconds(), unsaved: unsaved() };
    }
  }
  kept = before ?? new Kept(part.part.width, part.part.height);
  if (work) [work.kept, names] = [kept, work.names];
  return { ...shownOf(kept), seconds: seconds(), names, edited: !prompted || kept.objects.length > 0 };
}

/** What was looked at of an image. @param {{part: import("./core/types.js").Picture, left: number, top: number}} of */
const placeOf = ({ part, left, top }) => [left, top, part.width, part.height];

/** What throws once another image or another look came in between. @param {number} id */
function checkOf(id) {
  const of = opened;
  return () => {
    if (id < newest || of !== opened) throw new Outdated();
  };
}

/** Tells the page how far it is; throws where the work is no longer wanted. @param {number} id @param {() => void} check */
function advanceOf(id, check) {
  const begun = performance.now();
  return (/** @type {number} */ done, /** @type {number} */ total) => {
    check();
    postMessage({ id, progress: { done, total, seconds: (performance.now() - begun) / 1000 } });
  };
}

/** @param {{rule: any}} asked @param {number} id */
async function change({ rule }, id) {
  const check = checkOf(id);
  const task = await ready;
  if (task instanceof Prompts || task instanceof NativePrompts) throw new Error("a promptable network has no thresholds");
  const begun = performance.now();
  if (task instanceof Native) await task.change(rule, advanceOf(id, check));
  const answer = await task.answer(rule);
  check();
  const found = answered(answer);
  if (kept) replaceBy(kept);
  return { ...found, seconds: (performance.now() - begun) / 1000, unsaved: unsaved() };
}

/** @param {import("./core/types.js").Labels} labels @param {import("./core/types.js").Picture} of */
function columnsOf(labels, of) {
  if (labels.tiled) return given ?? new Map();
  if (whole) return measuredEach(whole.each(originOf(labels)), of, originOf(labels));
  const columns = measured(labels, of);
  labels.types?.forEach((shares, kind) => {
    columns.set(`probability_${description.classes[kind]}`, shares.slice(1));
  });
  return columns;
}

/** Where a part of an image lies. @param {import("./core/types.js").Labels} labels */
const originOf = ({ left = 0, top = 0 }) => ({ left, top });

/** What the page is told of an answer. @param {any} found @param {Kept | null} [of] Objects that were kept, if it is they. */
function answered(found, of = null) {
  if (!seen) throw new Error("no image is open");
  const { columns, ...rest } = found;
  const labels = { ...found.labels, left: seen.left, top: seen.top };
  result = { ...rest, labels };
  [given, whole] = [columns, of];
  return { ...result, columns: columnsOf(labels, seen.part) };
}

/** @param {{prompt: import("./tasks/prompts.js").Prompt}} asked */
async function prompt(asked) {
  const task = await ready;
  if (!(task instanceof Prompts || task instanceof NativePrompts)) throw new Error("this network takes no prompts");
  return { masks: await task.masks(asked.prompt) };
}

/** One more mask of the last prompt. @param {{number: number}} asked */
async function mask({ number }) {
  const task = await ready;
  if (!(task instanceof Prompts)) throw new Error("there is no such mask");
  return { mask: task.mask(number) };
}

/** Whether objects that were corrected are not saved; undefined where none were, or nothing is saved here. */
function unsaved() {
  const work = served === undefined ? undefined : works.get(served);
  return work && kept ? kept.objects !== work.saved : undefined;
}

/** What the network found takes the place of what was corrected, which can be taken back. @param {Kept} before */
function replaceBy(before) {
  if (!result) return;
  const { labels, classOf } = result;
  before.change(Kept.of(labels.values, labels.width, labels.height, { confidence: labels.confidence, classOf }).objects);
  kept = before;
  tellServer();
}

/** What the page is told of objects that are corrected. @param {Kept} of */
function shownOf(of) {
  const { width, height, objects } = of;
  const tiled = served !== undefined && picture?.tiled;
  if (!tiled) return answered({ labels: of.labels(), classOf: of.kinds() }, of);
  const labels = { values: new Int32Array(0), width, height, count: objects.length, confidence: new Float64Array(0), tiled, tints: of.tints };
  return answered({ labels, classOf: of.kinds(), columns: of.columns() }, of);
}

/**
 * Change the objects.
 *
 * @param {{mask?: import("./tasks/kept.js").Patch, score?: number, category?: number, remove?: number, undo?: boolean,
 *   patch?: import("./tasks/kept.js").Patch, erase?: boolean, number?: number, classify?: boolean,
 *   file?: Blob, name?: string, classes: string[]}} asked
 */
async function keep(asked) {
  const of = opened;
  const masks = asked.file && (await masksOf(asked.file, asked.name ?? ""));
  if (opened !== of) throw new Outdated(); // another image was opened while the file was read
  if (!seen) throw new Error("no image is open");
  if (!kept && result) {
    const { labels, classOf } = result;
    kept = Kept.of(labels.values, labels.width, labels.height, { confidence: labels.confidence, classOf });
  }
  if (!kept) throw new Error("no image is open");
  names = asked.classes;
  const { number: old = 0, category: kind = -1, patch } = asked;
  let number;
  if (asked.mask) kept.add(asked.mask, asked.score ?? 0, kind);
  else if (asked.remove) kept.remove(asked.remove);
  else if (asked.undo) kept.undo();
  else if (asked.classify) kept.classify(old, kind);
  else if (patch && asked.erase) kept.erase(patch, old);
  else if (patch) number = kept.paint(patch, old, kind);
  else if (masks) kept.change(masks.objects);
  const work = served === undefined ? undefined : works.get(served);
  if (work) Object.assign(work, { kept, names });
  tellServer();
  return { ...shownOf(kept), number, unsaved: unsaved() };
}

/** Objects of a label image of the same size. @param {Blob} file @param {string} name */
async function masksOf(file, name) {
  if (!seen) throw new Error("no image is open");
  const { part } = seen;
  const { width, height, planes } = await openPicture(file, name);
  if (planes.length !== 1 || planes[0].some((value) => value < 0 || !Number.isInteger(value))) throw new InputProblem("masksNumbers");
  if (width !== part.width || height !== part.height) throw new InputProblem("masksSize");
  return Kept.of(planes[0], width, height);
}

/** What the server is told last, after all before. @type {Promise<any>} */
let sent = Promise.resolve();

/** Each change names the edition that it was made from, so that no other page overwrites it unseen. @param {number} number @param {string} address @param {Kept1[] | null} objects */
function send(number, address, objects) {
  const work = /** @type {NonNullable<ReturnType<typeof works.get>>} */ (works.get(number));
  const own = work.names;
  const { width, height } = /** @type {Kept} */ (work.kept);
  const answer = sent.then(async () => {
    const told = objects && objects.map((each) => ({
      counts: countsOf(each, width, height), score: each.score, category: own[each.kind] ?? null,
    }));
    const body = { objects: told, edition: work.edition };
    const found = await (await request(`images/${number}/${address}`, { method: "PUT", body })).json();
    work.edition = found.edition;
    return found;
  });
  sent = answer.catch(() => {});
  return answer;
}

/** The server keeps what is not saved: it outlives the page, and is saved when the server ends. */
function tellServer() {
  if (served === undefined || !kept) return;
  const number = served;
  const work = works.get(number);
  const { objects } = kept;
  send(number, "unsaved", objects === work?.saved ? null : objects).catch(({ message }) => postMessage({ id: 0, told: message }));
}

/** Save the objects beside those of other images. */
async function store() {
  if (served === undefined || !seen) throw new Error("no image of the server's is open");
  const work = /** @type {NonNullable<ReturnType<typeof works.get>>} */ (works.get(served));
  if (!kept && result) {
    const { labels, classOf } = result;
    kept = Kept.of(labels.values, labels.width, labels.height, { confidence: labels.confidence, classOf });
  }
  if (!kept) throw new InputProblem("nothing is open");
  Object.assign(work, { kept, names });
  const [{ objects }, number] = [kept, served];
  const { files } = await send(number, "objects", objects);
  work.saved = objects;
  // Drawn on, or another image was opened, while it was written.
  return { files, count: objects.length, number, unsaved: work.kept?.objects !== objects };
}

/** Labels with their values: those of a large image are shown by tiles. @param {import("./core/types.js").Labels} labels */
function flat(labels) {
  if (!labels.tiled || !whole) return labels;
  if (whole.width * whole.height > MOST_LABELS) throw new InputProblem("labelsTooLarge");
  return whole.labels();
}

/** @param {{what: "geojson" | "labels" | "png" | "csv"}} asked */
async function save({ what }) {
  if (!result || !seen) throw new Error("there are no objects yet");
  const { name } = seen.part; // the page may show another image when this is done
  const task = await ready;
  // Of a large image the server has the labels, and writes them beside what is saved.
  if (result.labels.tiled && task instanceof Native) {
    if (what === "png") throw new InputProblem("pngOfServer");
    return { file: await task.write(what) };
  }
  const { labels, classOf, pixels } = result;
  const { classes, task: purpose } = description;
  const own = kept ? names : classes;
  const nameOf = (/** @type {number} */ n) => own[classOf?.[n] ?? 0] ?? "";
  if (what === "labels" || what === "png") {
    const values = pixels ? Int32Array.from(pixels) : flat(labels).values;
    const write = what === "png" ? labelPng : labelTiff;
    return { name, data: await write(values, labels.width, labels.height), type: what === "png" ? "image/png" : "image/tiff" };
  }
  if (what === "csv") {
    const words = classOf
      ? new Map([["class", Array.from({ length: labels.count }, (_, i) => nameOf(i + 1))]])
      : new Map();
    return { name, data: csvOf(columnsOf(labels, seen.part), words), type: "text/csv" };
  }
  const one = purpose === "segmentation" && !classOf && classes.length === 1 ? classes[0] : null;
  const kind = { segmentation: "detection", promptable: "annotation", regions: "annotation", classification: "tile" }[purpose];
  const text = geojsonOf(whole ? whole.each(originOf(labels)) : [labels], {
    pixelSize: seen.part.pixelSize, columns: columnsOf(labels, seen.part), classification: one, kind,
    classOf: classOf && ((n) => (classOf[n] < 0 ? null : { name: nameOf(n), colour: classColour(classOf[n]) })),
  });
  return { name, data: text, type: "application/geo+json" };
}

const answers = { start, open, tile, labelTile, look, change, prompt, mask, keep, store, save, stop: async () => {} };
/** Those that make an earlier look at an image pointless. */
const NEW = ["open", "look", "stop"];

self.onmessage = async ({ data: { id, kind, ...asked } }) => {
  if (NEW.includes(kind)) newest = id;
  if (kind === "open") newestOpen = id;
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
