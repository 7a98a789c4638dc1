// <two-up>: a picture, or two of them in one frame with a divider; zoomed and moved by wheel, pinch, drag and keys.
import { h, show } from "../lib/dom.js";
import { gestures } from "../lib/gestures.js";
import { Viewport } from "../lib/viewport.js";

/** CSS pixels around the divider in which a drag takes it even when the picture is zoomed. */
const REACH = 22;
/** Per cent that an arrow key moves the divider, and with Shift or by Page Up and Page Down. */
const STEP = 1;
const STRIDE = 10;
/** Device pixels that an arrow key moves the picture, and how much + and − zoom. */
const MOVE = 80;
const ZOOM = 1.5;

/** Tells by `view` of another zoom, by `region` (detail: a rectangle, and whether it is done) of a box being dragged. */
export class TwoUp extends HTMLElement {
  viewport = new Viewport();
  /** Draws over the picture: `(context, viewport)`. */
  overlay = null;
  #canvas = h("canvas", { tabindex: 0, role: "img" });
  #handle = h("div", {
    class: "divider",
    role: "slider",
    tabindex: 0,
    "aria-label": "Divider between before and after",
    "aria-valuemin": 0,
    "aria-valuemax": 100,
    "aria-orientation": "horizontal",
  });
  #labels = [h("span", { class: "side before" }, "Before"), h("span", { class: "side after" }, "After")];
  #before = null;
  #after = null;
  #divider = 0.5;
  #drawing = false;
  #mode = "look";
  #dragged = null;
  #fitted = true;

  connectedCallback() {
    if (this.#canvas.isConnected) return;
    this.append(this.#canvas, ...this.#labels, this.#handle);
    this.#listen();
    new ResizeObserver(() => this.#resize()).observe(this);
    this.divider = 0.5;
    this.redraw();
  }

  /** Show `before`, or `before` and `after` in one frame; both fill the frame of the latter. Keeps the view if asked. */
  show({ before, after = null, label }) {
    if (this.#after && this.#after !== after) this.#after.close();
    this.#before = before;
    this.#after = after;
    const { width, height } = after ?? before;
    this.viewport.picture = { width, height };
    this.#canvas.setAttribute("aria-label", label);
    for (const element of [this.#handle, ...this.#labels]) show(element, after !== null);
    this.divider = 0.5;
    this.fit();
  }

  /** "look", or "region": then a drag draws a box. */
  set mode(mode) {
    this.#mode = mode;
    this.dataset.mode = mode;
  }

  /** The share of the frame that is before. */
  set divider(share) {
    this.#divider = Math.min(1, Math.max(0, share));
    const per = Math.round(this.#divider * 100);
    this.style.setProperty("--divider", `${this.#divider * 100}%`);
    this.#handle.setAttribute("aria-valuenow", per);
    this.#handle.setAttribute("aria-valuetext", `${per} % before, ${100 - per} % after`);
    this.#labels[0].classList.toggle("faded", this.#divider < 0.12);
    this.#labels[1].classList.toggle("faded", this.#divider > 0.88);
    this.redraw();
  }

  get divider() {
    return this.#divider;
  }

  fit() {
    this.viewport.fit();
    this.#moved();
  }

  /** One picture pixel for one of the screen. */
  actualSize() {
    this.viewport.zoomTo(1);
    this.#moved();
  }

  zoomBy(factor) {
    this.viewport.zoomTo(this.viewport.zoom * factor);
    this.#moved();
  }

  redraw() {
    if (this.#drawing) return;
    this.#drawing = true;
    requestAnimationFrame(() => {
      this.#drawing = false;
      this.#draw();
    });
  }

  #moved() {
    this.#fitted = this.viewport.whole;
    this.toggleAttribute("data-zoomed", !this.#fitted);
    this.dispatchEvent(new Event("view"));
    this.redraw();
  }

  #resize() {
    const { width, height } = this.getBoundingClientRect();
    if (width === 0 || height === 0) return;
    const device = { width: Math.round(width * devicePixelRatio), height: Math.round(height * devicePixelRatio) };
    Object.assign(this.#canvas, device);
    this.viewport.view = device;
    // What was seen whole stays so; else the middle stays.
    if (this.#fitted) this.viewport.fit();
    this.viewport.clamp();
    this.#moved();
  }

  #draw() {
    const context = this.#canvas.getContext("2d");
    context.clearRect(0, 0, this.#canvas.width, this.#canvas.height);
    if (!this.#before) return;
    const { viewport } = this;
    const from = viewport.visible;
    if (from.width <= 0 || from.height <= 0) return;
    const corner = viewport.toView(from.x, from.y);
    const to = { ...corner, width: from.width * viewport.zoom, height: from.height * viewport.zoom };
    this.#paint(context, this.#before, from, to);
    if (this.#after) {
      const split = this.#divider * this.#canvas.width;
      context.save();
      context.beginPath();
      context.rect(split, 0, this.#canvas.width - split, this.#canvas.height);
      context.clip();
      context.clearRect(split, 0, this.#canvas.width - split, this.#canvas.height);
      this.#paint(context, this.#after, from, to);
      context.restore();
    }
    this.overlay?.(context, viewport);
  }

  /** `from` is in the frame's pixels; a source may have fewer for the same. */
  #paint(context, source, from, to) {
    const x = source.width / this.viewport.picture.width;
    const y = source.height / this.viewport.picture.height;
    source.draw(context, { x: from.x * x, y: from.y * y, width: from.width * x, height: from.height * y }, to);
  }

  #listen() {
    gestures(this.#canvas, {
      zoom: (x, y, factor) => {
        this.viewport.zoomAt(x, y, factor);
        this.#moved();
      },
      pan: (dx, dy) => {
        this.viewport.pan(dx, dy);
        this.#moved();
      },
      drag: {
        start: (point) => this.#dragStart(point),
        move: (point) => this.#drag(point, false),
        end: (point) => this.#drag(point, true),
      },
    });
    // The handle itself: the drag goes on wherever the pointer is.
    this.#handle.addEventListener("pointerdown", (event) => {
      if (event.button === 0) this.#handle.setPointerCapture(event.pointerId);
    });
    this.#handle.addEventListener("pointermove", (event) => {
      if (!this.#handle.hasPointerCapture(event.pointerId)) return;
      const box = this.getBoundingClientRect();
      this.divider = (event.clientX - box.left) / box.width;
    });
    this.#handle.addEventListener("keydown", (event) => this.#slide(event));
    this.#canvas.addEventListener("keydown", (event) => this.#key(event));
  }

  #dragStart(point) {
    if (this.#mode === "region") {
      this.#dragged = { kind: "region", from: this.viewport.toPicture(point.x, point.y) };
      return true;
    }
    const near = Math.abs(point.x - this.#divider * this.#canvas.width) < REACH * devicePixelRatio;
    if (!this.#after || !(near || this.#fitted)) return false;
    this.#dragged = { kind: "divider" };
    this.#drag(point, false);
    return true;
  }

  #drag(point, done) {
    if (this.#dragged?.kind === "divider") {
      this.divider = point.x / this.#canvas.width;
    } else if (this.#dragged) {
      const { from } = this.#dragged;
      const to = this.viewport.toPicture(point.x, point.y);
      const rect = {
        left: Math.min(from.x, to.x),
        top: Math.min(from.y, to.y),
        right: Math.max(from.x, to.x),
        bottom: Math.max(from.y, to.y),
      };
      this.dispatchEvent(new CustomEvent("region", { detail: { rect, done } }));
    }
    if (done) this.#dragged = null;
  }

  #slide(event) {
    const steps = {
      ArrowLeft: -STEP,
      ArrowDown: -STEP,
      ArrowRight: STEP,
      ArrowUp: STEP,
      PageDown: -STRIDE,
      PageUp: STRIDE,
      Home: -100,
      End: 100,
    };
    const step = steps[event.key];
    if (step === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    const wide = event.shiftKey && Math.abs(step) === STEP ? STRIDE : 1;
    this.divider = (Math.round(this.#divider * 100) + step * wide) / 100;
  }

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const keys = {
      "+": () => this.zoomBy(ZOOM),
      "=": () => this.zoomBy(ZOOM),
      "-": () => this.zoomBy(1 / ZOOM),
      0: () => this.fit(),
      1: () => this.actualSize(),
      ArrowLeft: () => this.#pan(MOVE, 0),
      ArrowRight: () => this.#pan(-MOVE, 0),
      ArrowUp: () => this.#pan(0, MOVE),
      ArrowDown: () => this.#pan(0, -MOVE),
    };
    if (!keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  }

  #pan(dx, dy) {
    this.viewport.pan(dx, dy);
    this.#moved();
  }
}

customElements.define("two-up", TwoUp);
