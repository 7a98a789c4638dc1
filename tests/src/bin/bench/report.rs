//! The table and the file.

use std::path::Path;

use serde_json::json;

use crate::{Limits, Row};

const MIB: f64 = (1u64 << 20) as f64;

/// The table's head.
pub fn head(peers: bool, on_gpu: bool) {
    let of_burn = [
        "burn's own ms",
        "burn's own GFLOP/s",
        "times as fast as burn's own, by the clock",
        "by processor time",
    ];
    let of_torch = [
        "PyTorch ms",
        "PyTorch GFLOP/s",
        "time, ours / PyTorch",
        "processor time, ours / PyTorch",
        "PyTorch peak MiB",
    ];
    let ours = ["ms", "GFLOP/s", "of the limit", "peak MiB"];
    let columns =
        ours.iter().chain(of_burn.iter().filter(|_| on_gpu)).chain(of_torch.iter().filter(|_| peers));
    let columns: Vec<&str> = columns.copied().collect();
    println!("| case | {} |", columns.join(" | "));
    println!("| --- |{}", " ---: |".repeat(columns.len()));
}

/// One row of the table.
pub fn row(row: &Row, on_gpu: bool) {
    let rate = |seconds: f64| match row.operations {
        0.0 => "–".to_owned(),
        operations => format!("{:.1}", operations / seconds / 1e9),
    };
    let ours = &row.ours;
    print!(
        "| {} | {:.2} | {} | {:.0} % | {:.0} |",
        row.name,
        ours.seconds * 1e3,
        rate(ours.seconds),
        100.0 * row.share_of_limit,
        ours.peak as f64 / MIB
    );
    match &row.stock {
        Some(stock) => print!(
            " {:.2} | {} | {:.2} | {:.2} |",
            stock.seconds * 1e3,
            rate(stock.seconds),
            stock.seconds / ours.seconds,
            stock.cpu_seconds / ours.cpu_seconds
        ),
        None if on_gpu => print!(" – | – | – | – |"),
        None => {}
    }
    match &row.torch {
        Some(torch) => println!(
            " {:.2} | {} | {:.2} | {:.2} | {:.0} |",
            torch.seconds * 1e3,
            rate(torch.seconds),
            ours.seconds / torch.seconds,
            ours.cpu_seconds / torch.cpu_seconds,
            torch.peak as f64 / MIB
        ),
        None => println!(),
    }
}

/// What stable-diffusion.cpp did, below the table.
pub fn sdcpp(rows: &[Row]) {
    for Row { name, ours, sdcpp, .. } in rows {
        if let Some(theirs) = sdcpp {
            println!(
                "\n{name}: {theirs:.2} s in stable-diffusion.cpp, of which ours are {:.2}",
                ours.seconds / theirs
            );
        }
    }
}

/// All of it, for programs.
pub fn json(path: &Path, device: &str, threads: usize, limits: Limits, rows: &[Row]) {
    let all = json!({ "device": device, "threads": threads, "limits": limits, "rows": rows });
    let text = serde_json::to_string_pretty(&all).expect("plain data");
    if let Err(error) = std::fs::write(path, text) {
        eprintln!("{}: {error}", path.display());
        std::process::exit(1);
    }
}
