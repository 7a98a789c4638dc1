// The page in Chromium, with the stand-in for the engine: from choosing a picture to saving the result.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, before, test } from "node:test";
import { PHONE, launch, overflows, runThrough, sample, visit, violations } from "./browser.mjs";
import { describe } from "./describe.mjs";
import { FOLDER, serve } from "./server.mjs";

let server;
let browser;
before(async () => {
  server = await serve();
  browser = await launch();
});
after(async () => {
  await browser.close();
  server.close();
});

/** A test of the page; whatever it does, nothing may be complained of, and nothing wider than the window. */
function page(name, options, act) {
  test(name, { timeout: 60_000 }, async () => {
    const { page, complaints, close } = await visit(browser, server, options);
    try {
      await act(page);
      assert.equal(await overflows(page), false, "something is wider than the window");
      assert.deepEqual(complaints, []);
    } finally {
      await close();
    }
  });
}

const start = (page) => page.locator("#run .idle .primary");
const slider = (page, name) => page.getByRole("slider", { name, exact: true });
const exact = (page, name) => page.getByLabel(`${name}, exact value`);
const open = (page, name) => page.locator("details > summary", { hasText: name }).click();
const asked = async (page, name) => (await page.workers()[0].evaluate(() => self.asked)).filter((one) => one.name === name).map(({ args }) => args[0]);
const weights = (name) => ({ name, mimeType: "application/octet-stream", buffer: Buffer.alloc(1000) });
const divider = (page) => page.getByRole("slider", { name: /Divider/ });

async function chooseModels(page, checkpoint = "sd15.safetensors") {
  await open(page, "Models");
  await page.getByLabel("Choose: Checkpoint").setInputFiles(weights(checkpoint));
  await page.getByLabel("Choose: Tile ControlNet").setInputFiles(weights("tile.safetensors"));
}

page("every setting of the engine is in the form, also one that the page never heard of", {}, async (page) => {
  const description = describe();
  description.fields.push({ name: "future_knob", option: "--future-knob", kind: "number", default: "0.5", range: [0, 1], choices: [], help: "Comes later." });
  server.description = description;
  await page.reload();
  await page.locator(".field[data-name=upscale_factor]").waitFor();
  delete server.description;
  await open(page, "All settings");
  const names = await page.locator(".field[data-name]").evaluateAll((all) => all.map((one) => one.dataset.name));
  assert.deepEqual([...names].sort(), description.fields.map(({ name }) => name).sort());
  for (const { name, kind, help, choices } of description.fields) {
    const field = page.locator(`.field[data-name=${name}]`);
    assert.equal(await field.locator(".help").textContent(), help);
    const control = { integer: "spinbutton", number: "spinbutton", text: "textbox", switch: "switch" }[kind];
    if (control) assert.equal(await field.getByRole(control).count(), 1, name);
    else assert.equal(await field.locator("option, [type=radio]").count(), choices.length, name);
  }
  assert.ok(await page.locator(".group", { hasText: "More" }).locator("[data-name=future_knob]").isVisible());
});

page("a slider goes by keys; the value is exact, kept and can be taken back", {}, async (page) => {
  const creativity = slider(page, "Creativity");
  await creativity.focus();
  await page.keyboard.press("ArrowRight");
  assert.equal(await exact(page, "Creativity").inputValue(), "0.36");
  await page.keyboard.press("End");
  assert.equal(await exact(page, "Creativity").inputValue(), "1");
  await exact(page, "Creativity").fill("0.4567");
  await page.reload();
  await creativity.waitFor();
  assert.equal(await exact(page, "Creativity").inputValue(), "0.4567");
  assert.deepEqual(await page.evaluate(() => JSON.parse(localStorage.getItem("clarifier.settings")).settings), { denoise_strength: 0.4567 });
  await page.getByRole("button", { name: "Reset Creativity to 0.35" }).click();
  assert.equal(await exact(page, "Creativity").inputValue(), "0.35");
  // Beyond the slider's end the number goes on; beyond the setting's it does not.
  await exact(page, "Enlarge").fill("12.5");
  assert.equal(await slider(page, "Enlarge").inputValue(), "8");
  await exact(page, "Enlarge").fill("17");
  await page.getByText("is out of range; it goes from 1 to 16").waitFor();
  await exact(page, "Enlarge").press("Tab");
  assert.equal(await exact(page, "Enlarge").inputValue(), "12.5");
});

