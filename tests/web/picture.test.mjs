// Pictures on their way into the page, and in its view.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { PHONE, runThrough, sample } from "./browser.mjs";
import { asked, divider, dropColumns, exact, open, start, suite } from "./suite.mjs";

const parts = suite();
const { page } = parts;

page("a picture can be chosen before the engine is there", { worker: "late=1500" }, async (page) => {
  await page.getByRole("button", { name: /Try this cat/ }).click();
  await page.getByText("The engine is still starting; the picture is ready.").waitFor();
  assert.ok(await page.locator("two-up canvas").isVisible());
  assert.ok(await start(page).isDisabled());
  await page.locator("#run .idle .primary:enabled").waitFor();
  await page.getByText("451 × 300 to 902 × 600").waitFor();
});

page("pictures are dropped, pasted and refused", {}, async (page) => {
  const give = (kind, name, type, hex) =>
    page.evaluate(
      ([kind, name, type, hex]) => {
        const bytes = Uint8Array.from(hex.match(/../g) ?? [], (two) => parseInt(two, 16));
        const transfer = new DataTransfer();
        transfer.items.add(new File([bytes], name, { type }));
        if (kind === "drop") dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, cancelable: true }));
        else dispatchEvent(new ClipboardEvent("paste", { clipboardData: transfer, cancelable: true }));
      },
      [kind, name, type, hex],
    );
  const png = (await readFile(new URL("../fixtures/raster/rgba.png", import.meta.url))).toString("hex");
  await give("drop", "broken.png", "image/png", "00");
  await page.getByText(/cannot read broken.png/).waitFor();
  await give("drop", "scan.tif", "image/tiff", "00");
  await page.getByText(/cannot read TIFF/).waitFor();
  await give("drop", "dropped.png", "image/png", png);
  await page.getByText("dropped.png").first().waitFor();
  await give("paste", "pasted.png", "image/png", png);
  await page.locator(".picture-name", { hasText: "pasted.png" }).waitFor();
});

page("what reaches the engine are the file's pixels, upright, however large the picture", {}, async (page) => {
  /** The bands put together. */
  await page.evaluate(() => {
    globalThis.pixelsOf = async (picture) => {
      const all = new Uint8ClampedArray(picture.width * picture.height * 4);
      for await (const { x, y, width, height, pixels } of picture.bands()) {
        for (let row = 0; row < height; row += 1) {
          const part = new Uint8ClampedArray(pixels, row * width * 4, width * 4);
          all.set(part, ((y + row) * picture.width + x) * 4);
        }
      }
      return all;
    };
  });
  // Wider and higher than a piece that is read at once, with every value of a byte.
  const same = await page.evaluate(async () => {
    const { openPicture } = await import("/web/lib/picture.js");
    const [width, height] = [4200, 1100];
    const image = new ImageData(width, height);
    for (let i = 0; i < width * height; i += 1) image.data.set([i, i >> 5, i >> 9, 255], i * 4);
    const canvas = new OffscreenCanvas(width, height);
    canvas.getContext("2d").putImageData(image, 0, 0);
    const picture = await openPicture(new File([await canvas.convertToBlob()], "x.png", { type: "image/png" }));
    const read = await pixelsOf(picture);
    return read.length === image.data.length && read.every((value, i) => value === image.data[i]);
  });
  assert.equal(same, true);
  const sizes = await page.evaluate(async () => {
    const { openPicture } = await import("/web/lib/picture.js");
    const open = async (name) =>
      openPicture(new File([await (await fetch(`/tests/fixtures/raster/${name}`)).blob()], name));
    const pictures = [await open("turned_1.jpg"), await open("turned_6.jpg")];
    const pixel = async (picture, x, y) => [
      ...(await pixelsOf(picture)).subarray((y * picture.width + x) * 4).subarray(0, 3),
    ];
    const [one, six] = pictures;
    return {
      one: [one.width, one.height],
      six: [six.width, six.height],
      stored: await pixel(one, 0, one.height - 1),
      shown: await pixel(six, 0, 0),
    };
  });
  // The same stored pixels, of which the second says that the camera was turned: its first column is its top.
  assert.deepEqual(sizes.six, sizes.one.toReversed());
  assert.deepEqual(sizes.shown, sizes.stored);
});

