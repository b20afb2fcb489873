/** The objects of an image as they are kept and corrected, the later ones over the earlier. */

/**
 * @typedef {object} Kept1 One object: its mask in a box of the image, and what is said of it.
 * @property {number} left
 * @property {number} top
 * @property {number} width
 * @property {number} height
 * @property {Uint8Array} data 1 inside, row by row of the box.
 * @property {number} score IoU or probability that the network expects; 1 of what was drawn by hand.
 * @property {number} kind Number of its class, −1 where none was given.
 * @property {number} [tint] Which colour it has: numbers move up when an object is deleted, colours stay.
 *
 * @typedef {{left: number, top: number, width: number, height: number, data: Uint8Array}} Patch
 */

export class Kept {
  /** @param {number} width @param {number} height @param {Kept1[]} [objects] */
  constructor(width, height, objects = []) {
    this.width = width;
    this.height = height;
    this.objects = objects;
    /** @type {Kept1[][]} */
    this.earlier = [];
    objects.forEach((each, i) => (each.tint ??= i + 1));
  }

  /** The tint of each object by number. */
  get tints() {
    return Int32Array.from([0, ...this.objects.map(({ tint = 0 }) => tint)]);
  }

  /** One that no object has. */
  get freeTint() {
    return 1 + this.tints.reduce((most, tint) => Math.max(most, tint));
  }

  /**
   * Those of a label image.
   *
   * @param {ArrayLike<number>} values
   * @param {number} width
   * @param {number} height
   * @param {{confidence?: ArrayLike<number>, classOf?: ArrayLike<number> | null}} [told] By number.
   */
  static of(values, width, height, { confidence = [], classOf = null } = {}) {
    return new Kept(width, height, objectsIn(values, width, height, confidence, classOf));
  }

  /** Those of a copy of the image in another size, in a region. @param {{width: number, height: number}} level @param {import("../core/types.js").Region} region */
  region(level, { top, left, bottom, right }) {
    const [across, down] = [this.width / level.width, this.height / level.height];
    const columns = Int32Array.from({ length: right - left }, (_, i) => Math.floor((left + i + 0.5) * across));
    const rows = Int32Array.from({ length: bottom - top }, (_, i) => Math.floor((top + i + 0.5) * down));
    const values = new Int32Array(columns.length * rows.length);
    this.objects.forEach((each, i) => {
      if (each.top > rows[rows.length - 1] || each.left > columns[columns.length - 1]) return;
      rows.forEach((row, y) => {
        if (row < each.top || row >= each.top + each.height) return;
        columns.forEach((column, x) => {
          const inside = column >= each.left && column < each.left + each.width;
          if (inside && each.data[(row - each.top) * each.width + column - each.left]) values[y * columns.length + x] = i + 1;
        });
      });
    });
    return values;
  }

  /** What can be said of objects without the image's pixels. @returns {Map<string, Float64Array>} */
  columns() {
    const rows = this.objects.map((each, i) => {
      let [area, sx, sy] = [0, 0, 0];
      each.data.forEach((inside, at) => {
        if (!inside) return;
        area++;
        sx += at % each.width;
        sy += Math.floor(at / each.width);
      });
      return { label: i + 1, x: each.left + sx / area, y: each.top + sy / area, area_px: area, confidence: each.score };
    });
    return new Map(/** @type {const} */ (["label", "x", "y", "area_px", "confidence"]).map((name) => [name, Float64Array.from(rows, (row) => row[name])]));
  }

  /** @param {Kept1[]} objects */
  change(objects) {
    this.earlier.push(this.objects);
    this.objects = objects.filter((each) => each.data.includes(1));
  }

  /** @param {Patch} patch @param {number} score @param {number} kind */
  add(patch, score, kind) {
    this.change([...this.objects, { ...patch, score, kind, tint: this.freeTint }]);
  }

  /** @param {number} number From 1. */
  remove(number) {
    this.change(this.objects.filter((_, i) => i !== number - 1));
  }

  /** @param {number} number @param {number} kind */
  classify(number, kind) {
    this.change(this.objects.map((each, i) => (i === number - 1 ? { ...each, kind } : each)));
  }

