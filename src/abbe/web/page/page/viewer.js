/** The picture on the page: moved, enlarged, and clicked. */

import { paint } from "./painting.js";

const CLOSEST = 40; // px of the screen for one of the image
const STEP = 1.25;

export class Viewer extends EventTarget {
  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    super();
    this.canvas = canvas;
    this.context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d", { alpha: false }));
    this.view = { zoom: 1, x: 0, y: 0 };
    this.width = this.height = 0;
    /** @type {import("./levels.js").Shown | null} */
    this.image = null;
    /** @type {import("./painting.js").Channel[]} */
    this.channels = [];
    /** @type {import("./painting.js").Overlay | null} */
    this.overlay = null;
    /** The mask in question, over the objects. @type {import("./painting.js").Overlay | null} */
    this.asked = null;
    /** @type {[number, number, number, number] | null} A box that is drawn, in px of the image. */
    this.box = null;
    /** @type {{x: number, y: number, inside: boolean}[]} */
    this.points = [];
    /** Whether boxes may be drawn: by dragging with Shift, or always. */
    this.boxes = false;
    this.alwaysBoxes = false;
    /** What dragging does: move the image, or draw. @type {import("./editing.js").Tool} */
    this.tool = "choose";
    /** Of the brush, px of the image. */
    this.radius = 5;
    /** @type {[number, number][]} Where the brush has been. */
    this.stroke = [];
    this.waiting = 0;
    this.fitted = true;
    new ResizeObserver(() => this.resized()).observe(canvas);
    canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    canvas.addEventListener("dblclick", () => this.fit());
    this.listen();
  }

  /** @param {import("./levels.js").Shown} image @param {import("./painting.js").Channel[]} channels */
  show(image, channels) {
    const { width, height } = image;
    Object.assign(this, { image, width, height, channels, overlay: null, asked: null, box: null, points: [] });
    this.fit();
  }

  /** How far away the image may be: as far as its coarsest level has few tiles in sight. */
  get smallest() {
    const { canvas, image, width, height } = this;
    const all = Math.min(canvas.width / width, canvas.height / height, 1) / 4;
    if (!image || image.side === Infinity) return all;
    return Math.max(all, image.levels[image.levels.length - 1].width / width / 4);
  }

  /** What is seen of the image, in its px. */
  seen() {
    const { canvas, view, width, height } = this;
    const within = (/** @type {number} */ place, /** @type {number} */ most) => Math.round(Math.min(Math.max(place, 0), most));
    return {
      top: within(view.y, height), left: within(view.x, width),
      bottom: within(view.y + canvas.height / view.zoom, height), right: within(view.x + canvas.width / view.zoom, width),
    };
  }

  resized() {
    const { clientWidth, clientHeight } = this.canvas;
    const ratio = Math.min(devicePixelRatio || 1, 2);
    this.canvas.width = Math.max(1, Math.round(clientWidth * ratio));
    this.canvas.height = Math.max(1, Math.round(clientHeight * ratio));
    if (this.fitted) this.fit();
    else this.draw();
  }

  /** Show all of the image. */
  fit() {
    const { canvas, width, height } = this;
    if (!width) {
      this.draw();
      return;
    }
    const zoom = Math.max(Math.min(canvas.width / width, canvas.height / height, CLOSEST), this.smallest);
    this.view = { zoom, x: (width - canvas.width / zoom) / 2, y: (height - canvas.height / zoom) / 2 };
    this.fitted = true;
    this.draw();
  }

  /** Enlarge around a place of the screen. @param {number} factor @param {number} [x] @param {number} [y] */
  zoomBy(factor, x = this.canvas.width / 2, y = this.canvas.height / 2) {
    const zoom = Math.min(Math.max(this.view.zoom * factor, this.smallest), CLOSEST);
    this.view.x += x / this.view.zoom - x / zoom;
    this.view.y += y / this.view.zoom - y / zoom;
    this.view.zoom = zoom;
    this.fitted = false;
    this.draw();
  }

  /** @param {number} dx px of the screen. @param {number} dy */
  moveBy(dx, dy) {
    this.view.x -= dx / this.view.zoom;
    this.view.y -= dy / this.view.zoom;
    this.fitted = false;
    this.draw();
  }

  /** Bring a place of the image into sight, near enough to be seen. @param {number} x @param {number} y @param {number} size */
  centre(x, y, size) {
    const { canvas, view } = this;
    const least = Math.min(canvas.width, canvas.height) / (40 * Math.max(size, 1));
    const [left, top] = [(x - view.x) * view.zoom, (y - view.y) * view.zoom];
    const seen = left > 0 && top > 0 && left < canvas.width && top < canvas.height;
    if (seen && view.zoom >= least) return;
    view.zoom = Math.min(Math.max(view.zoom, least), CLOSEST);
    view.x = x - canvas.width / 2 / view.zoom;
    view.y = y - canvas.height / 2 / view.zoom;
    this.fitted = false;
    this.draw();
  }

  /** Paint before the next frame. */
  draw() {
    if (this.waiting) return;
    this.waiting = requestAnimationFrame(() => {
      this.waiting = 0;
      this.paintNow();
    });
  }

  paintNow() {
    const { canvas, context, view } = this;
    const screen = context.createImageData(canvas.width, canvas.height);
    const line = Math.max(1, Math.round(Math.min(devicePixelRatio || 1, 2)));
    const ground = getComputedStyle(canvas).getPropertyValue("--ground").split(" ").map(Number);
    if (this.image) paint(screen, view, this.image, this.channels, [this.overlay, this.asked], line, ground);
    else new Uint32Array(screen.data.buffer).fill(((255 << 24) | (ground[2] << 16) | (ground[1] << 8) | ground[0]) >>> 0);
    context.putImageData(screen, 0, 0);
    const placed = (/** @type {number} */ x, /** @type {number} */ y) => [(x - view.x) * view.zoom, (y - view.y) * view.zoom];
    if (this.box) {
      const [left, top, right, bottom] = [...placed(this.box[0], this.box[1]), ...placed(this.box[2], this.box[3])];
      context.lineWidth = 2 * line;
      context.strokeStyle = "#ffd400";
      context.strokeRect(left, top, right - left, bottom - top);
    }
    if (this.stroke.length) {
      context.beginPath();
      this.stroke.forEach(([x, y], i) => {
        const [sx, sy] = placed(x, y);
        if (i) context.lineTo(sx, sy);
        else context.moveTo(sx, sy + 0.01); // so that a point is drawn, too
      });
      for (const [x, y] of this.stroke.slice(-1)) context.lineTo(.../** @type {[number, number]} */ (placed(x, y)));
      context.lineCap = context.lineJoin = "round";
      context.lineWidth = Math.max(2 * this.radius * view.zoom, 1);
      context.strokeStyle = this.tool === "eraser" ? "#ef444488" : "#ffd40088";
      context.stroke();
    }
    for (const { x, y, inside } of this.points) {
      const [cx, cy] = placed(x, y);
      context.beginPath();
      context.arc(cx, cy, 5 * line, 0, 2 * Math.PI);
      context.fillStyle = inside ? "#22c55e" : "#ef4444";
      context.strokeStyle = "white";
      context.lineWidth = 2 * line;
      context.fill();
      context.stroke();
    }
  }

  /** Where an event is: on the screen, and in the image. @param {MouseEvent} event */
  place(event) {
    const box = this.canvas.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * this.canvas.width;
    const y = ((event.clientY - box.top) / box.height) * this.canvas.height;
    return { x, y, imageX: this.view.x + x / this.view.zoom, imageY: this.view.y + y / this.view.zoom };
  }

  /** @param {WheelEvent} event */
  wheel(event) {
    event.preventDefault();
    const { x, y } = this.place(event);
    this.zoomBy(STEP ** (-Math.sign(event.deltaY) * Math.min(Math.abs(event.deltaY) / 100, 2)), x, y);
  }

  listen() {
    const { canvas } = this;
    /** @type {Map<number, {x: number, y: number}>} */
    const fingers = new Map();
    let moved = 0;
    /** @type {{imageX: number, imageY: number} | null} */
    let corner = null;
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      const place = this.place(event);
      fingers.set(event.pointerId, place);
      moved = 0;
      if (this.tool !== "choose" && event.button === 0 && fingers.size === 1 && !event.altKey) {
        this.stroke = [[place.imageX, place.imageY]];
        this.draw();
        return;
      }
      this.stroke = []; // a second finger moves and enlarges
      corner = this.boxes && (event.shiftKey || this.alwaysBoxes) && fingers.size === 1 ? place : null;
    });
    canvas.addEventListener("pointermove", (event) => {
      const before = fingers.get(event.pointerId);
      const now = this.place(event);
      if (!before) {
        this.dispatchEvent(new CustomEvent("hover", { detail: now }));
        return;
      }
      const [dx, dy] = [now.x - before.x, now.y - before.y];
      moved += Math.abs(dx) + Math.abs(dy);
      if (this.stroke.length) {
        this.stroke.push([now.imageX, now.imageY]);
        this.draw();
      } else if (corner) {
        this.box = [Math.min(corner.imageX, now.imageX), Math.min(corner.imageY, now.imageY), Math.max(corner.imageX, now.imageX), Math.max(corner.imageY, now.imageY)];
        this.draw();
      } else if (fingers.size === 2) {
        const [other] = [...fingers].filter(([id]) => id !== event.pointerId).map(([, place]) => place);
        const length = (/** @type {{x: number, y: number}} */ p) => Math.hypot(p.x - other.x, p.y - other.y);
        this.zoomBy(length(now) / Math.max(length(before), 1), (now.x + other.x) / 2, (now.y + other.y) / 2);
      } else if (moved > 4) {
        this.moveBy(dx, dy);
      }
      fingers.set(event.pointerId, now);
    });
    const released = (/** @type {PointerEvent} */ event) => {
      if (!fingers.delete(event.pointerId)) return;
      const place = this.place(event);
      if (this.stroke.length) {
        const detail = { points: this.stroke, erase: this.tool === "eraser" };
        this.stroke = [];
        if (event.type === "pointerup") this.dispatchEvent(new CustomEvent("stroke", { detail }));
        this.draw();
      } else if (corner && this.box && moved > 6) this.dispatchEvent(new CustomEvent("box", { detail: this.box }));
      else if (event.type === "pointerup" && moved <= 4) {
        const outside = event.button === 2 || event.altKey;
        this.dispatchEvent(new CustomEvent("choose", { detail: { ...place, outside } }));
      }
      corner = null;
    };
    canvas.addEventListener("pointerup", released);
    canvas.addEventListener("pointercancel", released);
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  }
}
