//! The report as people read it.

use std::fmt::Write;

use super::report::{AdapterReport, CaseResult, Report, Verdict};

/// All of a report: its heading, a table for each device, and how many are right.
pub fn text(report: &Report) -> String {
    let tables: Vec<String> = report.adapters.iter().map(table).collect();
    format!("{}\n{}\n{}", heading(report), tables.join("\n"), report.summary())
}

/// Program and system, in a line or two.
pub fn heading(report: &Report) -> String {
    let Report { version, os, arch, shaders, browser, quick, .. } = report;
    let (place, level) =
        (if browser.is_some() { "web page" } else { os.as_str() }, if *quick { "quick" } else { "full" });
    let browser = browser.iter().map(|browser| format!("{browser}\n")).collect::<String>();
    format!("Clarifier {version}, {place}, {arch}, {shaders}, {level} self-test\n{browser}")
}

/// One device: what it is, a line for each kernel, what is wrong, the verdict.
pub fn table(report: &AdapterReport) -> String {
    let mut text = format!("{}\n", report.name);
    // Writing to a string cannot fail.
    if let Some(adapter) = &report.adapter {
        // Browsers keep the driver to themselves.
        let driver = Some(&adapter.driver).filter(|driver| !driver.is_empty());
        let driver = driver.map_or_else(String::new, |driver| format!(", driver {driver}"));
        let _ = writeln!(text, "  {}, {}{driver}", adapter.kind, adapter.api);
        let _ = writeln!(
            text,
            "  buffers {} MiB, bindings {} MiB, {} storage buffers, {} invocations, {} KiB workgroup memory, {}",
            adapter.max_buffer >> 20,
            adapter.max_binding >> 20,
            adapter.max_storage_buffers,
            adapter.max_invocations,
            adapter.workgroup_memory >> 10,
            if adapter.shader_f16 { "f16" } else { "no f16" },
        );
    }
    for known in &report.known_bad {
        let _ = writeln!(text, "  known bad: {known}");
    }
    let rows = rows(&report.cases);
    let width = rows.iter().map(|row| row.kernel.chars().count()).max().unwrap_or(0).max(6);
    if !rows.is_empty() {
        let _ = writeln!(text, "  {:width$}  type  shapes  error/tolerance  GFLOP/s  verdict", "kernel");
    }
    for Row { kernel, precision, shapes, worst, gflops, bad } in &rows {
        let worst = worst.map_or("–".into(), |worst| format!("{worst:.3}"));
        let gflops = gflops.map_or(String::new(), |gflops| format!("{gflops:.1}"));
        let verdict = if *bad == 0 { "ok".into() } else { format!("{bad} BAD") };
        let _ = writeln!(
            text,
            "  {kernel:width$}  {precision}  {shapes:>6}  {worst:>15}  {gflops:>7}  {verdict}"
        );
    }
    let noted = |case: &&CaseResult| case.verdict != Verdict::Ok || !case.note.is_empty();
    for case in report.cases.iter().filter(noted) {
        let CaseResult { kernel, shape, precision, error, note, .. } = case;
        let what = match (case.verdict, error) {
            (Verdict::Ok, _) => "ok".into(),
            (Verdict::Wrong, Some(error)) => format!("WRONG by {error:.1} × its tolerance"),
            (Verdict::Wrong, None) => "WRONG".into(),
            (Verdict::NotANumber, _) => "NO NUMBER".into(),
            (Verdict::Failed, _) => "FAILED".into(),
            (Verdict::Crashed, _) => "CRASHED".into(),
            (Verdict::TimedOut, _) => "TIMED OUT".into(),
        };
        let _ = writeln!(text, "  {what}: {kernel}, {precision}, {shape}: {note}");
    }
    if let Some(failure) = &report.failure {
        let _ = writeln!(text, "  {failure}");
    }
    // Of nothing it is −0.
    let seconds = report.cases.iter().map(|case| case.seconds).sum::<f64>().abs();
    let verdict = match report {
        _ if report.passed() => "computes right",
        AdapterReport { failure: None, cases, .. } if cases.is_empty() => "NOTHING WAS TESTED",
        _ => "DOES NOT COMPUTE RIGHT",
    };
    let _ = writeln!(text, "  {verdict}: {} cases in {seconds:.0} s", report.cases.len());
    text
}

struct Row {
    kernel: String,
    precision: String,
    shapes: usize,
    worst: Option<f64>,
    gflops: Option<f64>,
    bad: usize,
}

/// A kernel in a precision, all shapes together, in the order they ran.
fn rows(cases: &[CaseResult]) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for case in cases {
        let same = |row: &Row| row.kernel == case.kernel && row.precision == case.precision;
        let row = match rows.iter().position(same) {
            Some(at) => &mut rows[at],
            None => {
                let (kernel, precision) = (case.kernel.clone(), case.precision.clone());
                rows.push(Row { kernel, precision, shapes: 0, worst: None, gflops: None, bad: 0 });
                rows.last_mut().expect("one was pushed")
            }
        };
        let larger = |a: Option<f64>, b: Option<f64>| match (a, b) {
            (Some(a), Some(b)) => Some(a.max(b)),
            _ => a.or(b),
        };
        row.shapes += 1;
        row.worst = larger(row.worst, case.error);
        row.gflops = larger(row.gflops, case.gflops);
        row.bad += usize::from(case.verdict != Verdict::Ok);
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(kernel: &str, verdict: Verdict, error: Option<f64>, note: &str) -> CaseResult {
        CaseResult {
            verdict,
            error,
            note: note.into(),
            seconds: 1.0,
            ..CaseResult::new(kernel, "2 × 3", "f32")
        }
    }

    #[test]
    fn a_report_tells_who_ran_it_and_what_is_wrong() {
        let cases = vec![
            case("conv 3×3", Verdict::Ok, Some(0.25), ""),
            case("conv 3×3", Verdict::Wrong, Some(4.0), "[0, 1]: 2, not 3"),
            case("softmax", Verdict::NotANumber, None, "[7]: NaN, not 1"),
        ];
        let failed = AdapterReport::failed("vulkan", "a driver crashed while it listed its adapters".into());
        let right = AdapterReport::new(None, vec![case("SiLU", Verdict::Ok, Some(0.5), "")]);
        let adapters =
            vec![AdapterReport::new(None, cases), failed, right, AdapterReport::new(None, Vec::new())];
        let report = Report { browser: Some("Mozilla".into()), ..Report::new(true, adapters) };
        let text = text(&report);
        for line in [
            "web page, ",
            "quick self-test\nMozilla\n\nCPU\n",
            "  conv 3×3  f32       2            4.000           1 BAD\n",
            "  WRONG by 4.0 × its tolerance: conv 3×3, f32, 2 × 3: [0, 1]: 2, not 3\n",
            "  NO NUMBER: softmax, f32, 2 × 3: [7]: NaN, not 1\n  DOES NOT COMPUTE RIGHT: 3 cases in 3 s\n",
            "\nvulkan\n  a driver crashed while it listed its adapters\n  DOES NOT COMPUTE RIGHT: 0 cases",
            "  computes right: 1 cases in 1 s\n",
            "  NOTHING WAS TESTED: 0 cases in 0 s\n",
            "\n1 of 4 devices compute right\n",
        ] {
            assert!(text.contains(line), "{line:?} in {text}");
        }
        assert!(!report.passed());
        // The page's report and the program's are read alike.
        let json = serde_json::to_string(&report).unwrap();
        assert_eq!(super::text(&serde_json::from_str(&json).unwrap()), text);
    }
}
