// What a view draws: pictures in this page, and results that stay with the worker and come piece by piece.
import { canvas } from "./picture.js";

/** A decoded picture, or the part `part` of it. */
export class BitmapSource {
  #picture;
  #part;

  constructor(picture, part = { x: 0, y: 0, width: picture.width, height: picture.height }) {
    this.#picture = picture;
    this.#part = part;
    this.width = part.width;
    this.height = part.height;
  }

  /** Draw the part `from` of this source into `to` of the view. */
  draw(context, from, to) {
    const { bitmap, reduced, width } = this.#picture;
    const { x, y } = this.#part;
    const zoom = to.width / from.width;
    const small = reduced && zoom <= reduced.width / width;
    const scale = small ? reduced.width / width : 1;
    // Single pixels are seen as such only from very near.
    context.imageSmoothingEnabled = zoom < 12;
    context.imageSmoothingQuality = "high";
    context.drawImage(
      small ? reduced : bitmap,
      (from.x + x) * scale,
      (from.y + y) * scale,
      from.width * scale,
      from.height * scale,
      to.x,
      to.y,
      to.width,
      to.height,
    );
  }

  close() {}
}

/** Side of a piece in the pixels it has here. */
const PIECE = 512;
/** Side of what is asked for at once, in pixels of the result: the worker is free again soon. */
const ASKED = 2048;
/** Pieces kept, 1 MB each. */
const KEPT = 96;
/** Pieces asked for at once; what is no longer seen by then is not asked for. */
const AT_ONCE = 2;

/** The worker's last result. `ask(rect)` gives RGBA of `{ x, y, width, height, scale }`, each side divided by `scale` (rounded up). */
export class ResultSource {
  #ask;
  #pieces = new Map();
  #wanted = [];
  #running = new Set();
  #closed = false;

  constructor({ width, height }, ask, onchange) {
    Object.assign(this, { width, height, onchange });
    this.#ask = ask;
  }

  draw(context, from, to) {
    const zoom = to.width / from.width;
    const level = this.#level(zoom);
    context.imageSmoothingEnabled = zoom < 12;
    context.imageSmoothingQuality = "high";
    this.#wanted = [];
    // The coarsest first, so that there is always something, and under it what is sharper.
    const coarsest = this.#level(0);
    for (let at = coarsest; at >= level; at /= 2) {
      for (const piece of this.#inside(from, at)) {
        const kept = this.#pieces.get(piece.key);
        if (kept) {
          this.#touch(piece.key, kept);
          const x = to.x + (piece.x - from.x) * zoom;
          const y = to.y + (piece.y - from.y) * zoom;
          context.drawImage(kept, x, y, piece.width * zoom, piece.height * zoom);
        } else if (at === level || at === coarsest) {
          this.#wanted.push(piece);
        }
      }
    }
    this.#go();
  }

  /** Whether all that was drawn last was there at its full sharpness. */
  get complete() {
    return this.#wanted.length === 0 && this.#running.size === 0;
  }

  close() {
    this.#closed = true;
    for (const bitmap of this.#pieces.values()) bitmap.close();
    this.#pieces.clear();
    this.#wanted = [];
  }

  /** By how much pieces for this zoom are reduced: a power of two, at most what shows the whole in one piece. */
  #level(zoom) {
    let level = 1;
    const longer = Math.max(this.width, this.height);
    while (level * PIECE < longer && level * 2 * zoom <= 1) level *= 2;
    return level;
  }

  #inside(rect, level) {
    const side = PIECE * level;
    const pieces = [];
    for (let y = Math.floor(rect.y / side) * side; y < Math.min(rect.y + rect.height, this.height); y += side) {
      for (let x = Math.floor(rect.x / side) * side; x < Math.min(rect.x + rect.width, this.width); x += side) {
        const [width, height] = [Math.min(side, this.width - x), Math.min(side, this.height - y)];
        pieces.push({ key: `${level}:${x}:${y}`, level, x, y, width, height });
      }
    }
    return pieces;
  }

  #touch(key, bitmap) {
    this.#pieces.delete(key);
    this.#pieces.set(key, bitmap);
  }

  #go() {
    while (this.#running.size < AT_ONCE) {
      const piece = this.#wanted.find(({ key }) => !this.#running.has(key));
      if (!piece || this.#closed) return;
      this.#wanted = this.#wanted.filter((one) => one !== piece);
      this.#running.add(piece.key);
      this.#fetch(piece).then(
        (bitmap) => this.#arrived(piece.key, bitmap),
        // A worker that died or has another result by now; whoever asked for that tells the user.
        () => this.#running.delete(piece.key),
      );
    }
  }

  #arrived(key, bitmap) {
    this.#running.delete(key);
    if (this.#closed) {
      bitmap.close();
      return;
    }
    this.#pieces.set(key, bitmap);
    for (const [old, kept] of this.#pieces) {
      if (this.#pieces.size <= KEPT) break;
      kept.close();
      this.#pieces.delete(old);
    }
    this.onchange();
  }

  async #fetch(piece) {
    const { level } = piece;
    const small = (length) => Math.ceil(length / level);
    const target = canvas({ width: small(piece.width), height: small(piece.height) });
    const context = target.getContext("2d");
    context.imageSmoothingQuality = "high";
    for (let y = 0; y < piece.height; y += ASKED) {
      for (let x = 0; x < piece.width; x += ASKED) {
        const [width, height] = [Math.min(ASKED, piece.width - x), Math.min(ASKED, piece.height - y)];
        const data = await this.#ask({ x: piece.x + x, y: piece.y + y, width, height, scale: level });
        const pixels = new ImageData(new Uint8ClampedArray(data), small(width), small(height));
        const bitmap = await createImageBitmap(pixels);
        context.drawImage(bitmap, x / level, y / level, width / level, height / level);
        bitmap.close();
      }
    }
    return createImageBitmap(target);
  }
}
