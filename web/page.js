// The page: starts the worker, puts the controls in their places, and leads a picture from choosing to saving.
import { Capability } from "./controls/capability.js";
import { CheckPanel } from "./controls/check.js";
import { Exchange } from "./controls/exchange.js";
import { labelOf } from "./controls/field.js";
import { Form } from "./controls/form.js";
import { Models } from "./controls/models.js";
import { Notices } from "./controls/notices.js";
import { Places } from "./controls/places.js";
import { Presets } from "./controls/presets.js";
import { Result } from "./controls/result.js";
import { Run } from "./controls/run.js";
import { Stage } from "./controls/stage.js";
import { Start } from "./controls/start.js";
import { setSize } from "./controls/store.js";
import { Unfinished } from "./controls/unfinished.js";
import { advice, inPageWords } from "./lib/advice.js";
import { Check } from "./lib/check.js";
import { show } from "./lib/dom.js";
import { Downloads } from "./lib/downloads.js";
import { Engine, EngineStopped } from "./lib/engine.js";
import { CANCELLED, Job } from "./lib/job.js";
import { chosenAgain } from "./lib/kept.js";
import { keepForOffline, keepToo } from "./lib/offline.js";
import { openPicture } from "./lib/picture.js";
import { STARTER, redrawing } from "./lib/redrawing.js";
import { State } from "./lib/state.js";

const byId = (id) => document.getElementById(id);
const state = new State();
const engine = new Engine();
const notices = new Notices(byId("notices"));
const capability = new Capability(byId("capability"), byId("device"));
const downloads = new Downloads(engine);
const models = new Models(byId("models"), state, downloads);
const start = new Start(byId("start"));
const unfinished = new Unfinished(byId("unfinished"), state);
const stage = new Stage(byId("stage"), state, start.picker("Another picture", "tool"));
const run = new Run(byId("run"));
const result = new Result(byId("result"), (argument) => engine.ask("save", argument));
new Presets(byId("presets"), state);
const form = new Form({ main: byId("main-settings"), all: byId("all-settings") }, state);
new Places(byId("all"), state);
new Exchange(byId("exchange"), state);
const job = new Job(engine, state);
const check = new Check(engine, { restart, ready: () => job.ready.then(() => readiness === "ready") });
const checkPanel = new CheckPanel(byId("check"), check);

/** "starting", "ready" or "failed": the engine. */
let readiness = "starting";
/** "none", "picture", "opening", "running" or "result": what the page is about. */
let mode = "none";
let planning = 0;
/** The engine's answer of that name. */
let adapter = null;
/** Whether what was downloaded has been chosen once: what the user then takes back stays so. */
let chosenBefore = false;

function problem(error, action) {
  const stopped = error instanceof EngineStopped ? "The engine stopped, and was started again: " : "";
  const message = stopped + (error instanceof Error ? error.message : String(error));
  notices.error(inPageWords(message, state.fields, labelOf), advice(message, error.report), action);
}

function enter(next) {
  mode = next;
  document.documentElement.dataset.page = next;
  start.enabled = next !== "running" && next !== "opening";
  show(byId("start"), next === "none");
  show(byId("stage"), next !== "none");
  show(byId("run"), next !== "none");
  if (next !== "result") result.hide();
  if (next === "running") unfinished.hide();
  offerCheck();
}

/** The engine does one thing at a time. */
function offerCheck() {
  checkPanel.enabled = readiness === "ready" && mode !== "running" && mode !== "opening";
}

/** Whether a check keeps the engine busy, which is then said. */
function checking() {
  if (check.running) notices.info("The GPU is being checked: wait until that is done, or cancel it.");
  return check.running;
}

/** Take another worker in the place of one that does not hear. */
function restart(reason) {
  engine.restart(reason);
  readiness = "starting";
  job.ready = wake();
}

/** What a press on the button would do, said before it is done. */
async function plan() {
  if (mode !== "picture" && mode !== "result") return;
  const mine = ++planning;
  const labels = { picture: ["Enlarge", "Try this region"], result: ["Enlarge again", "Try the region again"] };
  const label = labels[mode][state.region ? 1 : 0];
  if (readiness !== "ready") {
    const plan =
      readiness === "failed" ? "The engine is not running." : "The engine is still starting; the picture is ready.";
    run.offer({ plan, label, ready: false });
    return;
  }
  if (check.running) {
    run.offer({ plan: "The GPU is being checked.", label, ready: false });
    return;
  }
  if (job.unloaded) {
    run.offer({ plan: "The models are not loaded; this loads them again.", label, ready: true });
    return;
  }
  try {
    const { text, advice, smaller } = await job.plan();
    if (mine !== planning || mode === "running") return;
    const detail = advice ? inPageWords(advice, state.fields, labelOf) : job.missing();
    const action = smaller ? ["Use smaller tiles", () => state.set(smaller)] : null;
    run.offer({ plan: text, detail, action, label, ready: true });
  } catch (error) {
    if (mine !== planning || mode === "running") return;
    run.offer({ plan: inPageWords(error.message, state.fields, labelOf), label, ready: false });
  }
}

