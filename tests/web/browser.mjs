// Chromium with the page in it, and what every test of the page holds: no error in the console, no request elsewhere.
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const ARGS = ["--no-sandbox", "--disable-dev-shm-usage"];
const SOFTWARE_GPU = ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--disable-gpu-watchdog"];
const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

export const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
export const WIDE = { width: 1400, height: 900 };
export const PHONE = { width: 390, height: 844 };

/** A browser; with `gpu` one that has WebGPU, in software. */
export const launch = ({ gpu = false } = {}) => chromium.launch(options(gpu));

/** One whose pages keep their files in the folder `profile`; with others they are in memory, as in a private window. */
export const launchOnDisk = (profile, { gpu = false } = {}) => chromium.launchPersistentContext(profile, options(gpu));

const options = (gpu) => ({ executablePath: CHROMIUM, args: [...ARGS, ...(gpu ? SOFTWARE_GPU : ["--disable-gpu"])] });

/** A browser of its own whose files are on the disk, as a user's are, in `folder`: only there a quota is enforced. */
export const lasting = (folder) =>
  chromium.launchPersistentContext(folder, {
    executablePath: CHROMIUM,
    args: [...ARGS, "--disable-gpu"],
    serviceWorkers: "block",
  });

/** A context for `follow`: no page is kept for work without a connection unless a test is about that. */
export const contextOf = (browser, { size = WIDE, ...context } = {}) =>
  browser.newContext({ viewport: size, acceptDownloads: true, serviceWorkers: "block", ...context });

/**
 * A page at `server`, and `complaints`: what the console said, what failed, and what went elsewhere. As of a user who has turned
 * redrawing off, since most tests are not about it and it takes its time; `redrawing` is what else was chosen, null for nothing.
 */
export async function visit(browser, server, { worker = "", path, allow, elsewhere, redrawing, ...context } = {}) {
  server.worker = worker;
  // One that keeps its files has but the one context.
  const opened = browser.newContext ? await contextOf(browser, context) : browser;
  const { page, complaints } = await follow(opened, server, { path, allow, elsewhere, redrawing });
  return { page, complaints, close: () => (browser.newContext ? opened.close() : page.close()) };
}

/** A page of a context, `{ page, complaints }`; `allow` are patterns of what is no complaint, `elsewhere` other origins that may be asked. */
export async function follow(context, server, { path = "/", allow = [], elsewhere = [], redrawing = "off" } = {}) {
  const page = await context.newPage();
  if (redrawing) await page.addInitScript(chosenBefore, redrawing);
  const complaints = [];
  const origins = [server.origin, ...elsewhere, "blob:", "data:"];
  // What says that the context blocks service workers.
  const allowed = (text) => [/Service Worker registration blocked/, ...allow].some((pattern) => pattern.test(text));
  const complain = (text) => allowed(text) || complaints.push(text);
  page.on(
    "console",
    (message) => ["error", "warning"].includes(message.type()) && complain(`console: ${message.text()}`),
  );
  page.on("pageerror", (error) => complain(`uncaught: ${error.message}`));
  // What a test's reload interrupts is no failure.
  page.on(
    "requestfailed",
    (request) => request.failure()?.errorText === "net::ERR_ABORTED" || complain(`failed: ${request.url()}`),
  );
  page.on("response", (response) => response.status() >= 400 && complain(`${response.status()}: ${response.url()}`));
  page.on("request", (request) => {
    if (!origins.some((origin) => request.url().startsWith(origin))) complaints.push(`elsewhere: ${request.url()}`);
  });
  await page.goto(server.origin + path);
  return { page, complaints };
}

/** In the page: as an earlier visit left it, if there was none. */
function chosenBefore(redrawing) {
  if (location.protocol.startsWith("http")) localStorage["clarifier.settings"] ??= JSON.stringify({ redrawing });
}

/** What axe finds that is serious or critical. */
export async function violations(page) {
  await page.evaluate(axe);
  const found = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
  return found.violations
    .filter(({ impact }) => ["serious", "critical"].includes(impact))
    .map(
      ({ id, nodes }) =>
        `${id}: ${nodes.map(({ target, failureSummary }) => `${target} ${failureSummary}`).join("; ")}`,
    );
}

/** Whether anything is wider than the window, or than the part of the page that it is in and that would cut it off. */
export const overflows = (page) =>
  page.evaluate(() =>
    [document.documentElement, ...document.querySelectorAll(".panel, .card, .stage-head, .capability, .notice")].some(
      (one) => one.scrollWidth > one.clientWidth,
    ),
  );

/** Open the sample and wait until it can be started. */
export async function sample(page) {
  await page.getByRole("button", { name: /Try this cat/ }).click();
  await page.locator("#run .idle .primary:enabled").waitFor();
}

/** Run it, and wait for the result. */
export async function runThrough(page) {
  await page.locator("#run .idle .primary").click();
  await page.locator("#result:visible").waitFor();
}
