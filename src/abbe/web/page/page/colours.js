/** Colours of channels, objects and classes. */

import { roundHalfEven } from "../core/numbers.js";

/** @typedef {[number, number, number]} Colour Red, green and blue, 0 to 255. */

/** @type {Record<string, Colour>} */
const NAMED = { red: [255, 0, 0], green: [0, 255, 0], blue: [0, 0, 255] };
/** @type {Colour[]} */
const CHANNELS = [
  [64, 160, 255], [0, 230, 120], [255, 90, 200], [255, 200, 40], [255, 90, 60], [160, 120, 255],
];
/** Of classes: told apart by people who see red and green alike, too (Okabe and Ito 2008). @type {Colour[]} */
const CLASSES = [
  [0, 114, 178], [230, 159, 0], [0, 158, 115], [204, 121, 167], [213, 94, 0], [86, 180, 233], [240, 228, 66],
];
/** The golden ratio: hues that follow each other so lie far apart, however many there are. */
const HUE_STEP = 0.618034;

/** Colours in which an image's channels are shown at first. @param {string[]} names @returns {Colour[]} */
export function channelColours(names) {
  if (names.length === 1) return [[255, 255, 255]];
  return names.map((name, i) => NAMED[name] ?? CHANNELS[i % CHANNELS.length]);
}

/** The colour of a class: the twin of `abbe.imaging.class_colour`. @param {number} number @returns {Colour} */
export function classColour(number) {
  if (number < CLASSES.length) return CLASSES[number];
  const hue = 6 * ((number * HUE_STEP) % 1);
  const [saturation, value] = [0.75, number % 2 ? 0.95 : 0.7];
  const [sector, part] = [Math.floor(hue), hue - Math.floor(hue)];
  const low = value * (1 - saturation);
  const falling = value * (1 - saturation * part);
  const rising = value * (1 - saturation * (1 - part));
  const [red, green, blue] = [
    [value, rising, low], [falling, value, low], [low, value, rising], [low, falling, value], [rising, low, value], [value, low, falling],
  ][sector].map((light) => roundHalfEven(255 * light));
  return [red, green, blue];
}

/** A colour of an object, unlike those of its neighbours. @param {number} number @returns {Colour} */
export function objectColour(number) {
  const hue = (number * HUE_STEP) % 1;
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