function showModels() {
  byId("models-panel").open = true;
  byId("models-panel").scrollIntoView({ block: "start" });
  models.focusStore();
}

/** How a picture that is only enlarged, or redrawn with the starter set, could be redrawn with more. */
function hint() {
  if (!job.builtInOnly || downloads.available === null) return null;
  const starter = redrawing(state.models) === STARTER;
  const now = starter ? "Redrawn with the small starter set" : "Only enlarged";
  const open = (text, label) => ({ text, label, act: showModels });
  if (downloads.running) return open(`${now} until the models are here.`, "See how far they are");
  if (downloads.stored("checkpoint") && downloads.stored("controlnet"))
    return { text: `${now}.`, label: "Redraw with the downloaded models", act: () => models.useStored() };
  if (!downloads.available && starter) return open(`${now}.`, "Choose files of Stable Diffusion 1.5 for more");
  if (!downloads.available) return open(`${now}; redrawing needs models.`, "Choose files");
  const size = setSize(downloads.recommended);
  const label = starter ? "Download Stable Diffusion 1.5 for more" : "Download models to redraw it";
  return open(`${now}.`, `${label}${size ? ` (${size})` : ""}`);
}

const hintNow = () => {
  run.hint = hint();
};

let timer = 0;
const planSoon = () => {
  clearTimeout(timer);
  timer = setTimeout(plan, 150);
};

async function open(file) {
  const before = mode;
  enter(before === "none" ? "none" : "opening");
  notices.clear();
  document.documentElement.toggleAttribute("data-opening", true);
  try {
    state.setPicture(await openPicture(file));
    enter("picture");
    capability.fold();
    stage.showPicture();
    plan();
    if (job.waiting && readiness === "ready") job.load().then(planSoon);
  } catch (error) {
    enter(before);
    problem(error);
  } finally {
    document.documentElement.toggleAttribute("data-opening", false);
  }
}

function backToPicture() {
  enter("picture");
  stage.showPicture();
  return plan();
}

/** `resume`: go on with what an earlier visit left. */
async function begin({ resume = false } = {}) {
  if (checking()) return;
  notices.clear();
  planning += 1;
  enter("running");
  run.begin(resume ? "Going on" : "Reading the picture");
  stage.showRun();
  document.title = "0 % · Clarifier";
  try {
    const { region } = state;
    const done = await job.run({ resume });
    const focused = byId("run").contains(document.activeElement);
    enter("result");
    if (redrawing(state.models) === STARTER) keepToo("assets/starter.safetensors");
    stage.showResult(done, region, (rect) => engine.ask("pixels", rect));
    result.show(done, {
      name: state.picture.name,
      factor: state.settings.upscale_factor,
      region,
      diffusion: job.diffusion,
    });
    document.title = "Done · Clarifier";
    // Where the keyboard was has gone; this is what comes next.
    if (focused) result.focus();
    plan();
  } catch (error) {
    document.title = "Clarifier";
    const focused = byId("run").contains(document.activeElement);
    await backToPicture();
    if (focused) run.focus();
    if (error.message !== CANCELLED) problem(error, ["Try again", () => begin()]);
    else if (error instanceof EngineStopped) notices.info("Ended by force. The models are being loaded again.");
    else if (job.unloaded) notices.info("Cancelled. The models are loaded with the next run.");
    else notices.info("Cancelled. The models stay loaded, so the next run begins at once.");
  }
}

/** Bring back the picture and the choices of an interrupted run, and go on with it. */
async function goOn() {
  if (checking()) return;
  const left = unfinished.run;
  unfinished.hide();
  try {
    const picture = await openPicture(left.file);
    state.setPicture(picture);
    state.restore(left);
    state.setModels(chosenAgain(left.models, state.models));
    await job.load();
  } catch (error) {
    unfinished.show(left);
    problem(error);
    return;
  }
  capability.fold();
  await begin({ resume: true });
}

