/** All that the page says, in one place. `{name}` is replaced. */

export const TEXTS = {
  starting: "Starting: fetching the network…",
  readyToOpen: "Ready. Open an image, drop one here, or paste one.",
  opening: "Reading {name}…",
  looking: "{percent} %, {left} left",
  largeImage: "This image is large: it is looked at part by part, as an image of its own each. Enlarge what you want (at most 16 megapixels), and press Look again.",
  lookingFirst: "Looking at the image…",
  objectsFound: "{count} objects in {seconds} s",
  oneObject: "1 object in {seconds} s",
  areasFound: "{count} areas in {seconds} s",
  classFound: "{name}, {percent} % sure",
  embedded: "Ready for clicks: click inside an object, or drag a box with Shift held down.",
  masksFound: "Mask {number} of {count}, expected IoU {score}. Enter keeps it, N shows the next.",
  accepted: "{count} objects kept.",
  segmentation: "Objects",
  regions: "Areas",
  classification: "Tiles",
  promptable: "Objects",
  engine: "{engine}, {threads} threads",
  engineOne: "{engine}, 1 thread",
  nothingLeaves: "Images stay on this machine: the page computes here and sends nothing.",
  stopped: "Stopped.",
  saved: "Saved {name}.",
  size: "{width} × {height} px",
  unknown: "not known",
  seenAs: "taken for {name}",
  secondsLeft: "{count} s",
  minutesLeft: "{count} min",
  unsavedMark: "not saved",
  savedMark: "{count} saved",
  doneMark: "done",
  engineNative: "{engine}, by abbe serve",
  staysHere: "Images stay on this machine: abbe serve computes here and sends nothing.",
  histogramEmpty: "No objects",
  histogramTitle: "Areas, {unit}",
  largest: "{value} {unit}",
  noteAlpha: "Its opacity is left out.",
  noteInverted: "Stored with 0 as white: bright was made high.",
  noteGrey: "It is grey, though saved in colours: one of them is taken for {name}.",
  noteOne: "Its one channel, {has}, is taken for {name}.",
  noteSize: "The package does not say for which pixel size it was made: images are seen as they are, or say below how large the objects are.",
  chooseChannels: "The network sees {names}. Say which channels of the image these are.",
};

/** What went wrong, and what to do. */
export const PROBLEMS = {
  notAnImage: "{name} is no image that this page can read. It reads PNG, JPEG, WebP and TIFF; save it as one of these.",
  pngDamaged: "{name} is a damaged or truncated PNG. Copy or export it again.",
  tiffDamaged: "{name} cannot be read as TIFF: it is damaged, or compressed in a way that this page does not know. Save it without compression or with deflate or LZW.",
  tiffStack: "{name} holds a stack, a time series or very many pages. Save one plane, or a projection, as an image of its own.",
  tiffBits: "{name} has samples of a size that is not read. Save it with 8 or 16 bits, or as float.",
  tiffPalette: "{name} stores numbers into a palette of colours. Save it as grey or RGB.",
  partNeeded: "{name} is looked at part by part. Move it into sight, and look again.",
  serverGone: "The server does not answer. Is 'abbe serve' still running?",
  tooLarge: "{name} is too large for a browser. Use abbe predict on your machine, or cut out a part.",
  valuesNotFinite: "{name} has pixels that are NaN or infinite, so that it cannot be normalised.",
  valuesWithoutRange: "{name}: the network divides by what the pixel type can hold. Save the image with 8 or 16 bits.",
  valuesBeyondOne: "{name}: the network takes values from 0 to 1 as they are, and some lie outside. Save the image with 8 bits.",
  pixelSizeNeeded: "The network was made for {size} per pixel, and {name} does not say how large its pixels are. Fill it in below.",
  scaleBeyond: "The pixel size or diameter is too far from what the network was made for ({size}). Check the number below.",
  channelsNeeded: "{name} has the channels {has}; the network sees {names}. Choose them below.",
  colourNeeded: "{name} is a grey image, and the network sees {names}: it has no colours to see.",
  pngTooMany: "There are more than 65,535 objects, and a PNG cannot number them. Save the labels as TIFF.",
  startFailed: "The network does not start here: {reason}",
  failed: "This did not work: {reason}",
};

/**
 * A text with its values.
 *
 * @param {string} text
 * @param {Record<string, string | number>} [values]
 */
export function say(text, values = {}) {
  return text.replace(/\{(\w+)\}/g, (whole, name) => String(values[name] ?? whole));
}
