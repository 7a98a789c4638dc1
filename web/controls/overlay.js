// What is drawn over the picture: the tiles and which of them is worked on, previews, and the region.

const LINE = "rgb(255 255 255 / 45%)";
const SHADE = "rgb(0 0 0 / 45%)";
const NOW = "#7fe0d0";

/** A rectangle of the shown picture in the view, on whole pixels so that lines are sharp. */
function box(viewport, { x, y, width, height }) {
  const a = viewport.toView(x, y);
  const b = viewport.toView(x + width, y + height);
  return [Math.round(a.x), Math.round(a.y), Math.round(b.x) - Math.round(a.x), Math.round(b.y) - Math.round(a.y)];
}

/** Outline in two tones, seen on light and on dark. */
function outline(context, rect, colour, width) {
  context.lineWidth = width + 2 * devicePixelRatio;
  context.strokeStyle = "rgb(0 0 0 / 55%)";
  context.strokeRect(...rect);
  context.lineWidth = width;
  context.strokeStyle = colour;
  context.strokeRect(...rect);
}

/** `tiles` in pixels of the shown picture; `current` is the number of the one in work, or null. */
export function drawTiles(context, viewport, tiles, current) {
  context.lineWidth = devicePixelRatio;
  context.strokeStyle = LINE;
  for (const tile of tiles) context.strokeRect(...box(viewport, tile));
  if (current === null || !tiles[current]) return;
  const rect = box(viewport, tiles[current]);
  context.fillStyle = "rgb(127 224 208 / 16%)";
  context.fillRect(...rect);
  outline(context, rect, NOW, 2 * devicePixelRatio);
}

/** From here on only what is in `rect` is drawn. */
export function clipTo(context, viewport, rect) {
  context.beginPath();
  context.rect(...box(viewport, rect));
  context.clip();
}

/** All but the region is shaded. */
export function drawRegion(context, viewport, region) {
  const whole = box(viewport, { x: 0, y: 0, ...viewport.picture });
  const rect = box(viewport, region);
  context.beginPath();
  context.rect(...whole);
  context.rect(...rect);
  context.fillStyle = SHADE;
  context.fill("evenodd");
  outline(context, rect, "#ffffff", 1.5 * devicePixelRatio);
}

/** The previews of a run, in one small picture that is laid over the shown one. */
export class Previews {
  #canvas = null;
  #scale = 1;

  /** Forget them; `size` is that of the picture they are parts of. */
  begin(size, longest = 2048) {
    this.#scale = Math.min(1, longest / Math.max(size.width, size.height));
    const side = (length) => Math.max(1, Math.round(length * this.#scale));
    this.#canvas = Object.assign(document.createElement("canvas"), {
      width: side(size.width),
      height: side(size.height),
    });
  }

  end() {
    this.#canvas = null;
  }

  /** `pixels` are RGB or RGBA of `width` × `height`, which lie at `rect` of the picture. */
  async add({ width, height, pixels }, rect) {
    const target = this.#canvas;
    if (!target) return;
    const bitmap = await createImageBitmap(new ImageData(rgba(pixels, width * height), width, height));
    const scale = this.#scale;
    target.getContext("2d").drawImage(bitmap, rect.x * scale, rect.y * scale, rect.width * scale, rect.height * scale);
    bitmap.close();
  }

  draw(context, viewport) {
    if (this.#canvas) context.drawImage(this.#canvas, ...box(viewport, { x: 0, y: 0, ...viewport.picture }));
  }
}

function rgba(pixels, count) {
  const bytes = new Uint8ClampedArray(pixels.buffer ?? pixels, pixels.byteOffset ?? 0, pixels.byteLength);
  if (bytes.length === count * 4) return bytes;
  const all = new Uint8ClampedArray(count * 4).fill(255);
  for (let i = 0; i < count; i += 1) all.set(bytes.subarray(i * 3, i * 3 + 3), i * 4);
  return all;
}
