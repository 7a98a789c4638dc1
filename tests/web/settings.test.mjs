// The form, the presets, and settings on their way in and out.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { sample } from "./browser.mjs";
import { describe } from "./describe.mjs";
import { exact, open, slider, suite } from "./suite.mjs";

const parts = suite();
const { page } = parts;

page("every setting of the engine is in the form, also one that the page never heard of", {}, async (page) => {
  const description = describe();
  description.fields.push({
    name: "future_knob",
    kind: "number",
    default: "0.5",
    range: [0, 1],
    choices: [],
    help: "Comes later.",
  });
  parts.server.description = description;
  await page.reload();
  await page.locator(".field[data-name=upscale_factor]").waitFor();
  parts.server.description = null;
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
  assert.deepEqual(await page.evaluate(() => JSON.parse(localStorage.getItem("clarifier.settings")).settings), {
    denoise_strength: 0.4567,
  });
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
  assert.ok(await page.getByText(/^The sampler; auto is/).isVisible());
});

page("settings are found by words of their names, help and choices", {}, async (page) => {
  await open(page, "All settings");
  const visible = () =>
    page.locator("#all-settings .field:visible").evaluateAll((all) => all.map((one) => one.dataset.name));
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

page(
  "settings travel as JSON and as a command line",
  { permissions: ["clipboard-read", "clipboard-write"] },
  async (page) => {
    await sample(page);
    await page.getByRole("textbox", { name: "Prompt", exact: true }).fill('it\'s a "harbour"');
    await open(page, "Save, share");
    await page.getByRole("button", { name: "Copy as command line" }).click();
    await page.getByText("The command line is in the clipboard.").waitFor();
    const line = await page.evaluate(() => navigator.clipboard.readText());
    assert.equal(line, "clarifier upscale cat.png --prompt 'it'\\''s a \"harbour\"' --upscaler lite --no-diffusion");
    const json = page.getByLabel("As JSON");
    assert.deepEqual(JSON.parse(await json.inputValue()), { prompt: 'it\'s a "harbour"' });
    await json.fill('{"upscale_factor": 3, "tile_jitter": true}');
    await page.getByRole("button", { name: "Use what is written" }).click();
    assert.equal(await exact(page, "Enlarge").inputValue(), "3");
    // What is not named is at its default again.
    assert.equal(
      await page.getByRole("textbox", { name: "Prompt", exact: true }).inputValue(),
      "masterpiece, best quality, highres",
    );
    await page
      .getByLabel("Open a file of settings")
      .setInputFiles({ name: "s.json", mimeType: "application/json", buffer: Buffer.from('{"strenght": 1}') });
    await page.getByText('There is no setting "strenght".').waitFor();
    assert.equal(await exact(page, "Enlarge").inputValue(), "3");
    await page.evaluate(() => navigator.clipboard.writeText('{"upscale_factor": 5}'));
    await page.getByRole("button", { name: "Paste" }).click();
    await page.waitForFunction(() => document.querySelector("[data-name=upscale_factor] .exact").value === "5");
    const [download] = await Promise.all([
      page.waitForEvent("download"),
      page.getByRole("button", { name: "Save …" }).click(),
    ]);
    assert.equal(download.suggestedFilename(), "clarifier-settings.json");
    assert.deepEqual(JSON.parse(await readFile(await download.path(), "utf8")), { upscale_factor: 5 });
  },
);
