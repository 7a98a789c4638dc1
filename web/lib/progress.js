// How far a run is and how long it still takes, from the engine's events; no clock and no document of its own.

export const PHASES = ["enlarge", "encode", "diffuse", "decode"];

/** What is being done, as the program says it. */
export const VERBS = { enlarge: "Enlarging", encode: "Encoding", diffuse: "Redrawing", decode: "Decoding" };

/** Shares of a stage's work where the plan does not say: good enough for a bar that only goes forward. */
const USUAL_WORK = [0.04, 0.06, 0.78, 0.12];
const ENLARGER_ALONE = [1, 0, 0, 0];

/** The time that the current phase still needs, measured on its own tiles: the twin of the engine's Estimator. */
export class Estimator {
  #begun = null;

  /** Seconds, or null until the second notice of a phase; the first tile also pays for what is compiled once. */
  tile(phase, done, total, at) {
    const begun = this.#begun;
    if (begun && begun.phase === phase && done > begun.done) {
      return ((at - begun.at) * (total - done)) / (done - begun.done);
    }
    this.#begun = { phase, done, at };
    return null;
  }
}

export class Progress {
  #plan;
  #begun;
  #estimator = new Estimator();
  #weights;
  #reached = 0;

  /** `plan` as the engine made it, or null; `at` in seconds since any fixed moment. */
  constructor(plan, at) {
    this.#plan = plan?.stages ?? [];
    this.#begun = at;
    this.#weights = this.#plan.map((stage) => {
      const known =
        Array.isArray(stage.work) && stage.work.length === PHASES.length && stage.work.some((work) => work > 0);
      if (known) return stage.work;
      const size = stage.operations || stage.width * stage.height;
      return (stage.evaluations > 0 ? USUAL_WORK : ENLARGER_ALONE).map((work) => work * size);
    });
    this.stage = 0;
    this.stages = this.#plan.length || 1;
    this.phase = null;
    this.loading = null;
    this.tile = null;
    this.step = null;
    this.share = 0;
    this.left = null;
  }

  /** Take notice of an event of the engine, `at` that time. */
  event(event, at) {
    switch (event.event) {
      case "load":
        this.loading = { network: event.network, bytes: event.bytes, total: event.total };
        break;
      case "stage":
        Object.assign(this, { stage: event.stage, stages: event.stages, width: event.width, height: event.height });
        this.phase = null;
        this.tile = null;
        this.step = null;
        this.loading = null;
        break;
      case "resumed":
        Object.assign(this, { stage: event.stage, stages: event.stages });
        this.#tile(event, at);
        break;
      case "step":
        // Tiles say which one is in work; this says which one is done.
        this.step ??= { step: event.step, steps: event.steps };
        break;
      case "tile":
        this.#tile(event, at);
        break;
    }
  }

  /** The plan of the stage that runs. */
  get planned() {
    return this.#plan[this.stage - 1] ?? null;
  }

  #tile({ phase, done, total }, at) {
    this.loading = null;
    this.phase = phase;
    const evaluations = phase === "diffuse" ? (this.planned?.evaluations ?? 0) : 0;
    const each = evaluations > 0 && total % evaluations === 0 ? total / evaluations : total;
    // The tile that is worked on now, not the one that is done; after the last there is none.
    const index = done % each;
    this.tile = {
      done,
      total,
      index: done === total ? null : index,
      each,
      inStep: done === 0 ? 0 : ((done - 1) % each) + 1,
    };
    if (phase === "diffuse" && each !== total) {
      this.step = { step: Math.min(Math.floor(done / each) + 1, evaluations), steps: evaluations };
    } else {
      this.step = null;
    }
    const phaseLeft = this.#estimator.tile(phase, done, total, at);
    const share = this.#shareAt(phase, total > 0 ? done / total : 1);
    this.share = this.#reached = Math.max(this.#reached, share.done);
    const elapsed = at - this.#begun;
    this.left = phaseLeft === null ? null : phaseLeft + (share.done > 0 ? (elapsed * share.later) / share.done : 0);
  }

  /** What is done, and what comes after this phase, as shares of all the work. */
  #shareAt(phase, part) {
    const stage = Math.max(this.stage, 1) - 1;
    if (!this.#weights[stage]) return { done: (stage + part) / this.stages, later: 0 };
    const sum = (numbers) => numbers.reduce((a, b) => a + b, 0);
    const all = sum(this.#weights.flat());
    const at = PHASES.indexOf(phase);
    const earlier = sum(this.#weights.slice(0, stage).flat()) + sum(this.#weights[stage].slice(0, at));
    const own = this.#weights[stage][at] ?? 0;
    return { done: (earlier + own * part) / all, later: (all - earlier - own) / all };
  }
}