page("help is behind a button that the keyboard reaches", {}, async (page) => {
  await open(page, "All settings");
  const about = page.getByRole("button", { name: "About Sampler" });
  await about.focus();
  await page.keyboard.press("Enter");
  assert.equal(await about.getAttribute("aria-expanded"), "true");
  assert.ok(await page.getByText(/^The sampler; dpmsolver is/).isVisible());
});

page("settings are found by words of their names, help and choices", {}, async (page) => {
  await open(page, "All settings");
  const visible = () => page.locator("#all-settings .field:visible").evaluateAll((all) => all.map((one) => one.dataset.name));
  await page.getByLabel("Find a setting").fill("karras");
  assert.deepEqual(await visible(), ["solver", "schedule"]);
  await page.getByLabel("Find a setting").fill("nothing has this");
  assert.deepEqual(await visible(), []);
  await page.getByText("No setting has these words.").waitFor();
  await page.getByLabel("Find a setting").fill("");
  assert.ok((await visible()).length > 20);
});

page("a preset is applied whole, and undone", {}, async (page) => {
  await exact(page, "Dynamic").fill("9");
  await page.getByLabel("Start from").selectOption("clarifier");
  assert.equal(await exact(page, "Enlarge").inputValue(), "4");
  assert.equal(await exact(page, "Dynamic").inputValue(), "8");
  await page.getByText(/As the Clarifier script does it/).waitFor();
  await page.getByLabel("Start from").selectOption("clarity");
  await open(page, "All settings");
  // Another program's name of a sampler, which the engine understands.
  assert.equal(await page.locator("[data-name=solver] select").inputValue(), "DPM++ 3M SDE Karras");
  await page.getByRole("button", { name: "Undo" }).click();
  assert.equal(await page.locator("[data-name=solver] select").inputValue(), "ddim");
  await page.getByRole("button", { name: "Reset all" }).click();
  assert.equal(await exact(page, "Dynamic").inputValue(), "6");
});

