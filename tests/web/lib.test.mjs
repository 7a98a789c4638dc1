// The page's arithmetic, without a browser.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";
import { advice, inPageWords } from "../../web/lib/advice.js";
import { explain, surroundings } from "../../web/lib/causes.js";
import { rows } from "../../web/lib/check.js";
import { commandLine, quote } from "../../web/lib/command.js";
import { Job } from "../../web/lib/job.js";
import { chosenAgain, described, lacking } from "../../web/lib/kept.js";
import { GROUPS, LABELS, MAIN, grouped, slider } from "../../web/lib/presentation.js";
import { Estimator, Progress } from "../../web/lib/progress.js";
import { REDRAWING, STARTER } from "../../web/lib/redrawing.js";
import { changed, defaults, fromJson, parse, salvage } from "../../web/lib/settings.js";
import { State } from "../../web/lib/state.js";
import { bytes, duration, stem } from "../../web/lib/text.js";
import { grid, tilesOf } from "../../web/lib/tiles.js";
import { Viewport } from "../../web/lib/viewport.js";
import { describe } from "./describe.mjs";

const { fields, presets } = describe();
const field = (name) => fields.find((one) => one.name === name);

test("the description of the settings was read whole", () => {
  assert.ok(fields.length >= 29);
  for (const { name, kind, choices, default: usual, range, help } of fields) {
    assert.ok(help.length > 0, name);
    if (kind === "choice") assert.ok(choices.includes(usual), name);
    if (kind === "integer" || kind === "number") assert.equal(range.length, 2, name);
  }
  assert.deepEqual(field("solver").choices.slice(10, 13), ["dpm++sde", "dpm++2m_sde", "dpm++3m_sde"]);
  assert.deepEqual(presets.map(({ name }) => name).sort(), ["clarifier", "clarity", "refiners", "space"]);
});

test("the layout names settings that exist, each once", () => {
  const named = [...MAIN, ...GROUPS.flatMap(([, names]) => names)];
  assert.equal(new Set(named).size, named.length);
  for (const name of [...named, ...Object.keys(LABELS)]) assert.ok(field(name), name);
  const shown = grouped(fields).flatMap(([, found]) => found);
  assert.equal(shown.length + MAIN.length, fields.length);
  // One that the layout has never heard of comes last.
  const more = grouped([...fields, { name: "future_knob", kind: "switch" }]).at(-1);
  assert.deepEqual([more[0], more[1].map(({ name }) => name)], ["More", ["future_knob"]]);
});

test("sliders end inside the range and begin where it does", () => {
  for (const one of fields.filter(({ range }) => range)) {
    const limits = slider(one);
    if (one.name === "seed") assert.equal(limits, null);
    else assert.ok(limits.min === one.range[0] && limits.max <= one.range[1] && limits.step > 0, one.name);
  }
});

test("values are of their kind and in their range", () => {
  assert.equal(parse(field("upscale_factor"), " 2.5 "), 2.5);
  assert.equal(parse(field("tile_jitter"), "on"), true);
  assert.equal(parse(field("seed"), "-1"), -1);
  for (const [name, bad, says] of [
    ["upscale_factor", "17", "1 to 16"],
    ["upscale_factor", "", "no number"],
    ["upscale_factor", null, "no number"],
    ["num_inference_steps", "1.5", "whole"],
    ["tile_jitter", "maybe", "neither"],
    ["prompt", 3, "no text"],
    ["solver", 3, "no word"],
  ]) {
    assert.throws(() => parse(field(name), bad), new RegExp(`${name}.*${says}`), `${name} ${bad}`);
  }
});

test("settings in JSON come back, and mistakes are named", () => {
  const given = { upscale_factor: 3, tile_jitter: true, prompt: "a “harbour”\n<lora:x:0.5>" };
  assert.deepEqual(fromJson(fields, JSON.stringify(given)), given);
  assert.deepEqual(fromJson(fields, JSON.stringify({ about: "a preset", settings: given })), given);
  for (const [bad, says] of [
    ["{", /not JSON/],
    ["[1]", /no object/],
    ['{"strenght": 1}', /"strenght"/],
    ['{"sharpen": 9}', /0 to 5/],
  ]) {
    assert.throws(() => fromJson(fields, bad), says);
  }
  const usual = defaults(fields);
  assert.deepEqual(changed(fields, { ...usual, ...given }), given);
  assert.deepEqual(salvage(fields, { sharpen: 9, seed: 3, gone: 1 }), { seed: 3 });
});

test("a shell reads back the words that were quoted", () => {
  const words = [
    "plain.jpg",
    "it's",
    "two words",
    "",
    '$HOME `id` "x" \\',
    "a\nb",
    "ünï—©",
    "*?[a]",
    "~",
    "#x",
    "a;b&c|d",
  ];
  const script = `printf '%s\\0' ${words.map(quote).join(" ")}`;
  assert.deepEqual(execFileSync("/bin/sh", ["-c", script]).toString().split("\0").slice(0, -1), words);
});