  /**
   * Draw: pixels become those of an object, of a new one where the number is 0.
   *
   * @param {Patch} patch
   * @param {number} number
   * @param {number} kind Of a new object.
   */
  paint(patch, number, kind) {
    const inside = this.within(patch);
    const grown = number
      ? { ...this.objects[number - 1], ...joined(this.objects[number - 1], inside) }
      : { ...inside, score: 1, kind, tint: this.freeTint };
    const at = number ? number - 1 : this.objects.length;
    // What lies over it gives these pixels up: else they would stay its own in the picture.
    const others = this.objects.map((each, i) => (i > at ? { ...each, ...without(each, inside) } : each));
    others[at] = grown;
    this.change(others);
    return at + 1;
  }

  /** Take pixels away, from one object or, with 0, from all. @param {Patch} patch @param {number} number */
  erase(patch, number) {
    this.change(this.objects.map((each, i) =>
      !number || i === number - 1 ? { ...each, ...without(each, patch) } : each));
  }

  /** Take the last change back. */
  undo() {
    this.objects = this.earlier.pop() ?? this.objects;
  }

  /** @param {Patch} patch */
  within(patch) {
    const { width, height } = this;
    const [left, top] = [Math.max(patch.left, 0), Math.max(patch.top, 0)];
    const [right, bottom] = [Math.min(patch.left + patch.width, width), Math.min(patch.top + patch.height, height)];
    const found = empty(left, top, Math.max(right - left, 0), Math.max(bottom - top, 0));
    put(found, patch, 1);
    return found;
  }

  /** The class of each object by number; null where none has one. */
  kinds() {
    if (this.objects.every(({ kind }) => kind < 0)) return null;
    return Int16Array.from([-1, ...this.objects.map(({ kind }) => kind)]);
  }

  /** Each object by itself, as labels of its box. @param {{left: number, top: number}} origin Of the part in the image. @returns {import("../core/types.js").Labels[]} */
  each(origin) {
    return this.objects.map(({ left, top, width, height, data, score }) => ({
      values: /** @type {any} */ (data), width, height, // the mask itself: a copy of all would fill the memory
      count: 1, confidence: Float64Array.of(0, score),
      left: origin.left + left, top: origin.top + top,
    }));
  }

  /** @returns {import("../core/types.js").Labels} Numbers in the order in which they were kept; where they overlap, the later. */
  labels() {
    const { width, height, objects } = this;
    const values = new Int32Array(width * height);
    objects.forEach((each, i) => {
      for (let y = 0, at = 0; y < each.height; y++) {
        const row = (each.top + y) * width + each.left;
        for (let x = 0; x < each.width; x++, at++) if (each.data[at]) values[row + x] = i + 1;
      }
    });
    const confidence = Float64Array.from([0, ...objects.map(({ score }) => score)]);
    return { values, width, height, count: objects.length, confidence, tints: this.tints };
  }
}

/** @param {number} left @param {number} top @param {number} width @param {number} height @returns {Patch} */
function empty(left, top, width, height) {
  return { left, top, width, height, data: new Uint8Array(width * height) };
}

/** Write a value where a patch has pixels. @param {Patch} into @param {Patch} patch @param {number} value */
function put(into, patch, value) {
  const [top, bottom] = [Math.max(into.top, patch.top), Math.min(into.top + into.height, patch.top + patch.height)];
  const [left, right] = [Math.max(into.left, patch.left), Math.min(into.left + into.width, patch.left + patch.width)];
  for (let y = top; y < bottom; y++) {
    for (let x = left; x < right; x++) {
      if (patch.data[(y - patch.top) * patch.width + x - patch.left]) into.data[(y - into.top) * into.width + x - into.left] = value;
    }
  }
}

/** @param {Patch} a @param {Patch} b */
function joined(a, b) {
  const [left, top] = [Math.min(a.left, b.left), Math.min(a.top, b.top)];
  const [right, bottom] = [Math.max(a.left + a.width, b.left + b.width), Math.max(a.top + a.height, b.top + b.height)];
  const found = empty(left, top, right - left, bottom - top);
  put(found, a, 1);
  put(found, b, 1);
  return found;
}

