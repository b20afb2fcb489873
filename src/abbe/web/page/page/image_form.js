/** What is known of an image, what must be asked, and how its channels are shown. */

import { evenSample } from "./sample.js";
import { channelColours, fromHex, hex } from "./colours.js";
import { element, input, made, show } from "./elements.js";
import { tiledImage, wholeImage } from "./levels.js";
import { NOTES, TEXTS, say } from "../texts.js";

export class ImageForm {
  /**
   * @param {import("../core/types.js").Description} description
   * @param {import("./viewer.js").Viewer} viewer
   * @param {import("./asking.js").Asking} asking
   * @param {() => void} again
   */
  constructor(description, viewer, asking, again) {
    this.description = description;
    this.asking = asking;
    this.viewer = viewer;
    /** @type {HTMLSelectElement[]} */
    this.selects = [];
    show("diameter-row", Boolean(description.object_diameter) && description.task === "segmentation");
    element("asked").onsubmit = (event) => {
      event.preventDefault();
      again();
    };
  }

  /**
   * @param {import("../core/types.js").Picture} picture
   * @param {number[] | null} channels Those that the network sees, where that is known.
   */
  async show(picture, channels) {
    this.picture = picture;
    const planes = await this.sampleOf(picture);
    this.showFacts(picture, planes);
    this.showChoices(picture, channels);
    input("pixel-size").value = picture.pixelSize ? String(Number(picture.pixelSize.toPrecision(6))) : "";
    this.fileSize = picture.pixelSize;
    input("diameter").value = "";
    this.showChannels(picture, planes, channels);
  }

  /** Planes that stand for all of an image: itself, or the middle of its coarsest level. @param {import("../core/types.js").Picture} picture */
  async sampleOf({ planes, tiled }) {
    if (!tiled) return planes;
    const level = tiled.levels.length - 1;
    const middle = (/** @type {number} */ side) => Math.floor(side / tiled.side / 2);
    const { width, height } = tiled.levels[level];
    return (await this.asking.ask("tile", { level, row: middle(height), column: middle(width) })).planes;
  }

  /** @param {import("../core/types.js").Picture} picture @param {import("../core/types.js").Values[]} planes */
  showFacts(picture, planes) {
    const kind = planes[0].constructor.name.replace("Array", "");
    const rows = [
      [TEXTS.file, picture.name], [TEXTS.sizeHead, say(TEXTS.size, { width: picture.width, height: picture.height })],
      [TEXTS.channels, picture.channels.join(", ")], [TEXTS.values, kind],
    ];
    element("facts").replaceChildren(...rows.flatMap(([name, value]) => [made("dt", { textContent: name }), made("dd", { textContent: value })]));
  }

  /** @param {import("../core/types.js").Picture} picture @param {number[] | null} channels */
  showChoices(picture, channels) {
    const { channels: wanted } = this.description;
    this.grey = picture.channels.length === 1 && wanted.length === 3 && this.description.task === "promptable";
    this.selects = wanted.map((name, i) => {
      const options = [made("option", { value: "", textContent: "—" })];
      picture.channels.forEach((has, place) => options.push(made("option", { value: String(place), textContent: has })));
      const select = /** @type {HTMLSelectElement} */ (made("select", {}, options));
      select.value = channels ? String(channels[i]) : "";
      select.ariaLabel = name;
      return select;
    });
    const known = channels !== null && picture.channels.join() === wanted.join();
    const ask = !known && !this.grey && picture.channels.length > 1;
    element("choices").replaceChildren(
      ...(ask ? this.selects.map((select, i) => made("label", {}, [wanted[i], select])) : []),
    );
  }