test("the command line has what differs from the defaults", () => {
  const models = {
    upscaler: "lite",
    checkpoint: null,
    controlnet: null,
    vae: null,
    loras: [],
    embeddings: [],
    device: "gpu",
  };
  const settings = defaults(fields);
  const line = (more) => commandLine({ picture: "cat.png", fields, settings, models, region: null, ...more });
  assert.equal(line({}), "clarifier upscale cat.png --upscaler lite --no-diffusion");
  // A LoRA does not fit the starter set, and the program says so where the page leaves it out.
  const starter = { ...models, checkpoint: STARTER, loras: [{ file: { name: "a.safetensors" }, scale: 1 }] };
  assert.equal(line({ models: starter }), "clarifier upscale cat.png --upscaler lite --checkpoint starter");
  const own = { ...settings, upscale_factor: 4, prompt: "it's -here", negative_prompt: "-bad", tile_jitter: true };
  assert.equal(
    line({ picture: "-my cat.png", settings: own, region: [1, 2, 3, 4] }),
    "clarifier upscale './-my cat.png' --upscale-factor 4 --prompt 'it'\\''s -here' --negative-prompt=-bad --tile-jitter --region 1,2,3,4 --upscaler lite --no-diffusion",
  );
  const file = (name) => ({ name });
  const all = {
    ...models,
    upscaler: file("4x.safetensors"),
    checkpoint: file("my model.safetensors"),
    controlnet: file("tile.safetensors"),
    loras: [
      { file: file("more.safetensors"), scale: 0.5 },
      { file: file("b.safetensors"), scale: 1 },
    ],
    embeddings: [file("neg.pt")],
    device: "cpu",
  };
  assert.equal(
    line({ models: all }),
    "clarifier upscale cat.png --upscaler 4x.safetensors --checkpoint 'my model.safetensors' --controlnet tile.safetensors --lora more.safetensors:0.5 --lora b.safetensors --embedding neg.pt --device cpu",
  );
});

/** What a browser keeps, in memory. */
const store = (kept = {}) => {
  const all = new Map(Object.entries(kept));
  return { all, getItem: (key) => all.get(key) ?? null, setItem: (key, value) => all.set(key, value) };
};
const KEY = "clarifier.settings";

test("whether the starter set redraws is kept where the user chose, and nothing else is lost of it", () => {
  assert.equal(new State(store()).models.checkpoint, REDRAWING);
  const kept = store({ [KEY]: JSON.stringify({ settings: { seed: 3 }, tilePrompts: "R1C1: a cat" }) });
  const state = new State(kept);
  // Before the engine has said which settings there are.
  state.setRedrawing(REDRAWING === STARTER ? null : STARTER);
  state.describe({ fields, presets });
  assert.deepEqual([state.settings.seed, state.tilePrompts], [3, "R1C1: a cat"]);
  state.set({ seed: 4 });
  const next = new State(kept);
  assert.deepEqual([next.redrawing, next.models.checkpoint], [state.redrawing, state.redrawing]);
  next.describe({ fields, presets });
  assert.equal(next.settings.seed, 4);
  next.setRedrawing(REDRAWING);
  assert.equal("redrawing" in JSON.parse(kept.all.get(KEY)), false, "a new default reaches who did not choose");
});

test("a kept choice of the starter set needs no file", () => {
  const { models } = new State(store());
  const left = JSON.parse(JSON.stringify(described({ ...models, checkpoint: STARTER })));
  assert.deepEqual([left.checkpoint, left.controlnet], [STARTER, null]);
  assert.deepEqual(lacking(left, models), []);
  assert.deepEqual(chosenAgain(left, { ...models, checkpoint: null }), { ...models, checkpoint: STARTER });
});

test("the starter set goes with nothing made for other networks, which is said", async () => {
  const state = new State(store());
  const engine = new EventTarget();
  engine.ask = async (name, models) => ((engine.asked = models), { upscaler: "lite", diffusion: true });
  const job = new Job(engine, state);
  let said = "";
  job.addEventListener("models", ({ detail }) => (said = detail));
  const file = { name: "a.safetensors", size: 1 };
  state.setModels({ checkpoint: STARTER });
  await job.load();
  assert.deepEqual([engine.asked.checkpoint, job.waiting], [null, true], "without a picture it is not fetched");
  state.picture = {};
  assert.deepEqual([job.missing(), job.builtInOnly], ["", true]);
  for (const [key, value] of [
    ["controlnet", file],
    ["vae", file],
    ["loras", [{ file, scale: 1 }]],
    ["embeddings", [file]],
  ]) {
    const before = state.models[key];
    state.setModels({ [key]: value });
    assert.match(job.missing(), /made for Stable Diffusion 1\.5/);
    assert.equal(job.builtInOnly, false);
    await job.load();
    assert.deepEqual(engine.asked, { ...state.models, [key]: before });
    assert.equal(said, "Enlarging with lite, redrawing with the starter set. Computing on the GPU.");
    state.setModels({ [key]: before });
  }
  state.setModels({ checkpoint: file, controlnet: file });
  assert.deepEqual([job.missing(), job.builtInOnly], ["", false]);
  await job.load();
  assert.match(said, /redrawing with Stable Diffusion\./);
  state.setModels({ controlnet: null });
  assert.match(job.missing(), /also needs the Tile ControlNet/);
  await job.load();
  assert.equal(engine.asked.checkpoint, null);
});

