//! The cases of `cargo xtask bench` on the browser's GPU, one after the other, as `tests/web/bench.mjs` calls them.
#![cfg(target_arch = "wasm32")]

#[path = "../../src/bin/bench/block.rs"]
mod block;
// The program's table has more columns.
#[allow(dead_code)]
#[path = "../../src/bin/bench/cases.rs"]
mod cases;
#[path = "../../../crates/wasm/src/constructors.rs"]
mod constructors;
#[path = "../../src/bin/bench/random.rs"]
mod random;

use burn::tensor::Tensor;
use cases::{Case, Setting};
use clarifier_upscale::device::{Backend, DeviceChoice, Precision, choose};
use wasm_bindgen::JsError;
use wasm_bindgen::prelude::wasm_bindgen;

fn failed(error: impl std::fmt::Display) -> JsError {
    JsError::new(&error.to_string())
}

/// Called once, before all others.
#[wasm_bindgen(start)]
pub fn start() {
    constructors::call();
}

/// A GPU, and the case that is at work.
#[wasm_bindgen]
pub struct Bench {
    backend: Backend,
    /// Waited for, since whoever reads it waits for all before it.
    last: Tensor<1>,
    run: Option<Box<dyn FnMut()>>,
}

fn setting(backend: &Backend) -> Setting<'_> {
    Setting { device: &backend.device, dtype: backend.dtype, attention: backend.attention }
}

#[wasm_bindgen]
impl Bench {
    /// On the browser's GPU.
    pub async fn open() -> Result<Bench, JsError> {
        let backend = choose(DeviceChoice::Gpu, Precision::F32).await.map_err(failed)?;
        let last = cases::noise([1], &setting(&backend));
        Ok(Self { backend, last, run: None })
    }

    /// The device, in words.
    pub fn device(&self) -> String {
        self.backend.reason.clone()
    }

    /// Names of all cases, and each as JSON, by turns.
    pub fn cases() -> Vec<String> {
        let all = cases::all(true).into_iter();
        all.flat_map(|case| [case.to_string(), serde_json::to_string(&case).expect("plain data")]).collect()
    }

    /// Floating-point operations of a case; 0 where memory decides.
    pub fn operations(case: &str) -> Result<f64, JsError> {
        Ok(serde_json::from_str::<Case>(case).map_err(failed)?.operations())
    }

    /// Make a case ready.
    pub fn prepare(&mut self, case: &str) -> Result<(), JsError> {
        let case: Case = serde_json::from_str(case).map_err(failed)?;
        self.run = None;
        self.run = case.prepare(&setting(&self.backend));
        Ok(())
    }

    /// Do it so many times, to the end of the last.
    pub async fn run(&mut self, times: u32) -> Result<(), JsError> {
        let run = self.run.as_mut().ok_or_else(|| JsError::new("prepare comes first"))?;
        (0..times).for_each(|_| run());
        let waited = self.last.clone() + 1.0;
        waited.into_data_async().await.map(drop).map_err(failed)
    }
}