page("settings travel as JSON and as a command line", { permissions: ["clipboard-read", "clipboard-write"] }, async (page) => {
  await sample(page);
  await page.getByRole("textbox", { name: "Prompt", exact: true }).fill("it's a \"harbour\"");
  await open(page, "Save, share");
  await page.getByRole("button", { name: "Copy as command line" }).click();
  await page.getByText("The command line is in the clipboard.").waitFor();
  const line = await page.evaluate(() => navigator.clipboard.readText());
  assert.equal(line, "clarifier upscale cat.png --prompt 'it'\\''s a \"harbour\"' --upscaler lite --no-diffusion");
  const json = page.getByLabel("As JSON");
  assert.deepEqual(JSON.parse(await json.inputValue()), { prompt: "it's a \"harbour\"" });
  await json.fill('{"upscale_factor": 3, "tile_jitter": true}');
  await page.getByRole("button", { name: "Use what is written" }).click();
  assert.equal(await exact(page, "Enlarge").inputValue(), "3");
  // What is not named is at its default again.
  assert.equal(await page.getByRole("textbox", { name: "Prompt", exact: true }).inputValue(), "masterpiece, best quality, highres");
  await page.getByLabel("Open a file of settings").setInputFiles({ name: "s.json", mimeType: "application/json", buffer: Buffer.from('{"strenght": 1}') });
  await page.getByText('There is no setting "strenght".').waitFor();
  assert.equal(await exact(page, "Enlarge").inputValue(), "3");
  await page.evaluate(() => navigator.clipboard.writeText('{"upscale_factor": 5}'));
  await page.getByRole("button", { name: "Paste" }).click();
  await page.waitForFunction(() => document.querySelector("[data-name=upscale_factor] .exact").value === "5");
  const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "Save …" }).click()]);
  assert.equal(download.suggestedFilename(), "clarifier-settings.json");
  assert.deepEqual(JSON.parse(await readFile(await download.path(), "utf8")), { upscale_factor: 5 });
});

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
    page.evaluate(([kind, name, type, hex]) => {
      const bytes = Uint8Array.from(hex.match(/../g) ?? [], (two) => parseInt(two, 16));
      const transfer = new DataTransfer();
      transfer.items.add(new File([bytes], name, { type }));
      if (kind === "drop") dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, cancelable: true }));
      else dispatchEvent(new ClipboardEvent("paste", { clipboardData: transfer, cancelable: true }));
    }, [kind, name, type, hex]);
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
  // Wider and higher than a piece that is read at once, with every value of a byte.
  const same = await page.evaluate(async () => {
    const { openPicture } = await import("/web/lib/picture.js");
    const [width, height] = [4200, 1100];
    const image = new ImageData(width, height);
    for (let i = 0; i < width * height; i += 1) image.data.set([i, i >> 5, i >> 9, 255], i * 4);
    const canvas = new OffscreenCanvas(width, height);
    canvas.getContext("2d").putImageData(image, 0, 0);
    const picture = await openPicture(new File([await canvas.convertToBlob()], "x.png", { type: "image/png" }));
    const read = new Uint8ClampedArray(await picture.pixels());
    return read.length === image.data.length && read.every((value, i) => value === image.data[i]);
  });
  assert.equal(same, true);
  const sizes = await page.evaluate(async () => {
    const { openPicture } = await import("/web/lib/picture.js");
    const open = async (name) => openPicture(new File([await (await fetch(`/tests/fixtures/raster/${name}`)).blob()], name));
    const pictures = [await open("turned_1.jpg"), await open("turned_6.jpg")];
    const pixel = async (picture, x, y) => [...new Uint8Array(await picture.pixels(), (y * picture.width + x) * 4, 3)];
    const [one, six] = pictures;
    return { one: [one.width, one.height], six: [six.width, six.height], stored: await pixel(one, 0, one.height - 1), shown: await pixel(six, 0, 0) };
  });
  // The same stored pixels, of which the second says that the camera was turned: its first column is its top.
  assert.deepEqual(sizes.six, sizes.one.toReversed());
  assert.deepEqual(sizes.shown, sizes.stored);
});

page("a run shows its plan, its progress and its result, and is saved", { worker: "pace=200" }, async (page) => {
  await sample(page);
  await page.getByText("451 × 300 to 902 × 600: about 2 s, 180 MB of memory").waitFor();
  await chooseModels(page);
  await page.getByText("redrawing with Stable Diffusion").waitFor();
  await page.getByText("451 × 300 to 902 × 600, redrawn").waitFor();
  await exact(page, "Creativity").fill("0.5");
  await start(page).click();
  await page.getByText(/Redrawing, to 902 × 600/).waitFor();
  await page.waitForFunction(() => /^[1-9]\d? % · Clarifier$/.test(document.title));
  await page.locator(".progress-row", { hasText: "Step" }).getByText(/^[2-9] of 9$/).waitFor();
  assert.ok(await page.getByRole("progressbar", { name: "Whole run" }).isVisible());
  assert.equal(await page.getByRole("button", { name: "Another picture" }).isVisible(), false);
  await page.locator("#result:visible").waitFor();
  assert.equal(await page.title(), "Done · Clarifier");
  const [job] = await asked(page, "upscale");
  assert.deepEqual([job.width, job.height, job.seed, job.region, job.noise, job.tilePrompts], [451, 300, -1, null, null, ""]);
  assert.equal(Object.keys(job.settings).length, describe().fields.length);
  assert.equal(job.settings.denoise_strength, 0.5);
  await page.getByRole("button", { name: "Keep seed 424242" }).click();
  assert.equal(await page.locator("[data-name=seed] input").inputValue(), "424242");
  // No file dialogue in a headless browser: the link is the way.
  await page.evaluate(() => delete globalThis.showSaveFilePicker);
  await page.getByLabel("Format").selectOption("jpg");
  await page.getByLabel("Quality").fill("80");
  const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "Save", exact: true }).click()]);
  assert.equal(download.suggestedFilename(), "cat_2x.jpg");
  assert.equal(await readFile(await download.path(), "utf8"), "jpg 80 902x600");
});

