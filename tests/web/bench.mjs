// The benchmark's kernels in a browser, ours beside onnxruntime-web's WebGPU backend, turn by turn in one page:
//
//   node tests/web/bench.mjs [--only TEXT] [--rounds N] [--json FILE] [--real]
//
// The GPU is SwiftShader unless `--real`. onnxruntime-web is downloaded from npm into the user's cache folder.
import { execFileSync } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { chromium } from "playwright-core";
import { CHROMIUM, launch } from "./browser.mjs";
import { root } from "./native.mjs";
import { serve } from "./server.mjs";

const ORT = "1.30.0";
const { values: wanted } = parseArgs({
  options: {
    only: { type: "string", default: "" },
    rounds: { type: "string", default: "3" },
    json: { type: "string" },
    real: { type: "boolean", default: false },
  },
});
const cache = process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache");
const place = join(cache, "clarifier/web-bench");

function build() {
  execFileSync("cargo", ["xtask", "engine", "clarifier-web-bench", join(place, "ours")], { cwd: root, stdio: "inherit" });
  execFileSync("npm", ["install", "--prefix", place, "--no-audit", "--no-fund", "--silent", `onnxruntime-web@${ORT}`]);
}

/** In the page: make both, and hand out what measures a case. */
async function prepare() {
  // Seconds that a round takes at least.
  const LEAST = 0.5;
  const [{ default: init, Bench }, { modelOf }, ort] = await Promise.all([
    import("/ours/clarifier_web_bench.js"),
    import("/tests/onnx.mjs"),
    import("/ort/ort.webgpu.bundle.min.mjs"),
  ]);
  await init();
  ort.env.wasm.numThreads = 1;
  ort.env.logLevel = "error";
  const bench = await Bench.open();
  const timed = async (work, times) => {
    const begun = performance.now();
    await work(times);
    return (performance.now() - begun) / 1000 / times;
  };

  async function theirs(wanted) {
    const { model, inputs, output } = modelOf(wanted);
    const session = await ort.InferenceSession.create(model, {
      executionProviders: ["webgpu"],
      preferredOutputLocation: "gpu-buffer",
    });
    const device = await ort.env.webgpu.device;
    const feeds = Object.fromEntries(
      inputs.map(({ name, dims }) => {
        const values = Float32Array.from({ length: dims.reduce((a, b) => a * b) }, (_, i) => Math.sin(i));
        const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
        const buffer = device.createBuffer({ size: Math.ceil(values.byteLength / 16) * 16, usage });
        device.queue.writeBuffer(buffer, 0, values);
        return [name, ort.Tensor.fromGpuBuffer(buffer, { dataType: "float32", dims })];
      }),
    );
    const run = async (times) => {
      for (let i = 0; i < times; i++) (await session.run(feeds))[output].dispose();
      await device.queue.onSubmittedWorkDone();
    };
    const end = async () => {
      await session.release();
      for (const feed of Object.values(feeds)) feed.gpuBuffer.destroy();
    };
    return { run, end };
  }

  globalThis.device = bench.device();
  globalThis.cases = () => {
    const all = Bench.cases();
    return all.flatMap((name, i) =>
      i % 2 ? [] : [{ name, case: JSON.parse(all[i + 1]), operations: Bench.operations(all[i + 1]) }],
    );
  };
  globalThis.measure = async (wanted, rounds) => {
    bench.prepare(JSON.stringify(wanted));
    const peer = await theirs(wanted);
    const [ours, others] = [[], []];
    // The first time shaders are compiled: it is told apart.
    ours.push(await timed((times) => bench.run(times), 1));
    others.push(await timed(peer.run, 1));
    // So often that waiting for the end, for which we read a value and they do not, is little of it.
    const times = Math.ceil(LEAST / (await timed((times) => bench.run(times), 1)));
    for (let round = 0; round < rounds; round++) {
      ours.push(await timed((times) => bench.run(times), times));
      others.push(await timed(peer.run, times));
    }
    await peer.end();
    return { ours, theirs: others };
  };
}

await mkdir(place, { recursive: true });
build();
await writeFile(join(place, "index.html"), "<!doctype html><title>Benchmark</title>");
const server = await serve({
  "/": place,
  "/tests/": join(root, "tests/web"),
  "/ort/": join(place, "node_modules/onnxruntime-web/dist"),
});
const browser = wanted.real
  ? await chromium.launch({ executablePath: CHROMIUM, headless: false, args: ["--enable-unsafe-webgpu"] })
  : await launch({ gpu: true });
const rows = [];
try {
  const page = await browser.newPage();
  page.on("pageerror", (error) => console.error(error.message));
  await page.goto(server.origin);
  await page.evaluate(prepare);
  const device = await page.evaluate(() => globalThis.device);
  console.log(`${device}; onnxruntime-web ${ORT}\n`);
  console.log(
    "| case | ours, ms | GFLOP/s | onnxruntime-web, ms | GFLOP/s | times as fast | first run, ours, s | theirs, s |",
  );
  console.log("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
  for (const { name, case: one, operations } of await page.evaluate(() => cases())) {
    if (!name.includes(wanted.only)) continue;
    const found = await page.evaluate(([one, rounds]) => measure(one, rounds), [one, Number(wanted.rounds)]);
    const best = ({ [0]: first, ...rest }) => [first, Math.min(...Object.values(rest))];
    const [[oursFirst, ours], [theirsFirst, theirs]] = [best(found.ours), best(found.theirs)];
    const rate = (seconds) => (operations ? (operations / seconds / 1e9).toFixed(1) : "–");
    const cells = [
      ...[(ours * 1e3).toFixed(1), rate(ours), (theirs * 1e3).toFixed(1), rate(theirs), (theirs / ours).toFixed(2)],
      ...[oursFirst.toFixed(2), theirsFirst.toFixed(2)],
    ];
    console.log(`| ${name} | ${cells.join(" | ")} |`);
    rows.push({ name, case: one, operations, ...found });
  }
  if (wanted.json) await writeFile(wanted.json, JSON.stringify({ device, ort: ORT, rows }, null, 2));
} finally {
  await browser.close();
  server.close();
}
