/** Distances to the background, and 3 × 3 filters, each with the library's own rounding. */

/**
 * Euclidean distances of a mask's pixels to the nearest that is not in it, px.
 *
 * What lies outside the array does not count as background.
 * Felzenszwalb and Huttenlocher 2012, Distance transforms of sampled functions.
 *
 * @param {Uint8Array} mask
 * @param {number} width
 * @param {number} height
 * @returns {Float32Array}
 */
export function distances(mask, width, height) {
  const far = 2 * (width + height);
  const rows = new Float64Array(mask.length);
  for (let y = 0; y < height; y++) {
    let last = far;
    for (let i = y * width; i < (y + 1) * width; i++) {
      last = mask[i] ? Math.min(last + 1, far) : 0;
      rows[i] = last;
    }
    for (let i = (y + 1) * width - 1, next = far; i >= y * width; i--) {
      next = mask[i] ? Math.min(next + 1, far) : 0;
      if (next < rows[i]) rows[i] = next;
    }
  }
  const found = new Float32Array(mask.length);
  const apex = new Int32Array(height);
  const edge = new Float64Array(height + 1);
  for (let x = 0; x < width; x++) {
    const value = (/** @type {number} */ y) => rows[y * width + x] ** 2;
    let last = 0;
    apex[0] = 0;
    edge[0] = -Infinity;
    edge[1] = Infinity;
    for (let y = 1; y < height; y++) {
      let meet = 0;
      for (;;) {
        const at = apex[last];
        meet = (value(y) + y * y - value(at) - at * at) / (2 * (y - at));
        if (meet > edge[last]) break;
        last--;
      }
      apex[++last] = y;
      edge[last] = meet;
      edge[last + 1] = Infinity;
    }
    for (let y = 0, at = 0; y < height; y++) {
      while (edge[at + 1] < y) at++;
      found[y * width + x] = Math.sqrt((y - apex[at]) ** 2 + value(apex[at]));
    }
  }
  return found;
}

/**
 * The mean of 3 × 3 px, mirrored at the border: `scipy.ndimage.uniform_filter`, with its running
 * sums, one axis after the other.
 *
 * @param {Float32Array} plane
 * @param {number} width
 * @param {number} height
 */
export function mean3(plane, width, height) {
  return along(plane, width, height, (line) => {
    const found = new Float64Array(line.length - 2);
    let sum = line[0] + line[1] + line[2];
    found[0] = sum / 3;
    for (let i = 1; i < found.length; i++) {
      sum += line[i + 2] - line[i - 1];
      found[i] = sum / 3;
    }
    return found;
  });
}

/** The highest of 3 × 3 px. @param {Float32Array} plane @param {number} width @param {number} height */
export function highest3(plane, width, height) {
  return along(plane, width, height, (line) => {
    const found = new Float64Array(line.length - 2);
    for (let i = 0; i < found.length; i++) found[i] = Math.max(line[i], line[i + 1], line[i + 2]);
    return found;
  });
}

/**
 * A filter of three px, down the columns and then along the rows; the border px is repeated.
 *
 * @param {Float32Array} plane
 * @param {number} width
 * @param {number} height
 * @param {(line: Float64Array) => Float64Array} filter
 */
function along(plane, width, height, filter) {
  const pass = (
    /** @type {Float32Array} */ from, /** @type {number} */ lines, /** @type {number} */ length,
    /** @type {number} */ step, /** @type {number} */ next,
  ) => {
    const found = new Float32Array(from.length);
    const line = new Float64Array(length + 2);
    for (let n = 0; n < lines; n++) {
      for (let i = 0; i < length; i++) line[i + 1] = from[n * next + i * step];
      line[0] = line[1];
      line[length + 1] = line[length];
      const filtered = filter(line);
      for (let i = 0; i < length; i++) found[n * next + i * step] = filtered[i];
    }
    return found;
  };
  return pass(pass(plane, width, height, width, 1), height, width, 1, width);
}
