//! The commands `check` and `report`: whether the page's devices compute right (`upscale/selftest`).

use clarifier_upscale::device::{AdapterInfo, DeviceChoice};
use clarifier_upscale::selftest::{
    AdapterReport, CaseResult, Fault, Level, Opened, Options, Progress, Report, run, text,
};
use js_sys::Function;
use serde::Deserialize;
use serde_json::{Value, json};
use wasm_bindgen::JsValue;

use crate::browser::now;
use crate::engine::cancellable;
use crate::models::backend;
use crate::{Answer, failed};

/// What is to be checked, and how.
#[derive(Deserialize)]
struct Wanted {
    device: String,
    quick: bool,
    /// Only kernels of this name; a pattern. For tests, as the next.
    kernel: Option<String>,
    /// A mistake to make.
    fault: Option<String>,
    /// What the worker knows of the GPU, of which wgpu asks browsers too little.
    #[serde(default)]
    name: String,
    #[serde(default)]
    software: bool,
}

impl Wanted {
    fn complete(&self, adapter: &mut AdapterInfo) {
        if !self.name.is_empty() {
            adapter.name.clone_from(&self.name);
        }
        adapter.software |= self.software;
        if adapter.software {
            adapter.kind = "software".into();
        }
    }
}

/// Run every case on a device; all that is found is told by events.
pub async fn check(wanted: &str, tell: &Function) -> Answer<()> {
    let wanted: Wanted = serde_json::from_str(wanted).map_err(failed)?;
    let choice: DeviceChoice = wanted.device.parse().map_err(failed)?;
    let fault = wanted.fault.as_ref().map(|text| text.parse::<Fault>()).transpose().map_err(failed)?;
    let level = if wanted.quick { Level::Quick } else { Level::Full };
    let options = Options { level, fault, only: wanted.kernel.clone(), ..Options::default() };
    let say = |mut what: Value| {
        what["event"] = "check".into();
        // The worker's function only posts a message.
        let _ = tell.call1(&JsValue::NULL, &what.to_string().into());
    };
    let checking = async {
        let device = match choice {
            DeviceChoice::Cpu => Opened::cpu(),
            DeviceChoice::Auto | DeviceChoice::Gpu => {
                let mut device = Opened::running(backend(choice).await?).await;
                device.backend.adapter.iter_mut().for_each(|adapter| wanted.complete(adapter));
                device
            }
        };
        say(json!({ "adapter": device.backend.adapter }));
        let mut observe = |progress: Progress| match progress {
            Progress::Working => say(json!({ "working": true })),
            other => say(json!(other)),
        };
        run(&device, &options, &|| now() / 1000.0, &mut observe).await;
        Ok(())
    };
    cancellable(checking).await
}

/// What the page heard of a device.
#[derive(Deserialize)]
struct Part {
    device: String,
    adapter: Option<AdapterInfo>,
    cases: Vec<CaseResult>,
    failure: Option<String>,
}

#[derive(Deserialize)]
struct Heard {
    quick: bool,
    browser: String,
    parts: Vec<Part>,
}

/// The report of what was heard, as the program writes it: `{ json, text, adapters: [{ name, passed }] }`.
pub fn report(heard: &str) -> Answer<String> {
    let heard: Heard = serde_json::from_str(heard).map_err(failed)?;
    let adapters = heard.parts.into_iter().map(Part::report).collect();
    let report = Report { browser: Some(heard.browser), ..Report::new(heard.quick, adapters) };
    let outcome = |adapter: &AdapterReport| json!({ "name": adapter.name, "passed": adapter.passed() });
    let outcomes: Vec<Value> = report.adapters.iter().map(outcome).collect();
    let json = serde_json::to_string_pretty(&report).map_err(failed)?;
    Ok(json!({ "json": json, "text": text(&report), "adapters": outcomes }).to_string())
}

impl Part {
    fn report(self) -> AdapterReport {
        let Self { device, adapter, cases, failure } = self;
        let mut report = AdapterReport { failure, ..AdapterReport::new(adapter, cases) };
        if device != "cpu" && report.adapter.is_none() {
            report.name = "a GPU through webgpu".into();
        }
        report
    }
}
