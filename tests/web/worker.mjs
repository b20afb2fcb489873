// The page's worker beside a server that a test makes up: node worker.mjs PAGE SCENARIO.
// What each scenario finds is printed as JSON; answers of the server wait until they are let go.
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { gzipSync } from "node:zlib";

const [, , page, scenario] = process.argv;
const SIDE = 4;
const RULE = { thresholds: { foreground: 0.5, boundary: 0.5 }, minimumArea: 1 };
const DESCRIPTION = { task: "promptable", outputs: [], classes: [], channels: ["grey"] };

/** Whether the page takes images whole. */
let whole = true;
/** Objects that were saved at an earlier time. */
let objects = [];
/** What was asked of the server, in order. */
const asked = [];
/** What waits to be answered, by address. @type {Map<string, (() => void)[]>} */
const waiting = new Map();
/** Addresses whose answers wait. @type {RegExp} */
let slow = /$^/;

/** As `abbe.serve.packed`. */
function packed(facts) {
  const arrays = [];
  let start = 0;
  const text = JSON.stringify(facts, (_, value) => {
    if (!ArrayBuffer.isView(value)) return value;
    const found = { kind: value.constructor.name.replace("Array", ""), start, length: value.length };
    arrays.push([start, new Uint8Array(value.buffer)]);
    start += 8 * Math.ceil(value.byteLength / 8);
    return found;
  });
  const head = new TextEncoder().encode(text);
  const first = 8 * Math.ceil((4 + head.length) / 8);
  const data = new Uint8Array(first + start);
  new DataView(data.buffer).setUint32(0, head.length, true);
  data.set(head, 4);
  for (const [at, bytes] of arrays) data.set(bytes, first + at);
  return data;
}

/** Image N is grey N everywhere, and its one object is N + 1 px. */
function answered(address) {
  const number = Number(/images\/(\d+)/.exec(address)?.[1] ?? 0);
  const levels = [{ width: SIDE, height: SIDE }];
  if (/pixels/.test(address)) return packed({ planes: [new Uint8Array(SIDE * SIDE).fill(number)] });
  if (/labels/.test(address)) return packed({ values: Int32Array.from({ length: SIDE * SIDE }, (_, i) => Number(i <= number)) });
  if (/look|change/.test(address)) {
    return packed({ count: 1, columns: { label: Float64Array.of(1) }, class_of: null, whole: null, has_pixels: false });
  }
  if (/progress/.test(address)) return JSON.stringify({ done: 0.5 });
  if (/objects|unsaved/.test(address)) return JSON.stringify({ edition: "later", files: [`${number}.png`] });
  if (/images\/\d+$/.test(address)) {
    return JSON.stringify({
      name: `${number}.png`, width: SIDE, height: SIDE, levels, side: 512, whole, channels: ["grey"], pixelSize: null,
      notes: [], seen: [0], objects, saved: objects.length > 0, edition: "first",
    });
  }
  return JSON.stringify({});
}

globalThis.fetch = async (url, { method, body } = {}) => {
  if (!String(url).includes("/api/")) return new Response(gzipSync("")); // of the site: its runtime and network
  const address = String(url).split("/api/")[1];
  asked.push({ method, address, body: body && JSON.parse(body) });
  if (slow.test(address)) {
    await new Promise((resolve) => waiting.set(address, [...(waiting.get(address) ?? []), resolve]));
  }
  return new Response(answered(address));
};
const release = (part) => {
  for (const [address, all] of waiting) if (address.includes(part)) all.splice(0).forEach((resolve) => resolve());
};

/** Answers of the worker, by number of the request. */
const told = new Map();
const listeners = [];
globalThis.self = globalThis;
globalThis.postMessage = (message) => {
  if (message.progress || message.told) return;
  told.set(message.id, message);
  listeners.splice(0).forEach((tell) => tell());
};
await import(pathToFileURL(join(page, "worker.js")).href);
const { paint } = await import(pathToFileURL(join(page, "page", "painting.js")).href);