test("tiles lie where the engine's do", () => {
  // FACTS: 112 × 144 latents, overlap 8; columns × rows.
  for (const [side, columns, rows] of [
    [2048, 3, 2],
    [4096, 5, 4],
    [8192, 10, 8],
  ]) {
    const area = { width: side / 8, height: side / 8 };
    const tiles = grid(area, { width: 112, height: 144 }, 8);
    assert.equal(tiles.length, columns * rows);
    assert.equal(Math.max(...tiles.map((tile) => tile.x + tile.width)), area.width);
    assert.equal(Math.max(...tiles.map((tile) => tile.y + tile.height)), area.height);
  }
  // crates/tile: an axis shorter than the tile has one of its own length.
  assert.deepEqual(
    grid({ width: 40, height: 24 }, { width: 16, height: 24 }, 8).map(({ x, y }) => [x, y]),
    [
      [0, 0],
      [8, 0],
      [16, 0],
      [24, 0],
    ],
  );
  const settings = defaults(fields);
  const [from, to] = [
    { width: 1000, height: 500 },
    { width: 2000, height: 1000 },
  ];
  const enlarger = tilesOf({ phase: "enlarge", total: 18, from, to, settings });
  assert.deepEqual([enlarger.length, enlarger[1].y], [18, 0]);
  assert.equal(enlarger.at(-1).x + enlarger.at(-1).width, to.width);
  const diffuse = tilesOf({ phase: "diffuse", total: 21, from, to, settings, evaluations: 7 });
  assert.deepEqual(
    diffuse.map(({ x }) => x),
    [0, 552, 1104],
  );
  assert.equal(diffuse[2].x + diffuse[2].width, to.width);
  assert.equal(tilesOf({ phase: "diffuse", total: 20, from, to, settings, evaluations: 7 }), null);
  assert.equal(
    tilesOf({ phase: "diffuse", total: 21, from, to, settings: { ...settings, tile_jitter: true }, evaluations: 7 }),
    null,
  );
});

test("zooming keeps what is under the pointer; nothing leaves the view", () => {
  const viewport = new Viewport();
  viewport.picture = { width: 20_000, height: 10_000 };
  viewport.view = { width: 1000, height: 800 };
  viewport.fit();
  assert.equal(viewport.zoom, 0.05);
  assert.ok(viewport.whole);
  const before = viewport.toPicture(700, 420);
  viewport.zoomAt(700, 420, 8);
  const after = viewport.toPicture(700, 420);
  assert.ok(Math.hypot(before.x - after.x, before.y - after.y) < 1e-6);
  viewport.pan(1e6, 1e6);
  assert.deepEqual([viewport.visible.x, viewport.visible.y], [0, 0]);
  viewport.zoomTo(1);
  assert.deepEqual([viewport.visible.width, viewport.visible.height], [1000, 800]);
  viewport.zoomAt(0, 0, 1e-9);
  assert.equal(viewport.zoom, viewport.fitting);
});

test("the time left is what the tiles took, as the engine has it", () => {
  const estimator = new Estimator();
  assert.equal(estimator.tile("encode", 1, 3, 5), null);
  assert.equal(estimator.tile("encode", 2, 3, 7), 2);
  assert.equal(estimator.tile("diffuse", 1, 10, 20), null);
  assert.equal(estimator.tile("diffuse", 4, 10, 32), 24);
  assert.equal(estimator.tile("decode", 81, 100, 60), null);
  assert.equal(estimator.tile("decode", 82, 100, 63), 54);
  assert.equal(estimator.tile("decode", 1, 3, 70), null);
  assert.equal(estimator.tile("decode", 2, 3, 90), 20);
});

