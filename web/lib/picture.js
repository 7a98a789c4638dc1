// A picture of the user's: decoded by the browser, read back in bands.
import { size } from "./text.js";

/** Bytes of an ArrayBuffer that every browser can make. */
const MOST_BYTES = 2 ** 31 - 1;
/** Pixels of a canvas through which a picture is read: far below what any browser or phone allows. */
const PIECE = { width: 4096, height: 1024 };
/** Longer side of the copy that is shown when a picture is seen from afar. */
const REDUCED = 2048;

/** Decode `file`; throws with a sentence for the user. */
export async function openPicture(file) {
  let bitmap;
  try {
    bitmap = await decode(file);
  } catch {
    throw new Error(refusal(file));
  }
  const picture = new Picture(file, bitmap);
  if (bitmap.width * bitmap.height * 4 > MOST_BYTES) {
    bitmap.close();
    throw new Error(
      `${file.name} is ${size(bitmap)} pixels, more than a page can hold (about 536 million). The program has no such limit.`,
    );
  }
  await picture.reduce();
  return picture;
}

/** Values as they are in the file, turned as the camera was held. */
async function decode(file) {
  try {
    return await createImageBitmap(file, { colorSpaceConversion: "none", imageOrientation: "from-image" });
  } catch (error) {
    // Older browsers know no such options and say so by a TypeError; a picture they cannot read is another error.
    if (error instanceof TypeError) return createImageBitmap(file);
    throw error;
  }
}

function refusal({ name, type, size: length }) {
  if (length === 0) return `${name} is empty.`;
  if (/tiff?$/i.test(type) || /\.tiff?$/i.test(name)) {
    return `This browser cannot read TIFF. Save ${name} as PNG, or use the program, which reads it.`;
  }
  if (/hei[cf]/i.test(type) || /\.hei[cf]$/i.test(name)) {
    return `This browser cannot read HEIC. Save ${name} as JPEG or PNG first.`;
  }
  if (type && !type.startsWith("image/")) return `${name} is no picture (${type}).`;
  return `The browser cannot read ${name}: it is no picture, damaged, or too large for it (many stop at 16384 × 16384 pixels). PNG, JPEG and WebP work.`;
}

export class Picture {
  constructor(file, bitmap) {
    this.file = file;
    this.name = file.name || "pasted.png";
    this.bytes = file.size;
    this.bitmap = bitmap;
    this.width = bitmap.width;
    this.height = bitmap.height;
    this.reduced = null;
  }

  /** Make the copy that is shown from afar. */
  async reduce() {
    const factor = REDUCED / Math.max(this.width, this.height);
    if (factor >= 1) return;
    const side = (length) => Math.max(1, Math.round(length * factor));
    const options = { resizeWidth: side(this.width), resizeHeight: side(this.height), resizeQuality: "high" };
    this.reduced = await createImageBitmap(this.bitmap, options);
  }

  close() {
    this.bitmap.close();
    this.reduced?.close();
  }

  /**
   * Its parts `{ x, y, width, height, pixels }`, RGBA of 8 bits in an ArrayBuffer; each pixel is in one of them. They are read
   * from the bitmap that is shown: to decode the file in the worker would decode all of it for every part.
   */
  async *bands() {
    const { width, height } = this;
    const piece = { width: Math.min(PIECE.width, width), height: Math.min(PIECE.height, height) };
    const context = canvas(piece).getContext("2d", { willReadFrequently: true });
    for (let y = 0; y < height; y += piece.height) {
      for (let x = 0; x < width; x += piece.width) {
        const [w, h] = [Math.min(piece.width, width - x), Math.min(piece.height, height - y)];
        context.clearRect(0, 0, piece.width, piece.height);
        context.drawImage(this.bitmap, x, y, w, h, 0, 0, w, h);
        const { data } = context.getImageData(0, 0, w, h, { colorSpace: "srgb" });
        yield { x, y, width: w, height: h, pixels: data.buffer };
      }
      // The page stays usable in between.
      await new Promise((resolve) => setTimeout(resolve));
    }
  }
}

/** Off the document where there is such a thing. */
export function canvas({ width, height }) {
  if (typeof OffscreenCanvas === "function") return new OffscreenCanvas(width, height);
  return Object.assign(document.createElement("canvas"), { width, height });
}