page("before and after: divider by keys and pointer, zoom at the pointer, fit and 1:1", {}, async (page) => {
  await sample(page);
  await runThrough(page);
  const now = async () => Number(await divider(page).getAttribute("aria-valuenow"));
  await divider(page).focus();
  for (const [key, value] of [
    ["ArrowRight", 51],
    ["ArrowLeft", 50],
    ["Shift+ArrowRight", 60],
    ["PageDown", 50],
    ["Home", 0],
    ["End", 100],
    ["ArrowRight", 100],
  ]) {
    await page.keyboard.press(key);
    assert.equal(await now(), value, key);
  }
  const box = await page.locator("two-up").boundingBox();
  const at = (x, y) => [box.x + box.width * x, box.y + box.height * y];
  await page.mouse.move(...at(0.3, 0.5));
  await page.mouse.down();
  await page.mouse.move(...at(0.7, 0.5));
  await page.mouse.up();
  assert.equal(await now(), 70);
  const look = () =>
    page.evaluate(
      ([x, y]) => {
        const { viewport } = document.querySelector("two-up");
        return { ...viewport.toPicture(x, y), zoom: viewport.zoom };
      },
      [box.width * 0.25, box.height * 0.6],
    );
  const before = await look();
  await page.mouse.move(...at(0.25, 0.6));
  await page.mouse.wheel(0, -900);
  await page.waitForFunction((zoom) => document.querySelector("two-up").viewport.zoom > zoom * 2, before.zoom);
  const zoomed = await look();
  assert.ok(Math.hypot(zoomed.x - before.x, zoomed.y - before.y) < 1, "the same point is under the pointer");
  await page.getByRole("button", { name: /one pixel/ }).click();
  assert.equal((await look()).zoom, 1);
  await page.getByRole("button", { name: /Fit/ }).click();
  assert.ok(Math.abs((await look()).zoom - before.zoom) < 1e-9);
  await page.locator("two-up canvas").focus();
  await page.keyboard.press("+");
  assert.ok((await look()).zoom > before.zoom);
});

page("two fingers zoom", { hasTouch: true, isMobile: true, size: PHONE }, async (page) => {
  await sample(page);
  const before = await page.evaluate(() => document.querySelector("two-up").viewport.zoom);
  const box = await page.locator("two-up").boundingBox();
  const session = await page.context().newCDPSession(page);
  const touch = (type, apart) =>
    session.send("Input.dispatchTouchEvent", {
      type,
      touchPoints:
        type === "touchEnd"
          ? []
          : [-1, 1].map((side) => ({ x: box.x + box.width / 2 + side * apart, y: box.y + box.height / 2 })),
    });
  await touch("touchStart", 30);
  for (const apart of [40, 60, 80, 90]) await touch("touchMove", apart);
  await touch("touchEnd");
  const after = await page.evaluate(() => document.querySelector("two-up").viewport.zoom);
  assert.ok(after / before > 2 && after / before < 4, `${after / before} instead of about 3`);
});

// The browser's advice is about the test's own look at the canvas.
page("a result larger than any canvas is drawn piece by piece", { allow: [/willReadFrequently/] }, async (page) => {
  // 17 600 pixels a side. Each pixel of the picture is a grey of its own column.
  await dropColumns(
    page,
    1100,
    Array.from({ length: 200 }, (_, x) => `rgb(${x} 80 120)`),
  );
  await exact(page, "Enlarge").fill("16");
  await page.getByText("to 17600 × 17600").waitFor();
  await page.locator("#run .idle .primary:enabled").waitFor();
  await runThrough(page);
  await divider(page).focus();
  await page.keyboard.press("Home");
  await page.getByRole("button", { name: /one pixel/ }).click();
  // The middle of the view is the middle of the result: column 550 of the picture, made brighter by the stand-in.
  const expected = Math.round((550 % 200) * 1.12 + 6);
  await page.waitForFunction((red) => {
    const canvas = document.querySelector("two-up canvas");
    const [r, , , a] = canvas.getContext("2d").getImageData(canvas.width / 2 + 4, canvas.height / 2, 1, 1).data;
    return a === 255 && Math.abs(r - red) <= 1;
  }, expected);
  const rects = await asked(page, "pixels");
  assert.ok(rects.length > 0 && rects.every(({ width, height }) => width <= 2048 && height <= 2048), "no large piece");
});
