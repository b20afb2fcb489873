/** Rounding as Python rounds: to the nearest whole number, halves to the even one. */

/** @param {number} value */
export function roundHalfEven(value) {
  const below = Math.floor(value);
  const rest = value - below;
  if (rest !== 0.5) return rest < 0.5 ? below : below + 1;
  return below % 2 === 0 ? below : below + 1;
}
