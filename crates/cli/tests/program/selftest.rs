//! `clarifier selftest`, on the CPU and on whatever Vulkan adapter there is: a software one in CI.

use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::{command, stderr};

const CPU: &str = "cpu";
const GPU: &str = if cfg!(windows) {
    "dx12:0"
} else if cfg!(target_os = "macos") {
    "metal:0"
} else {
    "vulkan:0"
};

/// Run it with one environment variable more.
fn selftest(home: &Path, arguments: &[&str], (name, value): (&str, &str)) -> Output {
    let output = command(home).arg("selftest").args(arguments).env(name, value).output();
    output.expect("the program starts")
}

const NOTHING: (&str, &str) = ("CLARIFIER_NOTHING", "");
const FAULT: &str = "CLARIFIER_SELFTEST_FAULT";
const SIMULATE: &str = "CLARIFIER_SELFTEST_SIMULATE";

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The report, and the cases of its first device.
fn report(file: &Path) -> (Value, Vec<Value>) {
    let report: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let cases = report["adapters"][0]["cases"].as_array().unwrap().clone();
    (report, cases)
}

#[test]
fn the_cpu_and_a_gpu_compute_right() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("report.json");
    for device in [CPU, GPU] {
        let arguments = ["--quick", "--device", device, "--json", "report.json"];
        let output = selftest(home.path(), &arguments, NOTHING);
        let said = stdout(&output);
        println!("{said}");
        assert!(output.status.success(), "{device}: {said}{}", stderr(&output));
        assert!(said.starts_with(concat!("Clarifier ", env!("CARGO_PKG_VERSION"), ", ")), "{said}");
        assert!(said.contains("computes right") && said.contains("1 of 1 devices"), "{said}");
        let (report, cases) = report(&file);
        assert_eq!(report["version"], env!("CARGO_PKG_VERSION"));
        assert_eq!(report["os"], std::env::consts::OS);
        assert_eq!(report["adapters"][0]["adapter"].is_null(), device == CPU);
        for kernel in ["conv 3×3", "linear", "self-attention", "GEGLU", "softmax", "the whole recipe"] {
            let of: Vec<&Value> = cases.iter().filter(|case| case["kernel"] == kernel).collect();
            assert!(!of.is_empty(), "{kernel}");
            // A tolerance that rounding does not reach at all would show nothing, but for the recipe's in dB.
            let worst = of.iter().filter_map(|case| case["error"].as_f64()).fold(0.0, f64::max);
            assert!(worst > 1e-4 && worst <= 1.0, "{device}, {kernel}: {worst}");
        }
        // Whichever of them is to be had: on a software adapter it is a small one, of which nothing is stored.
        let recipe = cases.iter().find(|case| case["kernel"] == "the whole recipe").expect("it was there");
        let from = if device == CPU { "dB from the stored result" } else { "dB from the CPU's" };
        assert!(recipe["note"].as_str().unwrap().contains(from), "{recipe}");
    }
}

#[test]
fn one_wrong_element_is_found_in_every_kernel_at_every_shape() {
    let home = tempfile::tempdir().unwrap();
    for fault in ["wrong-element:*", "nan:*"] {
        let arguments = ["--quick", "--device", CPU, "--json", "report.json"];
        let output = selftest(home.path(), &arguments, (FAULT, fault));
        assert_eq!(output.status.code(), Some(1), "{}", stdout(&output));
        let (_, cases) = report(&home.path().join("report.json"));
        let kernels: Vec<&Value> = cases.iter().filter(|case| case["kernel"] != "the whole recipe").collect();
        assert!(kernels.len() > 50, "{}", kernels.len());
        for case in kernels {
            let wanted = if fault == "nan:*" { "not_a_number" } else { "wrong" };
            assert_eq!(case["verdict"], wanted, "{case}");
            assert!(!case["note"].as_str().unwrap().is_empty(), "{case}");
        }
    }
}