page("previews appear where their tiles are, and the tile in work is marked", { worker: "pace=500", allow: [/willReadFrequently/] }, async (page) => {
  await page.evaluate(async () => {
    const canvas = new OffscreenCanvas(600, 600);
    const context = canvas.getContext("2d");
    context.fillStyle = "rgb(100 100 100)";
    context.fillRect(0, 0, 600, 600);
    const transfer = new DataTransfer();
    transfer.items.add(new File([await canvas.convertToBlob()], "grey.png", { type: "image/png" }));
    dispatchEvent(new DragEvent("drop", { dataTransfer: transfer }));
  });
  await chooseModels(page);
  await open(page, "All settings");
  await exact(page, "Tile width").fill("80");
  await exact(page, "Tile height").fill("80");
  await page.getByText("1200 × 1200, redrawn").waitFor();
  await start(page).click();
  // What is in the view at a point of the picture.
  const shown = (x, y) => page.evaluate(([x, y]) => {
    const view = document.querySelector("two-up");
    const at = view.viewport.toView(x, y);
    return [...view.querySelector("canvas").getContext("2d").getImageData(at.x, at.y, 1, 1).data];
  }, [x, y]);
  // The first of four tiles, 320 pixels of the picture a side, is done; the second is in work.
  await page.locator(".progress-row", { hasText: "Tile" }).getByText("1 of 4").waitFor();
  await page.waitForFunction(() => /Redrawing/.test(document.querySelector(".busy .plan").textContent));
  await page.waitForTimeout(100);
  const [done, inWork, untouched] = [await shown(150, 150), await shown(450, 150), await shown(450, 450)];
  assert.deepEqual(done, [118, 118, 118, 255]);
  assert.ok(inWork[1] > inWork[0] + 5, `the mark's green on ${inWork}`);
  assert.deepEqual(untouched, [100, 100, 100, 255]);
  await page.getByRole("button", { name: "Cancel" }).click();
  await page.getByText(/^Cancelled/).waitFor();
});

page("where the browser has a file dialogue, the engine gets its handle", {}, async (page) => {
  await sample(page);
  await runThrough(page);
  // What the dialogue gives can be handed to a worker; any file of the page's own storage stands for it.
  await page.evaluate(() => {
    globalThis.showSaveFilePicker = async ({ suggestedName }) => {
      globalThis.suggested = suggestedName;
      return (await navigator.storage.getDirectory()).getFileHandle("out.png", { create: true });
    };
  });
  await page.getByRole("button", { name: "Save", exact: true }).click();
  await page.getByText("Saved as out.png, 12.3 kB.").waitFor();
  assert.equal(await page.evaluate(() => globalThis.suggested), "cat_2x.png");
  // Leaving the dialogue is no error.
  await page.evaluate(() => {
    globalThis.showSaveFilePicker = async () => {
      throw new DOMException("left", "AbortError");
    };
  });
  await page.getByRole("button", { name: "Save", exact: true }).click();
  await page.waitForTimeout(200);
  assert.equal(await page.locator(".notice").count(), 0);
});

