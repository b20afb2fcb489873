/** Images and answers of the server behind `abbe serve`: this page's other engine. */

import { InputProblem } from "../core/types.js";
import { patchOf } from "../tasks/kept.js";

/** @typedef {import("../core/types.js").Values} Values */

const KINDS = /** @type {Record<string, any>} */ ({
  Uint8: Uint8Array, Uint16: Uint16Array, Uint32: Uint32Array, Int8: Int8Array, Int16: Int16Array,
  Int32: Int32Array, Float32: Float32Array, Float64: Float64Array,
});

/**
 * Ask the server; what it refuses is told in its own words.
 *
 * @param {string} address
 * @param {{method?: string, body?: any}} [options]
 * @returns {Promise<Response>}
 */
export async function request(address, { method, body } = {}) {
  const url = new URL(`../api/${address}`, import.meta.url);
  const headers = body === undefined ? undefined : { "Content-Type": "application/json" };
  let answer;
  try {
    answer = await fetch(url, { method: method ?? (body === undefined ? "GET" : "POST"), headers, body: body && JSON.stringify(body) });
  } catch {
    throw new InputProblem("serverGone");
  }
  if (answer.ok) return answer;
  const told = await answer.json().then(({ error }) => error, () => `${answer.status}`);
  const problem = /** @type {Error & {told?: boolean, status?: number}} */ (new InputProblem(told));
  problem.status = answer.status;
  throw problem;
}

/** An answer with arrays in it. @param {string} address @param {any} [body] @returns {Promise<any>} */
export async function unpacked(address, body) {
  const data = await (await request(address, { body })).arrayBuffer();
  const length = new DataView(data).getUint32(0, true);
  const text = new TextDecoder().decode(new Uint8Array(data, 4, length));
  const first = Math.ceil((4 + length) / 8) * 8;
  return JSON.parse(text, (_, value) =>
    value && typeof value === "object" && value.kind in KINDS
      ? new KINDS[value.kind](data, first + value.start, value.length)
      : value,
  );
}

/** @param {import("../core/types.js").Region} region */
const query = ({ top, left, bottom, right }) => `top=${top}&left=${left}&bottom=${bottom}&right=${right}`;

/**
 * One of the images that the server was given.
 *
 * @param {number} number
 * @returns {Promise<import("../core/types.js").Picture & {number: number, seen: number[] | null, objects: any[],
 *   saved: boolean, edition: string}>}
 */
export async function openServed(number) {
  const facts = await (await request(`images/${number}`)).json();
  const { width, height, levels, side, whole, ...rest } = facts;
  /** @type {import("../core/types.js").Reader} */
  const read = async (level, region) => {
    const { planes } = await unpacked(`images/${number}/pixels?level=${level}&${query(region)}`);
    return planes;
  };
  const planes = whole ? await read(0, { top: 0, left: 0, bottom: height, right: width }) : [];
  const tiled = whole ? null : { levels, side };
  return { ...rest, number, width, height, planes, tiled, read };
}

/** A package that the server runs. */
export class Native {
  constructor() {
    this.number = 0;
    /** @type {any} */
    this.found = null;
    /** The newest look, and what was asked to stop before it. @type {Promise<any> | null} */
    this.running = null;
    /** @type {Promise<any>} */
    this.stopping = Promise.resolve();
  }

  /**
   * @param {import("../core/types.js").Picture} picture
   * @param {{channels: number[], diameter: number | null, rule: any}} asked
   * @param {(done: number, total: number) => void} advance
   */
  async look(picture, { channels, diameter, rule }, advance) {
    const body = { channels, diameter, pixel_size: picture.pixelSize, rule: ruleOf(rule) };
    this.found = await this.watched(`images/${this.number}/look`, body, advance);
    this.picture = picture;
  }

  /** Other thresholds. @param {any} rule @param {(done: number, total: number) => void} advance */
  async change(rule, advance) {
    this.found = await this.watched(`images/${this.number}/change`, { rule: ruleOf(rule) }, advance);
  }

  /**
   * Ask for something, and how far it is while it is not done.
   *
   * @param {string} address
   * @param {any} body
   * @param {(done: number, total: number) => void} advance
   */
  async watched(address, body, advance) {
    advance(0, 2);
    await this.stopping; // which would end this one, too
    const answer = (this.running = unpacked(address, body));
    let done = false;
    const ended = answer.then(() => (done = true), () => (done = true));
    while (!done) {
      await Promise.race([ended, new Promise((resolve) => setTimeout(resolve, 300))]);
      if (done) break;
      try {
        advance((await (await request("progress")).json()).done, 1);
      } catch (problem) {
        answer.catch(() => {}); // which ends: it is stopped now, or a newer one has ended it
        if (this.running === answer) await (this.stopping = request("stop", { body: {} }).catch(() => {}));
        throw problem;
      }
    }
    const found = await answer;
    advance(1, 1);
    return found;
  }

  /** What was found, as the page's own tasks tell it. */
  async answer() {
    const { found, picture, number } = this;
    const { count, columns, class_of, whole } = found;
    const { width, height } = /** @type {import("../core/types.js").Picture} */ (picture);
    const all = { top: 0, left: 0, bottom: height, right: width };
    const fetched = picture?.tiled ? null : await this.labels(0, all);
    const pixels = found.has_pixels && fetched ? (await unpacked(`images/${number}/classes?${query(all)}`)).values : undefined;
    const labels = {
      values: fetched ?? new Int32Array(0), width, height, count, left: 0, top: 0,
      confidence: Float64Array.from([0, ...(columns.confidence ?? [])]),
      tiled: picture?.tiled ?? undefined,
    };
    return { labels, classOf: class_of ?? null, whole: whole ?? undefined, pixels, columns: new Map(Object.entries(columns)) };
  }

  /** Numbers of a region of a level. @param {number} level @param {import("../core/types.js").Region} region @returns {Promise<Int32Array>} */
  async labels(level, region) {
    return (await unpacked(`images/${this.number}/labels?level=${level}&${query(region)}`)).values;
  }

  /** Write what was found beside what is saved. @param {string} what @returns {Promise<string>} The file. */
  async write(what) {
    return (await (await request(`images/${this.number}/results`, { body: { what } })).json()).file;
  }
}

/** A promptable package that the server runs. */
export class NativePrompts {
  constructor() {
    this.number = 0;
  }

  /** @param {import("../core/types.js").Picture} picture @param {any} asked @param {(done: number, total: number) => void} advance */
  async look(picture, asked, advance) {
    this.picture = picture;
    advance(0, 1);
    await request(`images/${this.number}/encode`, { body: {} });
    advance(1, 1);
  }

  /** @param {import("../tasks/prompts.js").Prompt} prompt @returns {Promise<{mask: import("../tasks/kept.js").Patch, score: number}[]>} */
  async masks({ points, labels, box }) {
    const { height } = /** @type {import("../core/types.js").Picture} */ (this.picture);
    const { masks } = await (await request(`images/${this.number}/masks`, { body: { points, labels, box } })).json();
    return masks
      .map((/** @type {{counts: number[], score: number}} */ each) => ({ mask: patchOf(each.counts, height), score: each.score }))
      .sort((/** @type {{score: number}} */ a, /** @type {{score: number}} */ b) => b.score - a.score);
  }
}

/** @param {any} rule */
function ruleOf({ thresholds, minimumArea }) {
  return { foreground: thresholds.foreground, boundary: thresholds.boundary, minimum_area: minimumArea };
}