#[test]
fn faults_on_a_gpu_are_named_by_kernel_and_shape() {
    let home = tempfile::tempdir().unwrap();
    for (fault, kernel, line) in [
        ("wrong-element:conv 3×3", "conv 3×3", ["WRONG by", "conv 3×3, f32, 2 × 7 × 13 × 5 → 3"]),
        ("nan:softmax", "softmax", ["NO NUMBER", "softmax, f32, 2 × 3 × 5 × 77"]),
        ("missing-barrier", "workgroup barriers", ["WRONG: workgroup barriers", "1024 workgroups × 256"]),
    ] {
        let arguments = ["--quick", "--device", GPU, "--kernel", kernel];
        let right = selftest(home.path(), &arguments, NOTHING);
        assert!(right.status.success(), "{}", stdout(&right));
        let wrong = selftest(home.path(), &arguments, (FAULT, fault));
        let said = stdout(&wrong);
        assert_eq!(wrong.status.code(), Some(1), "{said}");
        let named = |text: &str| line.iter().all(|part| text.contains(part));
        assert!(said.lines().any(named), "{fault}: {said}");
    }
}

#[test]
fn a_driver_that_crashes_or_hangs_is_a_line_and_the_others_finish() {
    let home = tempfile::tempdir().unwrap();
    for (what, word) in [("crash", "CRASHED"), ("panic", "CRASHED"), ("hang", "TIMED OUT")] {
        let limit = 20;
        let seconds = limit.to_string();
        let arguments = ["--quick", "--kernel", "*ReLU", "--timeout", &seconds, "--json", "report.json"];
        let begun = Instant::now();
        let output = selftest(home.path(), &arguments, (SIMULATE, &format!("{what}:{GPU}")));
        let (took, said) = (begun.elapsed(), stdout(&output));
        assert_eq!(output.status.code(), Some(1), "{said}");
        let (report, cases) = report(&home.path().join("report.json"));
        let last = cases.last().unwrap();
        // The third case had begun.
        assert_eq!((cases.len(), &last["kernel"]), (3, &Value::from("PReLU")), "{said}");
        assert!(said.contains(&format!("{word}: PReLU, f32, 1 × 5 × 3 × 7")), "{said}");
        if what == "panic" {
            assert!(last["note"].as_str().unwrap().contains("the device is lost"), "{last}");
        }
        let others = &report["adapters"].as_array().unwrap()[1..];
        assert!(!others.is_empty());
        for other in others {
            assert_eq!(other["failure"], Value::Null, "{said}");
            assert_eq!(other["cases"].as_array().unwrap().len(), 4, "{said}");
        }
        if what == "hang" {
            let waited = Duration::from_secs(limit);
            assert!(took >= waited && took < waited * (others.len() as u32 + 2), "{took:?}");
        }
    }
}

#[test]
fn candidates_for_the_table_are_measured() {
    let home = tempfile::tempdir().unwrap();
    let entry = |adapter: &str| {
        format!(
            "[[entry]]\nadapter = '{adapter}'\nkernel = '*ReLU'\ninstead = 'cpu'\nwhat = 'it crashes'\nsource = 'a test'\n"
        )
    };
    std::fs::write(home.path().join("any.toml"), entry("*")).unwrap();
    std::fs::write(home.path().join("other.toml"), entry("a GPU that is not here")).unwrap();
    std::fs::write(home.path().join("bad.toml"), "[[entry]]\nkernel = 'x'").unwrap();
    let run = |file: &str, variable| {
        let arguments = ["--quick", "--device", GPU, "--candidate", file];
        let output = selftest(home.path(), &arguments, variable);
        (output.status.code(), stdout(&output) + &stderr(&output))
    };
    let (code, said) = run("any.toml", NOTHING);
    assert!(code == Some(1) && said.contains("nothing is wrong: the entry does not hold here"), "{said}");
    let crash = format!("crash:{GPU}");
    let (code, said) = run("any.toml", (SIMULATE, &crash));
    assert!(code == Some(0) && said.contains("the entry holds: wrong as it is, right with"), "{said}");
    let (code, said) = run("other.toml", NOTHING);
    assert!(code == Some(1) && said.contains("it is about no device of this machine"), "{said}");
    let (code, said) = run("bad.toml", NOTHING);
    assert!(code == Some(1) && said.contains("missing field"), "{said}");
}

#[test]
fn a_device_or_kernel_that_is_not_there_is_said() {
    let home = tempfile::tempdir().unwrap();
    let output = selftest(home.path(), &["--device", "Voodoo"], NOTHING);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("--device Voodoo: there is no such device"), "{}", stderr(&output));
    let output = selftest(home.path(), &["--device", CPU, "--kernel", "voodoo"], NOTHING);
    assert_eq!(output.status.code(), Some(1));
    assert!(stdout(&output).contains("NOTHING WAS TESTED"), "{}", stdout(&output));
}
