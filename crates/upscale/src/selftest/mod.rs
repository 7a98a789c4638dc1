//! Whether a device computes right: every kernel that the recipe uses, at real and awkward shapes, against
//! plain loops in f64; then a small whole recipe against a stored result.
//!
//! No processes and no clock here: what runs each adapter where it can do no harm is the program's
//! (`cli/selftest`), or the page's (`web/lib/check.js`).

mod adapter;
mod attention;
mod barrier;
mod case;
mod compare;
mod conv;
mod fault;
pub mod formula;
mod layout;
mod matmul;
mod norms;
mod pointwise;
mod project;
mod recipe;
mod report;
mod table;

use burn::tensor::wgpu::wgpu;
use burn::tensor::{DType, Tensor, TensorData};
use clarifier_kernels::Half;

pub use adapter::{Opened, apis, list_on, open};
use case::{Case, Output};
use compare::Worst;
pub use fault::{Fault, FaultKind};
use recipe::Extent;
pub use report::{AdapterReport, CaseResult, Report, Verdict};
pub use table::{heading, table, text};

use crate::Error;
use crate::transfer::read;

/// How much is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Level {
    /// Small and awkward shapes: seconds, a minute or two on a software adapter, where the recipe is a small one.
    Quick,
    /// Also the real ones of SD 1.5 at 512 × 512 pixels: many minutes on a software adapter.
    #[default]
    Full,
}

/// What to run.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// How much.
    pub level: Level,
    /// Only kernels whose name matches this pattern ([`crate::known_bad::matches`]).
    pub only: Option<String>,
    /// Only this precision, `f32` or `f16`.
    pub precision: Option<String>,
    /// A mistake to make, which must be found.
    pub fault: Option<Fault>,
}

impl Options {
    fn wants(&self, kernel: &str, precision: &str) -> bool {
        self.only.as_ref().is_none_or(|only| crate::known_bad::matches(only, kernel))
            && self.precision.as_ref().is_none_or(|wanted| wanted == precision)
    }

    fn fault_of(&self, kernel: &str) -> Option<&Fault> {
        self.fault.as_ref().filter(|fault| crate::known_bad::matches(&fault.kernel, kernel))
    }
}

/// What happens.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Progress {
    /// How many cases there will be, if nothing fails.
    Planned(usize),
    /// A case begins: if nothing more is heard, it was this one.
    Begin {
        /// Which kernel.
        kernel: String,
        /// At which shape.
        shape: String,
        /// `f32` or `f16`.
        precision: String,
    },
    /// The case that began goes on: said now and then of one that may take minutes.
    Working,
    /// A case has ended.
    Done(CaseResult),
}

/// After this many device errors in a row, nothing more is tried.
const GIVE_UP_AFTER: usize = 3;
/// A kernel's speed is that of the best of a few runs in about this time, in seconds.
const TIMING: f64 = 0.2;

/// Run every case on a device. `now` gives seconds from any beginning.
pub async fn run(
    device: &Opened,
    options: &Options,
    now: &dyn Fn() -> f64,
    observe: &mut dyn FnMut(Progress),
) -> Vec<CaseResult> {
    let adapter = device.adapter.as_ref().filter(|_| options.wants(barrier::NAME, "f32"));
    let (cases, recipes) = (cases(device, options), recipes(device, options));
    observe(Progress::Planned(usize::from(adapter.is_some()) + cases.len() + recipes.len()));
    let mut bench = Bench { device, options, now, observe, results: Vec::new(), broken: 0 };
    if let Some(adapter) = adapter {
        bench.barriers(adapter).await;
    }
    for case in cases {
        if !bench.given_up() {
            bench.case(&case).await;
        }
    }
    let extent =
        if device.is_software() && options.level == Level::Quick { Extent::Small } else { Extent::Whole };
    for precision in recipes {
        if !bench.given_up() {
            bench.recipe(precision, extent).await;
        }
    }
    bench.results
}

fn precisions(device: &Opened) -> Vec<DType> {
    if device.f16 { vec![DType::F32, DType::F16] } else { vec![DType::F32] }
}

/// In which the recipe is made.
fn recipes(device: &Opened, options: &Options) -> Vec<DType> {
    // A software adapter's f16 is emulated, and never taken.
    let mut all = if device.is_software() { vec![DType::F32] } else { precisions(device) };
    all.retain(|dtype| options.wants(recipe::NAME, name(*dtype)));
    all
}

fn name(dtype: DType) -> &'static str {
    if dtype == DType::F16 { "f16" } else { "f32" }
}

