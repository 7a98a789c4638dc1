// The stand-in's self-test: a few cases on each device, of which one goes wrong as `mode` says, on the GPU.

const KERNELS = [
  ["workgroup barriers", "1024 workgroups × 256", 0, null],
  ["SiLU", "1 × 5 × 3 × 7", 0.471, null],
  ["conv 3×3", "2 × 7 × 13 × 5 → 3", 0.568, null],
  ["conv 3×3", "2 × 320 × 64 × 64 → 320", 0.786, 2.6],
  ["group norm + SiLU, batch's statistics", "2 × 32 × 9 × 7", 0.053, null],
  ["the whole recipe", "tiny networks, 1 step, 2 tiles", 0.011, null],
];

const GPU = {
  name: "Mock 4000",
  api: "webgpu",
  kind: "other",
  driver: "",
  software: false,
  max_buffer: 4_294_967_296,
  max_binding: 2_147_483_644,
  max_storage_buffers: 10,
  max_invocations: 256,
  workgroup_memory: 32768,
  shader_f16: true,
};

const OUTCOMES = {
  wrong: { verdict: "wrong", error: 3.25, note: "[0, 1, 8, 3]: 1.250000e0, not 2.500000e-1" },
  nan: { verdict: "not_a_number", error: null, note: "[0, 1, 8, 3]: NaN, not 2.500000e-1" },
};

/** `pause` waits for a case, and tells whether what runs was cancelled. */
export function checkCommands(mode, tell, pause) {
  const say = (what) => tell({ event: "check", ...what });
  return {
    async check({ device, quick }) {
      const gpu = device === "gpu";
      say({ adapter: gpu ? GPU : null });
      const kernels = KERNELS.filter(
        ([kernel, , , gflops]) => (gpu || !kernel.startsWith("work")) && !(quick && gflops),
      );
      const cases = kernels.flatMap((one) => (gpu ? ["f32", "f16"] : ["f32"]).map((precision) => [...one, precision]));
      say({ planned: cases.length });
      for (const [kernel, shape, error, gflops, precision] of cases) {
        say({ begin: { kernel, shape, precision } });
        await pause();
        const here = gpu && kernel === "conv 3×3" && precision === "f16";
        if (here && mode === "lost") tell({ event: "lost", message: "the GPU was lost: a reason" });
        if (here && mode === "panics") {
          tell({ event: "panic", message: "panicked at somewhere.rs:7:\nValidation Error" });
          throw new Error("unreachable executed");
        }
        if (here && (mode === "lost" || mode === "hangs")) await new Promise(() => {});
        const right = { verdict: "ok", error, note: kernel.includes("recipe") ? "84.0 dB from the CPU's" : "" };
        const outcome = (here && OUTCOMES[mode]) || right;
        say({ done: { kernel, shape, precision, gflops, seconds: 1.5, ...outcome } });
      }
      return null;
    },
    report({ quick, browser, parts }) {
      const outcome = ({ device, cases, failure }) => ({
        name: device === "gpu" ? `${GPU.name} through ${GPU.api}` : "CPU",
        passed: failure === null && cases.every(({ verdict }) => verdict === "ok"),
      });
      const adapters = parts.map(outcome);
      const lines = adapters.map(
        ({ name, passed }) => `${name}\n  ${passed ? "computes" : "DOES NOT COMPUTE"} right\n`,
      );
      const text = `Clarifier, ${quick ? "quick" : "full"} self-test\n${browser}\n\n${lines.join("\n")}`;
      return { json: JSON.stringify({ quick, browser, adapters: parts }), text, adapters };
    },
  };
}
