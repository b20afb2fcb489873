/** Colours of channels, objects and classes. */

/** @typedef {[number, number, number]} Colour Red, green and blue, 0 to 255. */

/** @type {Record<string, Colour>} */
const NAMED = { red: [255, 0, 0], green: [0, 255, 0], blue: [0, 0, 255] };
/** @type {Colour[]} */
const CHANNELS = [
  [64, 160, 255], [0, 230, 120], [255, 90, 200], [255, 200, 40], [255, 90, 60], [160, 120, 255],
];
/** Of classes: told apart by people who see red and green alike, too (Okabe and Ito 2008). @type {Colour[]} */
const CLASSES = [
  [230, 159, 0], [86, 180, 233], [0, 158, 115], [240, 228, 66], [0, 114, 178], [213, 94, 0],
  [204, 121, 167], [150, 150, 150],
];

/** Colours in which an image's channels are shown at first. @param {string[]} names @returns {Colour[]} */
export function channelColours(names) {
  if (names.length === 1) return [[255, 255, 255]];
  return names.map((name, i) => NAMED[name] ?? CHANNELS[i % CHANNELS.length]);
}

/** @param {number} number @returns {Colour} */
export function classColour(number) {
  return CLASSES[number % CLASSES.length];
}

/** A colour of an object, unlike those of its neighbours. @param {number} number @returns {Colour} */
export function objectColour(number) {
  const hue = (number * 0.618034) % 1;
  const part = (/** @type {number} */ shift) => {
    const place = Math.abs((((hue + shift) % 1) + 1) % 1 - 0.5) * 6;
    return Math.round(255 * Math.min(Math.max(place - 1, 0.15), 1));
  };
  return [part(0), part(2 / 3), part(1 / 3)];
}

/** @param {Colour} colour */
export function hex([red, green, blue]) {
  return `#${[red, green, blue].map((each) => each.toString(16).padStart(2, "0")).join("")}`;
}

/** @param {string} text @returns {Colour} */
export function fromHex(text) {
  return /** @type {Colour} */ ([1, 3, 5].map((at) => parseInt(text.slice(at, at + 2), 16)));
}
