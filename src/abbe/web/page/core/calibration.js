/** Probabilities that mean what they say: the twin of `abbe.runtime.postprocess.calibration`. */

/** The highest float32 below 1: a sigmoid that was rounded to 1 was not sure beyond all measure. */
const MOST = Math.fround(1 - Math.fround(6e-8));

/**
 * Of a map on its own: σ(logit(p) / T), in float32 as there.
 *
 * @param {Float32Array} probabilities
 * @param {number | undefined} temperature undefined: as they are.
 */
export function calibrated(probabilities, temperature) {
  if (temperature === undefined) return probabilities;
  const power = Math.fround(1 / Math.fround(temperature));
  return probabilities.map((probability) => {
    const p = Math.min(probability, MOST);
    const odds = Math.fround(Math.fround(Math.fround(1 - p) / p) ** power);
    return 1 / Math.fround(1 + odds);
  });
}

/**
 * Of classes that exclude each other: p^(1/T) / Σ p^(1/T).
 *
 * @param {Float32Array} probabilities
 * @param {number | undefined} temperature
 */
export function calibratedClasses(probabilities, temperature) {
  if (temperature === undefined) return probabilities;
  const powers = probabilities.map((p) => p ** Math.fround(1 / temperature));
  const sum = Math.fround(powers.reduce((all, each) => all + each, 0));
  return powers.map((each) => each / sum);
}