let last = 0;
const ask = (kind, more = {}) => {
  globalThis.onmessage({ data: { id: ++last, kind, ...more } });
  return last;
};
const answer = async (id) => {
  while (!told.has(id)) await new Promise((resolve) => listeners.push(resolve));
  const { answer: found, problem } = told.get(id);
  return problem ? (problem.outdated ? "outdated" : problem.message) : found;
};
const rest = () => new Promise((resolve) => setTimeout(resolve, 20));
const looked = { channels: [0], pixelSize: null, diameter: null, rule: RULE, region: null };
const begin = (task) => answer(ask("start", { site: { server: "OpenVINO", package: { ...DESCRIPTION, task } } }));
const mask = { left: 0, top: 0, width: 1, height: 1, data: Uint8Array.of(1) };
/** Where objects were sent. */
const sent = () => asked.filter(({ method }) => method === "PUT").map(({ address }) => address);

async function covered() {
  await begin("promptable");
  await answer(ask("open", { number: 1 }));
  await answer(ask("look", looked));
  const square = (left, top, side) => ({ left, top, width: side, height: side, data: new Uint8Array(side * side).fill(1) });
  await answer(ask("keep", { mask: square(1, 1, 1), score: 0.5, classes: ["a"] }));
  const { columns } = await answer(ask("keep", { mask: square(0, 1, 3), score: 1, category: 0, classes: ["a"] }));
  const files = {};
  for (const what of ["geojson", "csv"]) files[what] = (await answer(ask("save", { what }))).data;
  const tiff = [...(await answer(ask("save", { what: "labels" }))).data];
  return { ...files, tiff, shown: Object.fromEntries([...columns].map(([name, values]) => [name, [...values]])) };
}

/** The colours of the upper row of what the page paints of labels. */
function painted({ labels }) {
  const { values, width, height, tints } = labels;
  const of = (plane) => ({ width, height, levels: [{ width, height }], side: Infinity, tile: () => [plane] });
  const overlay = { labels: of(values), left: 0, top: 0, classOf: null, tints, selected: 0, outlines: false, fill: 1 };
  const screen = { width, height, data: new Uint8ClampedArray(4 * width * height) };
  paint(screen, { zoom: 1, x: 0, y: 0 }, of(new Uint8Array(width * height)), [], [overlay], 1, [0, 0, 0]);
  return Array.from({ length: width }, (_, x) => String(screen.data.slice(4 * x, 4 * x + 3)));
}

/** A site's page with a network for which all that is bright is an object; the image has two. */
async function site(task) {
  const network = { pixel_size: null, normalisation: { kind: "range", low: 0, high: 0 }, divisor: 1, tile: 64, halo: 0, context: null };
  const facts = { ...DESCRIPTION, ...network, task, outputs: ["foreground"], files: { onnx: { path: "n.onnx" } } };
  await answer(ask("start", { site: { webgpu: false, package: facts } }));
  const { labelPng } = await import(pathToFileURL(join(page, "formats", "write.js")).href);
  const values = new Int32Array(64);
  values.fill(60000, 8, 16);
  values.fill(60000, 40, 48);
  const told = await answer(ask("open", { file: new Blob([await labelPng(values, 8, 8)]), name: "two.png" }));
  if (typeof told === "string") throw new Error(told);
}

