//! `clarifier devices`.

use anyhow::Result;
use clarifier_upscale::device::{AdapterInfo, DeviceChoice, Precision, choose, list};

use crate::progress::print_json;

/// Print every adapter, and what `--device auto` takes.
pub fn print(json: bool) -> Result<()> {
    let adapters = pollster::block_on(list());
    let auto = pollster::block_on(choose(DeviceChoice::Auto, Precision::Auto))?;
    if json {
        adapters.iter().for_each(print_json);
        print_json(&serde_json::json!({ "auto": auto.reason }));
        return Ok(());
    }
    for AdapterInfo { name, api, kind, driver, max_buffer, max_binding, shader_f16, memory, .. } in &adapters
    {
        outln!("{name}");
        outln!("  {kind}, {api}, driver {driver}");
        let f16 = if *shader_f16 { "f16" } else { "no f16" };
        let memory = memory.map_or(String::new(), |bytes| format!("{} MiB of memory, ", bytes >> 20));
        outln!(
            "  {memory}buffers up to {} MiB, bindings up to {} MiB, {f16}",
            max_buffer >> 20,
            max_binding >> 20
        );
    }
    if adapters.is_empty() {
        outln!("no GPU that wgpu can use");
    }
    outln!("--device auto takes: {}", auto.reason);
    Ok(())
}
