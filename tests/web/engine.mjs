// An engine of its own in a page, without the page: the worker as `web/README.md` describes it.

/** In the page: `file` gives a file that the server has, `compare` what two pictures differ by. */
export const startComparing = (page) =>
  page.evaluate(() => {
    /** A file that the server has, as if the user had chosen it. */
    globalThis.file = async (path) => {
      const answer = await fetch(new URL(path, document.baseURI));
      return new File([await answer.blob()], path.split("/").at(-1), { lastModified: 1 });
    };
    /** How two pictures differ: the share of pixels that are within a level in each channel, and the PSNR in dB. */
    globalThis.compare = async (blob, path) => {
      const levels = async (source) => {
        const bitmap = await createImageBitmap(source, { colorSpaceConversion: "none" });
        const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
        context.drawImage(bitmap, 0, 0);
        return context.getImageData(0, 0, bitmap.width, bitmap.height);
      };
      const [a, b] = [await levels(blob), await levels(await file(path))];
      if (a.width !== b.width || a.height !== b.height)
        throw new Error(`${a.width} × ${a.height}, not ${b.width} × ${b.height}`);
      let [near, squares, count] = [0, 0, 0];
      for (let i = 0; i < a.data.length; i += 4) {
        const off = [0, 1, 2].map((channel) => Math.abs(a.data[i + channel] - b.data[i + channel]));
        near += Math.max(...off) <= 1;
        squares += off[0] ** 2 + off[1] ** 2 + off[2] ** 2;
        count += 1;
      }
      // Two pictures that are equal are not infinitely so, for JSON's sake.
      const psnr = squares === 0 ? 999 : 10 * Math.log10((255 ** 2 * 3 * count) / squares);
      return { near: near / count, psnr };
    };
  });

/** In the page: `ask(name, argument)` of a worker of our own, which notes events in `heard`; `before` is a module that it runs before the engine. */
export async function startEngine(page, { before = null } = {}) {
  await startComparing(page);
  await page.evaluate((before) => {
    // As the page starts it: bound by the page's policy.
    const modules = [before, "web/worker.js"].filter(Boolean).map((path) => new URL(path, document.baseURI).href);
    const code = modules.map((module) => `import ${JSON.stringify(module)};`).join("\n");
    const url = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
    const worker = new Worker(url, { type: "module" });
    globalThis.endEngine = () => worker.terminate();
    const pending = new Map();
    let next = 0;
    globalThis.heard = [];
    worker.addEventListener("message", ({ data }) => {
      if (data.event) {
        heard.push(data.event);
        return;
      }
      const { resolve, reject } = pending.get(data.id);
      pending.delete(data.id);
      if ("error" in data) reject(new Error(data.error));
      else resolve(data.value);
    });
    worker.addEventListener("error", (event) =>
      pending.forEach(({ reject }) => reject(new Error(`the worker died: ${event.message}`))),
    );
    globalThis.ask = (name, ...args) =>
      new Promise((resolve, reject) => {
        pending.set(next, { resolve, reject });
        worker.postMessage({ id: next++, name, args });
      });
    /** The pixels of a picture that the server has. */
    globalThis.picture = async (path) => {
      const bitmap = await createImageBitmap(await file(path), { colorSpaceConversion: "none" });
      const { width, height } = bitmap;
      const context = new OffscreenCanvas(width, height).getContext("2d");
      context.drawImage(bitmap, 0, 0);
      return { width, height, pixels: context.getImageData(0, 0, width, height).data.buffer };
    };
    /** Run on a picture that the server has; what the engine answers, and the file that it is saved as. */
    globalThis.enlarge = async (path, wanted, format = "png") => {
      const whole = { settings: {}, seed: 7, region: null, noise: null, tilePrompts: "" };
      const done = await ask("upscale", { ...(await picture(path)), ...whole, ...wanted });
      const { blob } = await ask("save", { format, quality: 95, file: null });
      return { ...done, blob };
    };
    /** What `models` takes: the enlarger alone, but for what is given. */
    globalThis.choose = (given) =>
      ask("models", {
        upscaler: "lite",
        checkpoint: null,
        controlnet: null,
        vae: null,
        loras: [],
        embeddings: [],
        ...given,
      });
  }, before);
}