const scenarios = {
  /** Objects are corrected, looked for again, corrected again, and all is taken back. */
  async corrected() {
    await site("segmentation");
    const counts = [];
    const note = async (kind, more) => {
      const found = await answer(ask(kind, more));
      counts.push(found.labels?.count ?? found);
    };
    await note("look", looked);
    await note("keep", { remove: 1, classes: [] });
    await note("look", looked);
    await note("keep", { number: 1, category: 0, classify: true, classes: ["a"] });
    await note("keep", { undo: true, classes: ["a"] });
    await note("keep", { undo: true, classes: ["a"] });
    return counts;
  },
  /** Two images are turned to, and the first of them arrives last. */
  async late() {
    await begin("promptable");
    slow = /images\/1$/;
    const [first, second] = [ask("open", { number: 1 }), ask("open", { number: 2 })];
    const shown = (await answer(second)).picture.name;
    release("images/1");
    const late = await answer(first);
    await answer(ask("look", looked));
    await answer(ask("keep", { mask, score: 1, classes: [] }));
    await rest();
    return { shown, late, encoded: asked.filter(({ address }) => /encode/.test(address)).map(({ address }) => address), sent: sent() };
  },
  /** An object is kept while the next image is still on its way. */
  async meanwhile() {
    await begin("promptable");
    await answer(ask("open", { number: 1 }));
    await answer(ask("look", looked));
    slow = /images\/2$/;
    const next = ask("open", { number: 2 });
    await answer(ask("keep", { mask, score: 1, classes: [] }));
    const saved = await answer(ask("store"));
    release("images/2");
    await answer(next);
    return { saved, sent: sent() };
  },
  /** An image is looked at while the next is opened, and the answer comes after it. */
  async looking() {
    await begin("segmentation");
    await answer(ask("open", { number: 1 }));
    slow = /images\/1\/look|images\/2$/;
    const next = ask("open", { number: 2 });
    const look = ask("look", looked);
    await rest();
    release("images/2");
    await answer(next);
    release("images/1/look");
    const outcome = await answer(look);
    const found = await answer(ask("look", looked));
    return { outcome, area: found.columns.get("area_px")[0], grey: found.columns.get("mean_grey")[0] };
  },
  /** The second object that is kept covers the first: what each is, in files and in the table. */
  async covered() {
    return covered();
  },
  /** The same of an image that is shown by tiles. */
  async coveredTiles() {
    whole = false;
    return covered();
  },
  /** The colour of the last of three objects, before and after the first is deleted, and of one that is new. */
  async colours() {
    await begin("promptable");
    await answer(ask("open", { number: 1 }));
    await answer(ask("look", looked));
    for (const left of [0, 1]) await answer(ask("keep", { mask: { ...mask, left }, score: 1, classes: [] }));
    const before = await answer(ask("keep", { mask: { ...mask, left: 2 }, score: 1, classes: [] }));
    const after = await answer(ask("keep", { remove: 1, classes: [] }));
    const added = await answer(ask("keep", { mask: { ...mask, left: 3 }, score: 1, classes: [] }));
    return [painted(before)[2], painted(after)[2], painted(added)[2], painted(added)[3]];
  },
  /** Another image is opened while a file is made: whose it is. */
  async saving() {
    await begin("promptable");
    await answer(ask("open", { number: 1 }));
    await answer(ask("look", looked));
    await answer(ask("keep", { mask, score: 1, classes: [] }));
    const save = ask("save", { what: "labels" });
    ask("open", { number: 2 });
    return (await answer(save)).name;
  },
  /** Of an image with two saved objects the first look is stopped; then it is looked at, other thresholds are given, and that is taken back. */
  async savedBefore() {
    objects = [1, 3].map((at) => ({ counts: [at, 1, SIDE * SIDE - at - 1], score: 1, category: null }));
    await begin("segmentation");
    await answer(ask("open", { number: 1 }));
    slow = /look/;
    const first = ask("look", looked);
    await rest();
    await answer(ask("stop"));
    const stopped = await answer(first);
    slow = /$^/;
    const states = [];
    const note = async (kind, more) => {
      const { labels, unsaved } = await answer(ask(kind, more));
      states.push([labels.count, unsaved ?? null]);
    };
    await note("look", looked);
    await note("change", { rule: RULE });
    await note("keep", { undo: true, classes: [] });
    return { stopped, states };
  },
  /** Looked at again while it is looked at, and then stopped. */
  async again() {
    await begin("segmentation");
    await answer(ask("open", { number: 1 }));
    slow = /look/;
    const looks = [ask("look", looked)];
    await rest();
    looks.push(ask("look", looked));
    const first = await answer(looks[0]);
    const stops = () => asked.filter(({ address }) => address === "stop").length;
    const before = stops();
    await answer(ask("stop"));
    const second = await answer(looks[1]);
    return { first, second, stops: [before, stops()] };
  },
};

console.log(JSON.stringify(await scenarios[scenario]()));
process.exit(0);