page("before and after: divider by keys and pointer, zoom at the pointer, fit and 1:1", {}, async (page) => {
  await sample(page);
  await runThrough(page);
  const now = async () => Number(await divider(page).getAttribute("aria-valuenow"));
  await divider(page).focus();
  for (const [key, value] of [["ArrowRight", 51], ["ArrowLeft", 50], ["Shift+ArrowRight", 60], ["PageDown", 50], ["Home", 0], ["End", 100], ["ArrowRight", 100]]) {
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
  const look = () => page.evaluate(([x, y]) => {
    const { viewport } = document.querySelector("two-up");
    return { ...viewport.toPicture(x, y), zoom: viewport.zoom };
  }, [box.width * 0.25, box.height * 0.6]);
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
  const touch = (type, apart) => session.send("Input.dispatchTouchEvent", {
    type,
    touchPoints: type === "touchEnd" ? [] : [-1, 1].map((side) => ({ x: box.x + box.width / 2 + side * apart, y: box.y + box.height / 2 })),
  });
  await touch("touchStart", 30);
  for (const apart of [40, 60, 80, 90]) await touch("touchMove", apart);
  await touch("touchEnd");
  const after = await page.evaluate(() => document.querySelector("two-up").viewport.zoom);
  assert.ok(after / before > 2 && after / before < 4, `${after / before} instead of about 3`);
});

for (const worker of ["", "unscaled=1"]) {
  // The browser's advice is about the test's own look at the canvas.
  page(`a result larger than any canvas is drawn piece by piece ${worker}`, { worker, allow: [/willReadFrequently/] }, async (page) => {
    // 1100 × 1100, 16 times: 17 600 pixels a side. Each pixel of the picture is a grey of its own column.
    await page.evaluate(async () => {
      const canvas = new OffscreenCanvas(1100, 1100);
      const context = canvas.getContext("2d");
      for (let x = 0; x < 1100; x += 1) {
        context.fillStyle = `rgb(${x % 200} 80 120)`;
        context.fillRect(x, 0, 1, 1100);
      }
      const transfer = new DataTransfer();
      transfer.items.add(new File([await canvas.convertToBlob()], "columns.png", { type: "image/png" }));
      dispatchEvent(new DragEvent("drop", { dataTransfer: transfer }));
    });
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
}

page("a region is dragged or typed, tried, and left", {}, async (page) => {
  await sample(page);
  await page.getByRole("button", { name: "Try a region first" }).click();
  const inputs = () => Promise.all(["Left", "Top", "Width", "Height"].map((name) => page.getByLabel(name, { exact: true }).inputValue().then(Number)));
  assert.deepEqual(await inputs(), [97, 22, 256, 256]);
  // From one point of the picture to another, whatever the zoom.
  const point = (x, y) => page.evaluate(([x, y]) => {
    const view = document.querySelector("two-up");
    const box = view.getBoundingClientRect();
    const at = view.viewport.toView(x, y);
    return [box.left + at.x / devicePixelRatio, box.top + at.y / devicePixelRatio];
  }, [x, y]);
  await page.mouse.move(...(await point(300, 200)));
  await page.mouse.down();
  await page.mouse.move(...(await point(200, 150)));
  await page.mouse.move(...(await point(100, 50)));
  await page.mouse.up();
  const dragged = await inputs();
  [100, 50, 200, 150].forEach((value, i) => assert.ok(Math.abs(dragged[i] - value) <= 1, `${dragged}`));
  // A click is no box.
  await page.mouse.click(...(await point(20, 20)));
  assert.deepEqual(await inputs(), dragged);
  await page.getByLabel("Width", { exact: true }).fill("9999");
  await page.keyboard.press("Tab");
  assert.equal((await inputs())[2], 451 - dragged[0]);
  await page.getByLabel("Width", { exact: true }).fill("120");
  await page.keyboard.press("Tab");
  const region = await inputs();
  await page.getByRole("button", { name: "Try this region" }).click();
  await page.locator("#result:visible").waitFor();
  const [job] = await asked(page, "upscale");
  assert.deepEqual(job.region, region);
  await page.getByText(`120 × ${region[3]} → 240 × ${2 * region[3]} (a region)`).waitFor();
  await page.getByRole("button", { name: "Back to the picture" }).click();
  assert.deepEqual(await inputs(), region);
  await page.getByRole("button", { name: "Try this region" }).click();
  await page.getByRole("button", { name: "Now the whole picture" }).click();
  await page.getByText("451 × 300 → 902 × 600").waitFor();
  assert.deepEqual((await asked(page, "upscale")).map((one) => one.region), [region, region, null]);
  await page.getByRole("button", { name: "Back to the picture" }).click();
  await page.getByRole("button", { name: "Enlarge", exact: true }).waitFor();
});

page("a run is cancelled, and the next begins", { worker: "pace=300" }, async (page) => {
  await sample(page);
  await start(page).click();
  await page.getByRole("button", { name: "Cancel" }).click();
  await page.getByText(/^Cancelled\. The models stay loaded/).waitFor();
  assert.equal(await page.title(), "Clarifier");
  assert.equal((await asked(page, "cancel")).length, 1);
  await runThrough(page);
  assert.equal((await asked(page, "models")).length, 1, "nothing was loaded again");
});

page("a run that does not hear is ended by force", { worker: "mode=deaf&pace=4000" }, async (page) => {
  await sample(page);
  await start(page).click();
  await page.getByRole("button", { name: "Cancel" }).click();
  assert.ok(await page.getByRole("button", { name: "Stopping …" }).isDisabled());
  await page.getByRole("button", { name: /End it by force/ }).click({ timeout: 15_000 });
  await page.getByText(/^Ended by force/).waitFor();
  await page.locator("#run .idle .primary:enabled").waitFor();
});

page("a failure is told in the page's words, with what to do", { worker: "mode=fails" }, async (page) => {
  await sample(page);
  await start(page).click();
  const notice = page.getByRole("alert").filter({ hasText: "That did not work" });
  await notice.waitFor();
  const text = await notice.textContent();
  assert.match(text, /out of memory/);
  assert.match(text, /“Tile width”/);
  assert.match(text, /smaller picture or region/);
  assert.doesNotMatch(text, /--/);
  await notice.getByRole("button", { name: "Try again" }).click();
  await page.waitForFunction(() => document.querySelectorAll(".notice.error").length === 1);
  await page.getByRole("button", { name: "Dismiss" }).click();
  assert.equal(await page.locator(".notice").count(), 0);
});

for (const mode of ["dies", "panics"]) {
  page(`an engine that ${mode} is started again`, { worker: `mode=${mode}`, allow: [/unreachable executed/] }, async (page) => {
    await sample(page);
    await start(page).click();
    await page.getByText(/The engine stopped, and was started again.*unreachable executed/).waitFor();
    await page.locator("#run .idle .primary:enabled").waitFor();
    assert.equal(page.workers().length, 1);
    assert.equal((await asked(page, "upscale")).length, 0, "it is another worker");
  });
}

page("loading is cancelled too, and made up for by the next run", { worker: "pace=700" }, async (page) => {
  await sample(page);
  await chooseModels(page);
  await page.getByText(/^Loading sd15.safetensors: \d+ bytes of 1.0 kB/).waitFor();
  await start(page).click();
  await page.getByRole("button", { name: "Cancel" }).click();
  await page.getByText("Cancelled. The models are loaded with the next run.").waitFor();
  await page.getByText("The models are not loaded; this loads them again.").waitFor();
  await start(page).click();
  await page.getByText(/^Loading tile.safetensors/).first().waitFor();
  await page.getByText(/Redrawing, to/).waitFor({ timeout: 20_000 });
});

page("an impossible plan says which setting is wrong", {}, async (page) => {
  await sample(page);
  await exact(page, "Enlarge").fill("2");
  await open(page, "All settings");
  await exact(page, "Tile overlap").fill("200");
  await page.locator("#run").getByText(/“Tile overlap” 200 leaves nothing of a tile/).waitFor();
  assert.ok(await start(page).isDisabled());
});

page("models: what is missing is said, and a wrong file is named", {}, async (page) => {
  await sample(page);
  await open(page, "Models");
  await page.getByLabel("Choose: Checkpoint").setInputFiles(weights("sdxl.safetensors"));
  await page.locator("#run").getByText("Redrawing also needs the Tile ControlNet").waitFor();
  await page.getByLabel("Choose: Tile ControlNet").setInputFiles(weights("tile.safetensors"));
  const notice = page.getByRole("alert").filter({ hasText: "sdxl.safetensors is an SDXL checkpoint" });
  await notice.getByText(/Choose files of Stable Diffusion 1\.5/).waitFor();
  await page.getByRole("button", { name: "Remove: Checkpoint" }).click();
  await page.getByText("Enlarging with lite. Computing on the GPU.").waitFor();
  await page.getByLabel("Add a LoRA …").setInputFiles([weights("a.safetensors"), weights("b.safetensors")]);
  await page.getByLabel("Scale of a.safetensors").fill("0.5");
  await page.keyboard.press("Tab");
  await page.getByRole("button", { name: "Remove b.safetensors" }).click();
  await page.getByLabel("Choose: Checkpoint").setInputFiles(weights("sd15.safetensors"));
  await page.getByText("redrawing with Stable Diffusion").waitFor();
  const last = (await asked(page, "models")).at(-1);
  assert.deepEqual(last.loras.map(({ scale }) => scale), [0.5]);
});

page("warnings of the engine are listed, each once", { worker: "mode=warns" }, async (page) => {
  await sample(page);
  await runThrough(page);
  await page.locator(".notice.warning").getByText(/The picture is very small; “Tile width” 112/).waitFor();
  assert.equal(await page.locator(".notice.warning").count(), 1);
});

for (const [cause, title] of [["no-webgpu", "this browser has no WebGPU"], ["insecure", "not secure"], ["no-adapter", "the browser offers none"], ["no-device", "could not be started"]]) {
  page(`no GPU (${cause}): the cause, what to do, and lite all the same`, { worker: `mode=cause:${cause}` }, async (page) => {
    await page.getByRole("heading", { name: title }).waitFor();
    assert.ok((await page.locator("#capability li").count()) > 0);
    await page.getByText("Processor only").waitFor();
    await sample(page);
    await runThrough(page);
    assert.equal((await asked(page, "models")).at(-1).device, "cpu");
    assert.deepEqual(await violations(page), []);
  });
}

page("a software GPU: the processor is taken, unless the user insists", { worker: "mode=software" }, async (page) => {
  await page.getByRole("heading", { name: "Only a software GPU" }).waitFor();
  await sample(page);
  assert.equal((await asked(page, "models")).at(-1).device, "cpu");
  await open(page, "Models");
  await page.getByRole("radio", { name: "GPU" }).check({ force: true });
  await page.getByText("Computing on the GPU").waitFor();
});

page("in a folder of a server everything is found", { path: FOLDER }, async (page) => {
  await sample(page);
  await runThrough(page);
});

test("without the worker the page says so", { timeout: 60_000 }, async () => {
  server.missing.add("web/worker.js");
  const { page, close } = await visit(browser, server);
  await page.getByText("Engine not running").waitFor();
  await page.getByText("The engine could not be loaded.").waitFor();
  await page.getByRole("button", { name: /Try this cat/ }).click();
  await page.getByText("The engine is not running.").waitFor();
  server.missing.clear();
  await close();
});

test("where the page's own modules do not run, that is said", { timeout: 60_000 }, async () => {
  server.missing.add("web/lib/state.js");
  const { page, close } = await visit(browser, server);
  await page.getByRole("heading", { name: "This page cannot start here" }).waitFor();
  server.missing.clear();
  await page.reload();
  await page.locator("#device[data-kind]").waitFor();
  assert.equal(await page.locator("#old").isVisible(), false);
  await close();
});
