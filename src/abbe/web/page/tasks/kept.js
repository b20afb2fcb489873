/** Masks that were kept of a promptable network, the later ones over the earlier. */

export class Kept {
  /** @param {number} width @param {number} height */
  constructor(width, height) {
    this.width = width;
    this.height = height;
    /** @type {{mask: Uint8Array, score: number}[]} */
    this.masks = [];
    /** @type {{mask: Uint8Array, score: number}[][]} */
    this.earlier = [];
  }

  /** @param {Uint8Array} mask @param {number} score */
  add(mask, score) {
    this.earlier.push([...this.masks]);
    this.masks.push({ mask, score });
  }

  /** @param {number} number From 1. */
  remove(number) {
    this.earlier.push([...this.masks]);
    this.masks.splice(number - 1, 1);
  }

  /** Take the last change back. */
  undo() {
    this.masks = this.earlier.pop() ?? this.masks;
  }

  /** @returns {import("../core/types.js").Labels} Numbers in the order in which they were kept. */
  labels() {
    const values = new Int32Array(this.width * this.height);
    this.masks.forEach(({ mask }, i) => {
      for (let at = 0; at < mask.length; at++) if (mask[at]) values[at] = i + 1;
    });
    const confidence = Float64Array.from([0, ...this.masks.map(({ score }) => score)]);
    return { values, width: this.width, height: this.height, count: this.masks.length, confidence };
  }
}
