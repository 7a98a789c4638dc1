//! How much of a picture's work is done.

use crate::{Event, Phase, Plan};

/// The share of a picture's work that is done, by its events. Phases and stages count as much as the
/// plan says that they compute.
#[derive(Debug, Clone)]
pub struct Meter {
    /// Operations of each stage, phase by phase.
    work: Vec<[f64; 4]>,
    /// From 0.
    stage: usize,
    done: f64,
}

impl Meter {
    /// For a run of this plan.
    pub fn new(plan: &Plan) -> Self {
        Self { work: plan.stages.iter().map(|stage| stage.work).collect(), stage: 0, done: 0.0 }
    }

    /// Operations in all.
    pub fn total(&self) -> f64 {
        self.work.iter().flatten().sum()
    }

    /// Take notice of an event; from 0 to 1, and never less than before.
    pub fn observe(&mut self, event: &Event) -> f64 {
        match event {
            Event::Stage { stage, .. } => self.stage = stage.saturating_sub(1),
            Event::Resumed { stage, phase, done, total, .. } => {
                self.stage = stage.saturating_sub(1);
                return self.observe(&Event::Tile { phase: *phase, done: *done, total: *total });
            }
            Event::Tile { phase, done, total } => {
                let before: f64 = self.work.iter().take(self.stage).flatten().sum();
                if let Some(work) = self.work.get(self.stage) {
                    let phase = *phase as usize;
                    let share = *done as f64 / (*total).max(1) as f64;
                    let here = before + work[..phase].iter().sum::<f64>() + work[phase] * share;
                    self.done = self.done.max(here / self.total());
                }
            }
            _ => {}
        }
        self.done
    }

    /// As [`Self::observe`], last time.
    pub fn done(&self) -> f64 {
        self.done
    }
}

impl Phase {
    /// All, in order.
    pub const ALL: [Self; 4] = [Self::Enlarge, Self::Encode, Self::Diffuse, Self::Decode];
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Backend;
    use crate::{Enlarger, Settings};
    use clarifier_tile::Size;

    #[test]
    fn it_rises_from_nothing_to_all_by_the_work() {
        let settings = Settings { upscale_factor: 3.0, ..Settings::default() };
        let plan = Plan::new(&Backend::flex(), &Enlarger::Lanczos, true, Size::new(1200, 1000), &settings);
        let mut meter = Meter::new(&plan);
        let mut shares = vec![meter.done()];
        for stage in 1..=2 {
            shares.push(meter.observe(&Event::Stage { stage, stages: 2, width: 1, height: 1, seed: 0 }));
            for phase in Phase::ALL {
                shares.push(meter.observe(&Event::Tile { phase, done: 1, total: 2 }));
                shares.push(meter.observe(&Event::Tile { phase, done: 2, total: 2 }));
            }
        }
        assert!(shares.is_sorted(), "{shares:?}");
        assert_eq!(shares[0], 0.0);
        assert!((shares.last().unwrap() - 1.0).abs() < 1e-9, "{shares:?}");
        // One that goes on begins where it was.
        let mut later = Meter::new(&plan);
        let at = Event::Resumed { stage: 2, stages: 2, phase: Phase::Diffuse, done: 1, total: 2 };
        assert_eq!(later.observe(&at), shares[15]);
        // Diffusion is nearly all, and the second stage's is of more tiles.
        let (first, second) = (shares[7] - shares[5], shares[16] - shares[14]);
        assert!(first + second > 0.5 && first < second, "{shares:?}");
        let steps = |stage: usize| (plan.stages[stage].steps * plan.stages[stage].diffusion_tiles) as f64;
        assert!((second / first - steps(1) / steps(0)).abs() < 1e-9, "{shares:?}");
    }
}