fn cases(device: &Opened, options: &Options) -> Vec<Case> {
    let mut cases = Vec::new();
    for dtype in precisions(device) {
        cases.extend(pointwise::cases(dtype));
        cases.extend(layout::cases(dtype));
        cases.extend(matmul::cases(dtype));
        cases.extend(conv::cases(dtype));
        cases.extend(norms::cases(dtype));
        cases.extend(attention::cases(dtype));
    }
    cases.extend(attention::softmax_cases());
    cases.extend([Half::F16, Half::Bf16].map(layout::unpack));
    cases.push(layout::largest(device.largest_binding(options.level)));
    cases.retain(|case| {
        (case.quick || options.level == Level::Full) && options.wants(case.kernel, name(case.dtype))
    });
    cases
}

struct Bench<'a> {
    device: &'a Opened,
    options: &'a Options,
    now: &'a dyn Fn() -> f64,
    observe: &'a mut dyn FnMut(Progress),
    results: Vec<CaseResult>,
    /// Device errors in a row.
    broken: usize,
}

impl Bench<'_> {
    fn begin(&mut self, kernel: &str, shape: &str, precision: &str) -> f64 {
        let [kernel, shape, precision] = [kernel, shape, precision].map(str::to_owned);
        (self.observe)(Progress::Begin { kernel, shape, precision });
        (self.now)()
    }

    fn given_up(&self) -> bool {
        self.broken >= GIVE_UP_AFTER
    }

    fn end(&mut self, mut result: CaseResult) {
        self.broken = if result.verdict == Verdict::Failed { self.broken + 1 } else { 0 };
        if self.given_up() {
            result.note += "; after so many errors in a row nothing more was tried";
        }
        (self.observe)(Progress::Done(result.clone()));
        self.results.push(result);
    }

    async fn case(&mut self, case: &Case) {
        let begun = self.begin(case.kernel, &case.shape, name(case.dtype));
        let mut result = CaseResult::new(case.kernel, &case.shape, name(case.dtype));
        match self.compute(case).await {
            Ok((worst, speed)) => {
                result.judge(&worst);
                result.gflops = speed;
            }
            Err(error) => result.fail(&error.to_string()),
        }
        result.seconds = (self.now)() - begun;
        self.end(result);
    }

    async fn compute(&self, case: &Case) -> Result<(Worst, Option<f64>), Error> {
        let backend = &self.device.backend;
        let inputs = case.inputs();
        let place = |host: &case::Host| -> Tensor<4> {
            let data = TensorData::new(host.values.clone(), host.dims);
            Tensor::from_data(data, (&backend.device, case.dtype))
        };
        let tensors: Vec<Tensor<4>> = inputs.iter().map(place).collect();
        let begun = (self.now)();
        let mut y = case.compute(backend, &tensors);
        if let Some(fault) = self.options.fault_of(case.kernel) {
            y = fault.put_into(y);
        }
        let output = Output { dims: y.dims(), values: read(y).await? };
        let slow = self.options.level == Level::Quick && (self.now)() - begun > TIMING;
        let worst = case.judge(&inputs, &output);
        if case.operations == 0.0 || slow {
            return Ok((worst, None));
        }
        let begun = (self.now)();
        let mut best = f64::INFINITY;
        loop {
            let from = (self.now)();
            let y = case.compute(backend, &tensors);
            // One value is enough to wait for all.
            read(y.slice([0..1, 0..1, 0..1, 0..1])).await?;
            best = best.min((self.now)() - from);
            if (self.now)() - begun > TIMING {
                break;
            }
        }
        Ok((worst, Some(case.operations / best / 1e9)))
    }

    async fn barriers(&mut self, adapter: &wgpu::Adapter) {
        let begun = self.begin(barrier::NAME, barrier::SHAPE, "f32");
        let mut result = CaseResult::new(barrier::NAME, barrier::SHAPE, "f32");
        let faulty = self.options.fault_of(barrier::NAME).is_some();
        match barrier::run(adapter, faulty).await {
            Ok((0, _)) => result.judge(&Worst::default()),
            Ok((wrong, first)) => {
                // Whole numbers: there is no tolerance to be beyond of.
                result.verdict = Verdict::Wrong;
                result.note = format!("{wrong} values are wrong, first {first}");
            }
            Err(error) => result.fail(&error),
        }
        result.seconds = (self.now)() - begun;
        self.end(result);
    }

    async fn recipe(&mut self, dtype: DType, extent: Extent) {
        let begun = self.begin(recipe::NAME, extent.shape(), name(dtype));
        let mut result = CaseResult::new(recipe::NAME, extent.shape(), name(dtype));
        let alive = &mut || (self.observe)(Progress::Working);
        match recipe::measure(&self.device.backend, dtype, extent, alive).await {
            Ok(nearness) => result.judge_recipe(&nearness),
            Err(error) => result.fail(&error.to_string()),
        }
        result.seconds = (self.now)() - begun;
        self.end(result);
    }
}
