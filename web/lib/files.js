// Files to the user: a download link, and a place that the user picks where the browser can.

/** Formats that results are saved as, with what they cannot do. */
export const FORMATS = [
  { name: "png", label: "PNG, without loss", type: "image/png", extensions: [".png"] },
  { name: "jpg", label: "JPEG", type: "image/jpeg", extensions: [".jpg", ".jpeg"], most: 65_535, quality: true },
  { name: "webp", label: "WebP, without loss", type: "image/webp", extensions: [".webp"], most: 16_383 },
  { name: "tif", label: "TIFF", type: "image/tiff", extensions: [".tif", ".tiff"] },
];

/** Hand `blob` to the browser's downloads. */
export function download(blob, name) {
  const url = URL.createObjectURL(blob);
  const link = Object.assign(document.createElement("a"), { href: url, download: name });
  link.click();
  // The browser may begin to read it only after this.
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

/** A handle for the file that the user picks; null where the browser has no such dialogue, undefined if the user left it. */
export async function pickFile(name, { label, type, extensions }) {
  if (typeof globalThis.showSaveFilePicker !== "function") return null;
  try {
    return await showSaveFilePicker({
      suggestedName: name,
      types: [{ description: label, accept: { [type]: extensions } }],
    });
  } catch (error) {
    if (error.name === "AbortError") return undefined;
    throw error;
  }
}
