//! `clarifier selftest`: whether the devices of this machine compute right, each in a process of its own.

mod candidate;
mod child;
mod watch;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use clarifier_upscale::device::AdapterInfo;
use clarifier_upscale::known_bad::{Instead, matches};
use clarifier_upscale::selftest::{AdapterReport, CaseResult, Report, Verdict, apis, heading, table};

use crate::Outcome;
use watch::{End, Watched, watch};

/// How long a driver may take to say which adapters it has.
const LISTING: Duration = Duration::from_secs(30);

/// The command line.
pub fn command() -> Command {
    let option = |name: &'static str, value: &'static str| Arg::new(name).long(name).value_name(value);
    let file = |name, help| option(name, "FILE").value_parser(value_parser!(PathBuf)).help(help);
    Command::new("selftest")
        .about("Check that the GPUs and the CPU of this machine compute right")
        .arg(
            option("device", "N|NAME|cpu")
                .help("Only this device: its number in the table, a part of its name, or cpu [default: all]"),
        )
        .arg(file("json", "Write a report for a bug report"))
        .arg(
            option("timeout", "SECONDS")
                .value_parser(value_parser!(u64).range(1..))
                .default_value("600")
                .help("How long a device may take"),
        )
        .arg(Arg::new("quick").long("quick").action(ArgAction::SetTrue).help(
            "Only small and awkward shapes, and a small recipe on software adapters: seconds, a minute or two there",
        ))
        .arg(option("kernel", "PATTERN").help("Only kernels of this name; * stands for any text"))
        .arg(
            file("candidate", "Measure entries for the table of known-bad drivers, which are in FILE")
                .conflicts_with_all(["kernel", "json"]),
        )
        // What this program starts itself with.
        .arg(option("list", "API").hide(true))
        .arg(option("child", "API:N").hide(true))
        .arg(option("precision", "TYPE").hide(true))
        .arg(option("attention-bytes", "N").hide(true).value_parser(value_parser!(u64)))
}

/// A device to be tested.
#[derive(Debug, Clone)]
struct Target {
    /// `vulkan:0`, or `cpu`.
    id: String,
    adapter: Option<AdapterInfo>,
}

impl Target {
    fn cpu() -> Self {
        Self { id: "cpu".into(), adapter: None }
    }

    fn name(&self) -> String {
        AdapterReport::new(self.adapter.clone(), Vec::new()).name
    }

    fn is(&self, number: usize, wanted: &str) -> bool {
        wanted == self.id
            || wanted.parse() == Ok(number) && self.adapter.is_some()
            || wanted.parse::<usize>().is_err() && matches(&format!("*{wanted}*"), &self.name())
    }
}

/// What each child is asked to do.
#[derive(Debug, Clone)]
struct Work {
    quick: bool,
    kernel: Option<String>,
    precision: Option<String>,
    instead: Option<Instead>,
    timeout: Duration,
}

/// Run it, as parent or as child.
pub fn run(arguments: &ArgMatches) -> Result<Outcome> {
    let text = |name: &str| arguments.get_one::<String>(name).cloned();
    if let Some(api) = text("list") {
        return child::list(&api);
    }
    let work = Work {
        quick: arguments.get_flag("quick"),
        kernel: text("kernel"),
        precision: text("precision"),
        instead: arguments.get_one::<u64>("attention-bytes").copied().map(Instead::AttentionBytes),
        timeout: Duration::from_secs(*arguments.get_one::<u64>("timeout").expect("it has a default")),
    };
    if let Some(id) = text("child") {
        return child::test(&id, &work);
    }
    let (mut targets, mut failed) = targets();
    let wanted = text("device");
    if let Some(wanted) = &wanted {
        let mut number = 0..;
        targets.retain(|target| number.next().is_some_and(|number| target.is(number, wanted)));
        failed.clear();
        if targets.is_empty() {
            bail!("--device {wanted}: there is no such device; `clarifier devices` lists them");
        }
    }
    if let Some(file) = arguments.get_one::<PathBuf>("candidate") {
        return candidate::measure(file, &targets, &work);
    }
    let mut report = Report::new(work.quick, failed);
    outln!("{}", heading(&report));
    for failed in &report.adapters {
        outln!("{}", table(failed));
    }
    for target in &targets {
        errln!("testing {}: {}", target.id, target.name());
        let tested = test(target, &work)?;
        outln!("{}", table(&tested));
        report.adapters.push(tested);
    }
    out!("{}", report.summary());
    if let Some(file) = arguments.get_one::<PathBuf>("json") {
        let json = serde_json::to_string_pretty(&report).expect("plain data");
        std::fs::write(file, json).with_context(|| format!("{} cannot be written", file.display()))?;
        errln!("report: {}", file.display());
    }
    Ok(if report.passed() { Outcome::Done } else { Outcome::Failed })
}

/// The adapters, numbered from 0, then the CPU; and what is to be said of drivers that cannot even list theirs.
fn targets() -> (Vec<Target>, Vec<AdapterReport>) {
    let (mut targets, mut failures) = (Vec::new(), Vec::new());
    for api in apis() {
        let Watched { adapters, end, .. } = watch(&["--list".into(), api.clone()], LISTING);
        if end == End::Finished {
            let target = |(n, adapter)| Target { id: format!("{api}:{n}"), adapter: Some(adapter) };
            targets.extend(adapters.into_iter().enumerate().map(target));
        } else {
            let failure = format!("a driver {} while it listed its adapters", end.words(LISTING));
            failures.push(AdapterReport::failed(&api, failure));
        }
    }
    targets.push(Target::cpu());
    (targets, failures)
}

/// Test one device in a process of its own.
fn test(target: &Target, work: &Work) -> Result<AdapterReport> {
    let mut arguments = vec!["--child".into(), target.id.clone()];
    if work.quick {
        arguments.push("--quick".into());
    }
    for (name, value) in [("--kernel", &work.kernel), ("--precision", &work.precision)] {
        if let Some(value) = value {
            arguments.extend([name.into(), value.clone()]);
        }
    }
    if let Some(Instead::AttentionBytes(bytes)) = work.instead {
        arguments.extend(["--attention-bytes".into(), bytes.to_string()]);
    }
    let Watched { mut cases, begun, end, said, .. } = watch(&arguments, work.timeout);
    let mut failure = None;
    if end != End::Finished {
        let words = end.words(work.timeout);
        match begun {
            Some((kernel, shape, precision)) => {
                let verdict = if end == End::TimedOut { Verdict::TimedOut } else { Verdict::Crashed };
                let note = format!("it {words} here{}", quoted(&said));
                cases.push(CaseResult { verdict, note, ..CaseResult::new(&kernel, &shape, &precision) });
                failure = Some("what comes after that was not tried".to_owned());
            }
            None => failure = Some(format!("it {words} before the first case{}", quoted(&said))),
        }
    }
    Ok(AdapterReport { failure, ..AdapterReport::new(target.adapter.clone(), cases) })
}

fn quoted(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!(", having said: {said}") }
}
