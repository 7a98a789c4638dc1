// The stand-in's downloads: of the program's real list, with files that hold nothing. `store` in its address says what is there.
const PACE = 40;
const STEPS = 20;

/** `mode`: "" (nothing is here), "part", "full", "none" (no files for pages), "refused", "slow". */
export function storeCommands(mode, tell, wait) {
  const here = new Map();
  const parts = new Map();
  let paused = false;

  const list = async () => {
    const { hub, models } = await (await fetch(new URL("../../assets/models.json", import.meta.url))).json();
    return { hub, models: models.filter(({ file }) => file.endsWith(".safetensors")) };
  };
  const file = ({ file }) => new File([new Uint8Array(1000)], file, { lastModified: 1 });
  const sizeOf = ({ megabytes }) => (megabytes ?? 10) * 1e6;
  const begun = list().then(({ models }) => {
    for (const model of models.filter(({ recommended }) => recommended)) {
      if (mode === "full") here.set(model.name, file(model));
      if (mode === "part") parts.set(model.name, sizeOf(model) * 0.4);
    }
  });

  return {
    async store() {
      await begun;
      const { hub, models } = await list();
      const about = (model) => {
        const { name, role, kind, repo, licence, recommended = false, non_commercial: nonCommercial = false } = model;
        const part = parts.has(name) ? { bytes: parts.get(name), total: sizeOf(model) } : null;
        const bytes = model.megabytes ? sizeOf(model) : null;
        return {
          name,
          role,
          kind,
          repo,
          licence,
          recommended,
          nonCommercial,
          file: here.get(name) ?? null,
          part,
          bytes,
        };
      };
      const available = mode !== "none";
      return { available, hub, models: models.map(about), quota: 60e9, usage: 5e6, persisted: here.size > 0 };
    },
    async download({ names }) {
      paused = false;
      const { models } = await list();
      const wanted = names.map((name) => models.find((one) => one.name === name)).filter(({ name }) => !here.has(name));
      const total = wanted.reduce((sum, model) => sum + sizeOf(model), 0);
      tell({ event: "download", state: "asking", name: names[0], bytes: 0, total: 0 });
      await wait(PACE);
      if (mode === "refused") throw new Error("the hub is in trouble (503); try again later; what has arrived is kept");
      let finished = 0;
      for (const model of wanted) {
        const size = sizeOf(model);
        for (let step = 0; step <= STEPS; step += 1) {
          await wait(mode === "slow" ? 10 * PACE : PACE);
          parts.set(model.name, (size * step) / STEPS);
          if (paused) throw new Error("paused");
          tell({
            event: "download",
            state: "receiving",
            name: model.name,
            bytes: finished + (size * step) / STEPS,
            total,
          });
        }
        finished += size;
        parts.delete(model.name);
        here.set(model.name, file(model));
      }
      return null;
    },
    async pause() {
      paused = true;
      await wait(12 * PACE);
      return null;
    },
    async forget({ names }) {
      for (const name of names) {
        here.delete(name);
        parts.delete(name);
      }
      return null;
    },
  };
}