/** @param {Patch} a @param {Patch} b */
function without(a, b) {
  const found = { left: a.left, top: a.top, width: a.width, height: a.height, data: a.data.slice() };
  put(found, b, 0);
  return found;
}

/** The smallest box around what is inside. @param {Patch} patch @returns {Patch} */
export function trimmed({ left, top, width, height, data }) {
  let [x0, y0, x1, y1] = [width, height, 0, 0];
  for (let y = 0; y < height; y++) {
    const row = data.subarray(y * width, (y + 1) * width);
    const first = row.indexOf(1);
    if (first < 0) continue;
    [x0, x1] = [Math.min(x0, first), Math.max(x1, row.lastIndexOf(1) + 1)];
    [y0, y1] = [Math.min(y0, y), y + 1];
  }
  if (x0 >= x1) return empty(left, top, 0, 0);
  const found = empty(left + x0, top + y0, x1 - x0, y1 - y0);
  for (let y = y0; y < y1; y++) found.data.set(data.subarray(y * width + x0, y * width + x1), (y - y0) * found.width);
  return found;
}

/**
 * @param {ArrayLike<number>} values
 * @param {number} width
 * @param {number} height
 * @param {ArrayLike<number>} confidence
 * @param {ArrayLike<number> | null} classOf
 * @returns {Kept1[]} In the order of their numbers.
 */
function objectsIn(values, width, height, confidence, classOf) {
  /** @type {Map<number, [number, number, number, number]>} */
  const boxes = new Map();
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++, at++) {
      const number = values[at];
      if (!(number > 0)) continue;
      const box = boxes.get(number);
      if (!box) boxes.set(number, [x, y, x + 1, y + 1]);
      else {
        if (x < box[0]) box[0] = x;
        else if (x >= box[2]) box[2] = x + 1;
        box[3] = y + 1;
      }
    }
  }
  return [...boxes].sort(([a], [b]) => a - b).map(([number, [left, top, right, bottom]]) => {
    const found = empty(left, top, right - left, bottom - top);
    for (let y = top, at = 0; y < bottom; y++) {
      for (let x = left; x < right; x++, at++) if (values[y * width + x] === number) found.data[at] = 1;
    }
    return { ...found, score: confidence[number] ?? 1, kind: classOf?.[number] ?? -1 };
  });
}

/**
 * COCO's run lengths of a mask: background, object, background, … down the columns of the image.
 *
 * @param {Patch} patch
 * @param {number} width Of the image.
 * @param {number} height
 */
export function countsOf({ left, top, width: w, height: h, data }, width, height) {
  const counts = [];
  let [inside, start] = [0, 0];
  const turn = (/** @type {number} */ value, /** @type {number} */ at) => {
    if (value === inside) return;
    counts.push(at - start);
    [inside, start] = [value, at];
  };
  for (let x = 0; x < w; x++) {
    const column = (left + x) * height + top;
    for (let y = 0; y < h; y++) turn(data[y * w + x], column + y);
    if (h < height) turn(0, column + h);
  }
  turn(0, (left + w) * height);
  counts.push(width * height - start);
  return counts;
}

/**
 * The mask of COCO's run lengths.
 *
 * @param {number[]} counts
 * @param {number} height Of the image.
 * @returns {Patch}
 */
export function patchOf(counts, height) {
  /** @type {[number, number][]} */
  const runs = [];
  let at = 0;
  counts.forEach((count, i) => {
    if (i % 2 && count) runs.push([at, at + count]);
    at += count;
  });
  if (!runs.length) return empty(0, 0, 0, 0);
  let [top, bottom] = [height, 0];
  for (const [from, to] of runs) {
    const one = Math.floor(from / height) === Math.floor((to - 1) / height);
    top = Math.min(top, one ? from % height : 0);
    bottom = Math.max(bottom, one ? ((to - 1) % height) + 1 : height);
  }
  const left = Math.floor(runs[0][0] / height);
  const right = Math.floor((runs[runs.length - 1][1] - 1) / height) + 1;
  const found = empty(left, top, right - left, bottom - top);
  for (const [from, to] of runs) {
    for (let k = from; k < to; k++) {
      found.data[((k % height) - top) * found.width + Math.floor(k / height) - left] = 1;
    }
  }
  return found;
}