test("progress goes forward from nothing to all", () => {
  const stage = (width) => ({ width, height: width, diffusion_tiles: 6, evaluations: 7, operations: width * width });
  const progress = new Progress({ stages: [stage(512), stage(1024)] }, 0);
  let [last, at] = [0, 0];
  const hear = (event) => {
    progress.event(event, (at += 1));
    assert.ok(progress.share >= last, JSON.stringify(event));
    last = progress.share;
  };
  for (const number of [1, 2]) {
    hear({ event: "stage", stage: number, stages: 2, width: 512 * number, height: 512 * number });
    for (const [phase, total] of [
      ["enlarge", 4],
      ["encode", 2],
      ["diffuse", 42],
      ["decode", 2],
    ]) {
      for (let done = 1; done <= total; done += 1) {
        hear({ event: "tile", phase, done, total });
        if (phase === "diffuse" && done === 9) {
          assert.deepEqual(progress.step, { step: 2, steps: 7 });
          assert.deepEqual([progress.tile.index, progress.tile.each], [3, 6]);
          assert.ok(progress.left > 33, "33 tiles of a second each are left in this phase alone");
        }
      }
    }
    if (number === 1) assert.ok(Math.abs(progress.share - 0.2) < 1e-9, "a fifth of the work is the first stage's");
  }
  assert.ok(Math.abs(progress.share - 1) < 1e-9);
  assert.ok(progress.left < 1e-9);
  const alone = new Progress(null, 0);
  alone.event({ event: "stage", stage: 1, stages: 1, width: 9, height: 9 }, 1);
  alone.event({ event: "tile", phase: "enlarge", done: 1, total: 4 }, 2);
  assert.equal(alone.share, 0.25);
});

test("errors speak the page's words and say what to do", () => {
  const said = inPageWords(
    "`device` gpu and `vae_tile` 4096: this needs more than `it` has",
    fields,
    (one) => LABELS[one.name] ?? one.name,
  );
  assert.equal(said, "“Compute on” gpu and “VAE tile” 4096: this needs more than `it` has");
  const failed = advice("the device failed (gone)", { code: "device", remedies: ["use_cpu", "smaller_tiles"] });
  assert.match(failed, /^You can compute on the processor.*, or make the tiles smaller/);
  assert.match(advice("RuntimeError: memory access out of bounds"), /smaller/);
  const other = { code: "wrong_kind", remedies: ["other_models"] };
  assert.match(advice("x.safetensors: this is an SDXL checkpoint", other), /1\.5/);
  assert.equal(advice('There is no setting "x".'), "");
});

test("each cause of a missing GPU is explained", () => {
  const about = (userAgent) => surroundings({ userAgent }, { href: "http://10.0.0.2/" });
  const chrome = about("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/156.0 Safari/537.36");
  const firefox = about("Mozilla/5.0 (Windows NT 10.0; rv:130.0) Gecko/20100101 Firefox/130.0");
  const safari = about(
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 Version/17.0 Safari/605.1.15",
  );
  const say = (adapter, where) => Object.values(explain(adapter, where)).flat().join(" ");
  assert.equal(explain({ ok: true, software: false }, chrome), null);
  assert.match(say({ ok: false, cause: "insecure" }, chrome), /https.*http:\/\/10\.0\.0\.2/s);
  assert.match(say({ ok: false, cause: "no-webgpu" }, firefox), /Firefox/);
  assert.match(say({ ok: false, cause: "no-webgpu" }, safari), /Safari/);
  assert.match(say({ ok: false, cause: "no-adapter" }, chrome), /chrome:\/\/flags/);
  assert.doesNotMatch(say({ ok: false, cause: "no-adapter" }, firefox), /chrome:\/\/flags/);
  assert.match(say({ ok: false, cause: "no-device" }, chrome), /refused/);
  assert.match(say({ ok: true, software: true, name: "SwiftShader" }, chrome), /SwiftShader.*slower/);
});

test("numbers as people read them", () => {
  assert.deepEqual([0, 999, 1500, 2_900_000_000].map(bytes), ["0 bytes", "999 bytes", "1.5 kB", "2.9 GB"]);
  assert.deepEqual([0, 59.4, 200, 3900].map(duration), ["0 s", "59 s", "3 min 20 s", "1 h 5 min"]);
  assert.deepEqual(["a.b.jpg", "plain", ".png"].map(stem), ["a.b", "plain", ".png"]);
});

test("the cases of a check are gathered by kernel and precision", () => {
  const one = (kernel, precision, error, gflops, verdict = "ok") => ({ kernel, precision, error, gflops, verdict });
  const all = [
    one("a", "f32", 0.1, null),
    one("b", "f32", null, null, "not_a_number"),
    one("a", "f32", 2, 3.5, "wrong"),
    one("a", "f16", 0, 1),
  ];
  assert.deepEqual(rows(all), [
    { kernel: "a", precision: "f32", shapes: 2, error: 2, gflops: 3.5, bad: 1 },
    { kernel: "b", precision: "f32", shapes: 1, error: null, gflops: null, bad: 1 },
    { kernel: "a", precision: "f16", shapes: 1, error: 0, gflops: 1, bad: 0 },
  ]);
});