  /** What the worker is asked; null where a channel is still to be chosen. */
  asked() {
    const channels = this.grey ? [0] : this.selects.map(({ value }) => (value === "" ? -1 : Number(value)));
    if (channels.includes(-1)) return null;
    const shown = Number(input("pixel-size").value);
    // The field has six digits; where it was not changed, the file's own number counts.
    const same = this.fileSize && Math.abs(shown / this.fileSize - 1) < 1e-5;
    return {
      channels,
      pixelSize: same ? this.fileSize : shown || null,
      diameter: Number(input("diameter").value) || null,
    };
  }

  /** Say what was taken for granted. @param {{channels: number[], pixelSize: number | null | undefined, diameter: number | null}} asked */
  looked({ channels, pixelSize, diameter }) {
    const { description, picture } = this;
    if (!picture) return;
    // What the page reads has names for what it takes for granted, and `abbe serve` says it in words.
    const notes = picture.notes.map((note) => NOTES[note] ?? note);
    const [name] = description.channels;
    if (description.channels.length === 1 && picture.channels[channels[0]] !== name) {
      const one = picture.channels.length === 1;
      notes.push(one ? say(TEXTS.noteOne, { has: picture.channels[0], name }) : say(TEXTS.noteGrey, { name }));
    }
    if (pixelSize && !description.pixel_size && !diameter && !description.image_size) notes.push(TEXTS.noteSize);
    element("notes").replaceChildren(...notes.map((text) => made("li", { textContent: text })));
  }

  /** @param {import("../core/types.js").Picture} picture @param {import("../core/types.js").Values[]} planes @param {number[] | null} seen */
  showChannels(picture, planes, seen) {
    const { width, height, tiled } = picture;
    const colours = channelColours(picture.channels);
    const rgb = picture.channels.join() === "red,green,blue" && planes[0] instanceof Uint8Array;
    const channels = planes.map((plane, i) => {
      const sample = evenSample(plane);
      const at = (/** @type {number} */ share) => sample[Math.floor(share * (sample.length - 1))];
      const [low, high] = rgb ? [0, 255] : [at(0.01), Math.max(at(0.998), at(0.01) + 1e-9)];
      return { colour: colours[i], low, high, shown: seen && planes.length > 3 ? seen.includes(i) : i < 6, least: Math.min(at(0), low), most: Math.max(at(1), high) };
    });
    const ask = async (/** @type {object} */ asked) => (await this.asking.ask("tile", asked)).planes;
    const shown = tiled ? tiledImage({ width, height, ...tiled }, ask, () => this.viewer.draw()) : wholeImage(planes, width, height);
    this.viewer.show(shown, channels);
    element("channels").replaceChildren(...channels.map((channel, i) => this.controls(channel, picture.channels[i])));
  }

  /** @param {import("./painting.js").Channel & {least: number, most: number}} channel @param {string} name */
  controls(channel, name) {
    const draw = () => this.viewer.draw();
    const shown = made("input", { type: "checkbox", checked: channel.shown, ariaLabel: name });
    const colour = made("input", { type: "color", value: hex(channel.colour), ariaLabel: say(TEXTS.colourOf, { name }) });
    shown.oninput = () => {
      channel.shown = /** @type {HTMLInputElement} */ (shown).checked;
      draw();
    };
    colour.oninput = () => {
      channel.colour = fromHex(/** @type {HTMLInputElement} */ (colour).value);
      draw();
    };
    const step = (channel.most - channel.least) / 500 || 1;
    const ends = /** @type {("low" | "high")[]} */ (["low", "high"]).map((end) => {
      const slider = /** @type {HTMLInputElement} */ (made("input", {
        type: "range", min: String(channel.least), max: String(channel.most), step: String(step), ariaLabel: say(end === "low" ? TEXTS.blackOf : TEXTS.whiteOf, { name }),
      }));
      slider.value = String(channel[end]);
      slider.oninput = () => {
        channel[end] = Number(slider.value);
        draw();
      };
      return slider;
    });
    return made("div", { className: "channel" }, [shown, colour, made("span", { textContent: name }), made("div", { className: "ends" }, ends)]);
  }
}
