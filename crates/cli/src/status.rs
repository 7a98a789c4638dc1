//! Where a run stands, in the words of `processing_status.txt`.

use std::time::Duration;

use clarifier_upscale::{Event, Meter, Phase, Plan};

use crate::progress::{human, verb};

/// What `processing_status.txt` says.
#[derive(Default)]
pub struct Status {
    state: String,
    /// Operations of each picture, and where the current one stands.
    work: Vec<f64>,
    plans: Vec<Option<Plan>>,
    index: usize,
    name: String,
    meter: Option<Meter>,
    stage: String,
    phase: String,
    tiles: String,
    /// From 0 to 1.
    share: f64,
    /// When the first tile of all was done; what came before was loading.
    begun: Option<(Duration, f64)>,
    now: Duration,
}

impl Status {
    pub fn new() -> Self {
        Self { state: "starting".into(), ..Self::default() }
    }

    /// The pictures to come; none where it is not known what one takes.
    pub fn begin(&mut self, plans: Vec<Option<Plan>>) {
        self.work =
            plans.iter().map(|plan| plan.as_ref().map_or(0.0, |plan| Meter::new(plan).total())).collect();
        self.plans = plans;
    }

    /// The `index`th picture of those begins.
    pub fn picture(&mut self, index: usize, name: String) {
        self.state = "running".into();
        (self.index, self.name) = (index, name);
        self.meter = self.plans.get(index).and_then(Option::as_ref).map(Meter::new);
        (self.stage, self.phase, self.tiles) = Default::default();
        self.count(0.0);
    }

    /// Take notice of an event, `now` after the run's beginning.
    pub fn observe(&mut self, event: &Event, now: Duration) {
        self.now = now;
        match event {
            Event::Load { network, bytes, total } => {
                self.state = format!("loading {network}, {} of {} MB", bytes >> 20, total >> 20);
            }
            Event::Stage { stage, stages, width, height, .. } => {
                self.stage = format!("{stage} of {stages}, to {width} × {height}");
            }
            Event::Resumed { stage, stages, .. } => self.stage = format!("{stage} of {stages}"),
            Event::Tile { phase, done, total } => {
                self.phase = verb(*phase).into();
                let unit = if *phase == Phase::Diffuse { "tiles of all steps" } else { "tiles" };
                self.tiles = format!("{done} of {total} {unit}");
            }
            _ => {}
        }
        if let Some(meter) = &mut self.meter {
            let share = meter.observe(event);
            self.count(share);
        }
        if matches!(event, Event::Tile { .. }) {
            self.begun.get_or_insert((now, self.share));
        }
    }

    /// With this share of the current picture done.
    fn count(&mut self, share: f64) {
        let before: f64 = self.work[..self.index.min(self.work.len())].iter().sum();
        let here = self.work.get(self.index).copied().unwrap_or_default() * share;
        let total: f64 = self.work.iter().sum();
        if total > 0.0 {
            self.share = self.share.max((before + here) / total).min(1.0);
        }
    }

    /// It has ended: `done`, `failed: …` or `cancelled`.
    pub fn finish(&mut self, state: &str) {
        self.state = state.split_whitespace().collect::<Vec<_>>().join(" ");
        if state == "done" {
            self.share = 1.0;
        }
    }

    /// What the rest takes, if it goes on as it went.
    fn left(&self) -> Option<Duration> {
        let (begun, share) = self.begun?;
        let rate = (self.share - share) / (self.now - begun).as_secs_f64();
        (rate > 0.0).then(|| Duration::from_secs_f64((1.0 - self.share) / rate))
    }

    /// The file's text.
    pub fn text(&self, time: &str) -> String {
        let mut lines = vec![format!("state: {}", self.state)];
        if self.state == "running" {
            lines.push(format!("picture: {} of {}, {}", self.index + 1, self.work.len(), self.name));
            for (name, value) in [("stage", &self.stage), ("phase", &self.phase), ("tiles", &self.tiles)] {
                if !value.is_empty() {
                    lines.push(format!("{name}: {value}"));
                }
            }
        }
        lines.push(format!("percent: {:.1}", 100.0 * self.share));
        if let Some(left) = self.left().filter(|_| self.state == "running") {
            lines.push(format!("time left: about {}", human(left)));
        }
        lines.push(format!("updated: {time}\n"));
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clarifier_tile::Size;
    use clarifier_upscale::device::Backend;
    use clarifier_upscale::{Enlarger, Settings};

    #[test]
    fn it_counts_the_whole_run() {
        let plan = |width| {
            Plan::new(
                &Backend::flex(),
                &Enlarger::Lanczos,
                false,
                Size::new(width, 100),
                &Settings::default(),
            )
        };
        let mut status = Status::new();
        assert!(status.text("now").starts_with("state: starting\npercent: 0.0\n"));
        // The second is three times as large.
        status.begin(vec![Some(plan(100)), Some(plan(300))]);
        status.picture(0, "a.png".into());
        let tile = |done| Event::Tile { phase: Phase::Enlarge, done, total: 2 };
        status.observe(&tile(1), Duration::from_secs(10));
        assert!(status.text("now").contains("percent: 12.5\nupdated"), "{}", status.text("now"));
        status.observe(&tile(2), Duration::from_secs(12));
        status.picture(1, "b.png".into());
        assert!(
            status.text("now").contains("percent: 25.0\ntime left: about 12 s\n"),
            "{}",
            status.text("now")
        );
        status.observe(&tile(1), Duration::from_secs(20));
        let text = status.text("2026");
        for line in [
            "state: running",
            "picture: 2 of 2, b.png",
            "phase: enlarging",
            "tiles: 1 of 2 tiles",
            "percent: 62.5",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} in {text}");
        }
        status.finish("done");
        assert_eq!(status.text("2026"), "state: done\npercent: 100.0\nupdated: 2026\n");
        status.finish("failed: one\ntwo");
        assert!(status.text("2026").starts_with("state: failed: one two\n"));
    }
}
