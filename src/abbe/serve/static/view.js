// The image with masks and prompts on it, and what the pointer does there, in pixels of the image.

import { painted, shownMask } from "./masks.js";

const PRESENT = [255, 196, 0];
const HUES = [[64, 156, 255], [255, 92, 168], [60, 210, 190], [178, 120, 255], [255, 140, 60], [150, 214, 60]];
const DRAG = 5; // screen px: less is a click

export const hueOf = (index) => HUES[index % HUES.length];

export class View {
  #picture = null;
  #size = null;
  #shown = new WeakMap(); // run lengths → the mask at the size shown, painted
  #zoom = 1;
  #drag = null;
  #work = null;
  #present = null;

  constructor(canvas, frame, { onPoint, onBox }) {
    this.canvas = canvas;
    this.frame = frame;
    this.context = canvas.getContext("2d");
    new ResizeObserver(() => this.#fit()).observe(frame);
    this.#listen(onPoint, onBox);
  }

  setImage(picture, size) {
    [this.#picture, this.#size, this.#zoom, this.#work, this.#present] = [picture, size, 1, null, null];
    this.#fit();
  }

  show(work, present) {
    [this.#work, this.#present] = [work, present];
    this.#draw();
  }

  zoom(factor) {
    this.#zoom = Math.min(8, Math.max(1, this.#zoom * factor));
    this.#fit();
  }

  #fit() {
    if (!this.#picture) return;
    const style = getComputedStyle(this.frame);
    const room = (side, from, to) => this.frame[side] - parseFloat(style[from]) - parseFloat(style[to]);
    const scale = this.#zoom * Math.max(0.01, Math.min(
      room("offsetWidth", "paddingLeft", "paddingRight") / this.#size.width,
      room("offsetHeight", "paddingTop", "paddingBottom") / this.#size.height,
    ));
    const [width, height] = [this.#size.width * scale, this.#size.height * scale];
    this.canvas.style.width = `${width}px`;
    this.canvas.style.height = `${height}px`;
    const density = Math.min(window.devicePixelRatio || 1, 4096 / Math.max(width, height));
    this.canvas.width = Math.max(1, Math.round(width * density));
    this.canvas.height = Math.max(1, Math.round(height * density));
    this.#draw();
  }

  #draw() {
    if (!this.#picture) return;
    const { context, canvas } = this;
    const scale = canvas.width / this.#size.width;
    context.imageSmoothingEnabled = canvas.width < 2 * this.#picture.naturalWidth;
    context.drawImage(this.#picture, 0, 0, canvas.width, canvas.height);
    this.#work?.objects.forEach((object, index) =>
      this.#mask(object.counts, hueOf(index), this.#work.chosen === index ? 150 : 80));
    if (this.#present) this.#mask(this.#present.counts, PRESENT, 100);
    if (this.#work) this.#prompts(this.#work.prompt, scale);
    if (this.#drag?.box) this.#box(this.#drag.box, scale);
  }

  #mask(counts, colour, fill) {
    const key = `${colour},${fill}`;
    const { naturalWidth: width, naturalHeight: height } = this.#picture;
    let kept = this.#shown.get(counts);
    if (kept?.key !== key) {
      kept = { key, canvas: painted(shownMask(counts, this.#size, width, height), width, height, colour, fill) };
      this.#shown.set(counts, kept);
    }
    this.context.drawImage(kept.canvas, 0, 0, this.canvas.width, this.canvas.height);
  }

  #prompts({ points, labels, box }, scale) {
    if (box) this.#box(box, scale);
    const radius = 6 * this.canvas.width / this.canvas.clientWidth;
    points.forEach(([x, y], index) => {
      const [left, top] = [x * scale, y * scale];
      this.context.beginPath();
      // Round for inside, square for outside: told apart without colour too.
      if (labels[index]) this.context.arc(left, top, radius, 0, 2 * Math.PI);
      else this.context.rect(left - radius, top - radius, 2 * radius, 2 * radius);
      this.context.fillStyle = labels[index] ? "#2fbf71" : "#e5484d";
      this.context.strokeStyle = "#fff";
      this.context.lineWidth = radius / 3;
      this.context.fill();
      this.context.stroke();
    });
  }

  #box([left, top, right, bottom], scale) {
    const { context } = this;
    const place = [left * scale, top * scale, (right - left) * scale, (bottom - top) * scale];
    const line = this.canvas.width / this.canvas.clientWidth;
    for (const [style, width] of [["#000a", 4], ["#fff", 2]]) {
      [context.strokeStyle, context.lineWidth] = [style, width * line];
      context.strokeRect(...place);
    }
  }

  #place(event) {
    const bounds = this.canvas.getBoundingClientRect();
    const along = (part, length) => Math.min(1, Math.max(0, part / length));
    return [
      along(event.clientX - bounds.left, bounds.width) * this.#size.width,
      along(event.clientY - bounds.top, bounds.height) * this.#size.height,
    ];
  }

  #listen(onPoint, onBox) {
    const { canvas } = this;
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("pointerdown", (event) => {
      if (!this.#picture || (event.button !== 0 && event.button !== 2)) return;
      canvas.setPointerCapture(event.pointerId);
      this.#drag = { from: this.#place(event), x: event.clientX, y: event.clientY, box: null };
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!this.#drag || !(event.buttons & 1)) return;
      const far = Math.hypot(event.clientX - this.#drag.x, event.clientY - this.#drag.y) >= DRAG;
      if (!far && !this.#drag.box) return;
      const [[x0, y0], [x1, y1]] = [this.#drag.from, this.#place(event)];
      this.#drag.box = [Math.min(x0, x1), Math.min(y0, y1), Math.max(x0, x1), Math.max(y0, y1)];
      this.#draw();
    });
    canvas.addEventListener("pointerup", (event) => {
      if (!this.#drag) return;
      const { from, box } = this.#drag;
      this.#drag = null;
      if (box) {
        if (box[0] < box[2] && box[1] < box[3]) onBox(box);
        else this.#draw();
        return;
      }
      // The far border of the last pixel is no longer in the image.
      const inside = (value, side) => Math.min(value, side - 0.01);
      const outside = event.button === 2 || event.altKey;
      onPoint(inside(from[0], this.#size.width), inside(from[1], this.#size.height), outside);
    });
    canvas.addEventListener("pointercancel", () => { this.#drag = null; this.#draw(); });
  }
}