job.addEventListener("progress", ({ detail: { progress, event } }) => {
  if (mode !== "running") return;
  run.progress(progress);
  if (event.event === "tile") stage.tile(progress, job.settings);
  if (event.event === "preview" || event.event === "part") stage.preview(event, progress, job.settings);
  if (event.event === "step" && event.preview) stage.preview(event.preview, progress, job.settings);
  const per = Math.floor(progress.share * 100);
  const title = progress.loading ? "Loading · Clarifier" : `${per} % · Clarifier`;
  if (document.title !== title) document.title = title;
});
job.addEventListener("warning", ({ detail }) => notices.warning(inPageWords(detail, state.fields, labelOf)));
job.addEventListener("models", ({ detail }) => {
  models.status = detail;
  form.redraws = job.diffusion || job.waiting;
});
job.addEventListener("again", ({ detail: { reason, resume } }) => {
  const how = resume ? "It goes on where it was." : "It begins anew, since this browser lets the page keep nothing.";
  notices.warning(`The engine stopped (${reason}) and was started again. ${how}`);
});
job.addEventListener("problem", ({ detail }) => problem(detail));
engine.addEventListener("stopped", async () => {
  if (readiness !== "ready") {
    // It cannot even say what it is: another would not either.
    readiness = "failed";
    capability.failed();
    problem(new Error("The engine could not be loaded."), ["Reload the page", () => location.reload()]);
    plan();
    offerCheck();
    return;
  }
  // What it died of while it loaded is not loaded again unasked.
  const loading = job.loading;
  readiness = "starting";
  engine.restart();
  await (job.ready = wake(!loading));
});
byId("unfinished").addEventListener("continue", goOn);
byId("unfinished").addEventListener("discard", async () => {
  unfinished.hide();
  await engine.ask("discard").catch(problem);
});
byId("start").addEventListener("file", ({ detail }) => open(detail));
byId("start").addEventListener("problem", ({ detail }) => problem(detail));
byId("stage").addEventListener("back", backToPicture);
byId("main-settings").addEventListener("models", showModels);
byId("run").addEventListener("start", () => begin());
byId("run").addEventListener("cancel", () => {
  run.cancelling();
  job.cancel();
});
byId("run").addEventListener("force", () => {
  restart(CANCELLED);
  engine.ask("discard").catch(problem);
});
byId("check").addEventListener("start", async ({ detail: { quick } }) => {
  const checked = check.run({ quick, adapter });
  plan();
  try {
    await checked;
  } catch (error) {
    checkPanel.outcome = error.message === CANCELLED ? "Cancelled." : "";
    if (error.message !== CANCELLED) problem(error);
  }
  plan();
});
byId("check").addEventListener("cancel", () => check.cancel());
byId("check").addEventListener("force", () => restart(CANCELLED));
byId("result").addEventListener("problem", ({ detail }) => problem(detail));
byId("result").addEventListener("whole", () => {
  state.setRegion(null);
  begin();
});
byId("result").addEventListener("seed", () => {
  state.set({ seed: job.seed });
  result.kept();
});
downloads.addEventListener("change", hintNow);
downloads.addEventListener("here", () => models.useStored());
for (const event of ["settings", "region"]) state.addEventListener(event, planSoon);
state.addEventListener("models", async () => {
  hintNow();
  if (readiness === "ready") {
    // What it would take is said before gigabytes are read.
    await plan();
    await job.load();
  }
  planSoon();
});
addEventListener("beforeunload", (event) => {
  if (mode === "running") event.preventDefault();
});

/** What an earlier visit left, if nothing else has begun here. */
async function offerUnfinished() {
  const left = await job.unfinished();
  if (left && mode === "none") unfinished.show(left);
}

/** Ask the engine what it is and can, and have it load the models; the page is usable meanwhile. */
async function wake(load = true) {
  try {
    const description = await engine.ask("describe");
    if (state.fields.length === 0) {
      state.describe(description);
      byId("version").textContent = ` ${description.version}`;
    }
    adapter = await engine.ask("adapter");
    capability.adapter = adapter;
    checkPanel.gpu = adapter.ok;
    models.gpu = adapter.ok;
    // A software GPU is slower than the processor, but the user may insist.
    if (adapter.software && state.models.device === "gpu" && !chosenBefore) state.setModels({ device: "cpu" });
    // Without what was downloaded there is still everything else.
    await downloads.resume().catch(() => {});
    if (adapter.ok && !adapter.software && !chosenBefore) models.useStored();
    chosenBefore = true;
    readiness = "ready";
    offerCheck();
    if (load) {
      await plan();
      await job.load();
    }
    if (mode === "none") await offerUnfinished();
  } catch (error) {
    // A worker that died has told so already.
    if (!(error instanceof EngineStopped)) {
      readiness = "failed";
      capability.failed();
      problem(error, ["Reload the page", () => location.reload()]);
    }
  }
  plan();
}

enter("none");
// After the engine has come: it is what the visitor waits for.
wake().finally(() =>
  keepForOffline((act) => notices.info("A new version of this page is there.", ["Reload to use it", act])),
);
