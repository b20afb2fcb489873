/** Linear resampling as Pillow does it: over a wider neighbourhood where the result is smaller. */

/** Bits behind the point in Pillow's weights for 8-bit pictures. */
const BITS = 22;

/**
 * Which pixels each new one is made of, and how much of each.
 *
 * @param {number} size Pixels along the axis.
 * @param {number} from Where the part that is resampled begins.
 * @param {number} to Where it ends.
 * @param {number} out New pixels.
 */
function weights(size, from, to, out) {
  const scale = Math.fround(Math.fround(to) - Math.fround(from)) / out;
  const reach = Math.max(scale, 1);
  const longest = Math.ceil(reach) * 2 + 1;
  const first = new Int32Array(out);
  const count = new Int32Array(out);
  const shares = new Float64Array(out * longest);
  for (let i = 0; i < out; i++) {
    const centre = Math.fround(from) + (i + 0.5) * scale;
    const start = Math.max(Math.trunc(centre - reach + 0.5), 0);
    const stop = Math.min(Math.trunc(centre + reach + 0.5), size);
    let sum = 0;
    for (let x = start; x < stop; x++) {
      const distance = Math.abs((x - centre + 0.5) * (1 / reach));
      const share = distance < 1 ? 1 - distance : 0;
      shares[i * longest + x - start] = share;
      sum += share;
    }
    if (sum !== 0) for (let k = 0; k < stop - start; k++) shares[i * longest + k] /= sum;
    first[i] = start;
    count[i] = stop - start;
  }
  return { first, count, shares, longest };
}

/**
 * A plane of floats at another size.
 *
 * @param {Float32Array} plane
 * @param {number} width
 * @param {number} height
 * @param {number} newWidth
 * @param {number} newHeight
 * @param {[number, number, number, number]} [box] Left, top, right, bottom of the part in question.
 * @returns {Float32Array}
 */
export function resizeFloats(plane, width, height, newWidth, newHeight, box) {
  const [left, top, right, bottom] = (box ?? [0, 0, width, height]).map(Math.fround);
  let source = plane;
  if (newWidth !== width || left !== 0 || right !== newWidth) {
    const along = weights(width, left, right, newWidth);
    const { first, count, shares, longest } = along;
    const wide = new Float32Array(newWidth * height);
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < newWidth; x++) {
        let sum = 0;
        const start = y * width + first[x];
        for (let k = 0; k < count[x]; k++) sum += source[start + k] * shares[x * longest + k];
        wide[y * newWidth + x] = sum;
      }
    }
    source = wide;
  }
  if (newHeight === height && top === 0 && bottom === newHeight) return source;
  const { first, count, shares, longest } = weights(height, top, bottom, newHeight);
  const found = new Float32Array(newWidth * newHeight);
  for (let y = 0; y < newHeight; y++) {
    for (let x = 0; x < newWidth; x++) {
      let sum = 0;
      for (let k = 0; k < count[y]; k++) {
        sum += source[(first[y] + k) * newWidth + x] * shares[y * longest + k];
      }
      found[y * newWidth + x] = sum;
    }
  }
  return found;
}

/**
 * A plane of 8-bit values at another size, in whole numbers as Pillow counts them.
 *
 * @param {Uint8Array} plane
 * @param {number} width
 * @param {number} height
 * @param {number} newWidth
 * @param {number} newHeight
 * @returns {Uint8Array}
 */
export function resizeBytes(plane, width, height, newWidth, newHeight) {
  const half = 2 ** (BITS - 1);
  const whole = (/** @type {Float64Array} */ shares) =>
    Int32Array.from(shares, (share) => Math.trunc(share * 2 ** BITS + 0.5));
  const clipped = (/** @type {number} */ sum) => Math.min(Math.max(Math.floor(sum / 2 ** BITS), 0), 255);
  let source = plane;
  if (newWidth !== width) {
    const { first, count, shares, longest } = weights(width, 0, width, newWidth);
    const parts = whole(shares);
    source = new Uint8Array(newWidth * height);
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < newWidth; x++) {
        let sum = half;
        for (let k = 0; k < count[x]; k++) sum += plane[y * width + first[x] + k] * parts[x * longest + k];
        source[y * newWidth + x] = clipped(sum);
      }
    }
  }
  if (newHeight === height) return source;
  const { first, count, shares, longest } = weights(height, 0, height, newHeight);
  const parts = whole(shares);
  const found = new Uint8Array(newWidth * newHeight);
  for (let y = 0; y < newHeight; y++) {
    for (let x = 0; x < newWidth; x++) {
      let sum = half;
      for (let k = 0; k < count[y]; k++) sum += source[(first[y] + k) * newWidth + x] * parts[y * longest + k];
      found[y * newWidth + x] = clipped(sum);
    }
  }
  return found;
}
