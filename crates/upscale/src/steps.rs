//! The steps of a redrawing, by all of a team, and what is kept of them for an interruption.

mod kept;

use std::collections::BTreeMap;

use burn::tensor::DType;
use clarifier_tile::{Rect, Size, TileWeights, Window};

use crate::diffuse::{Evaluation, Noise};
use crate::event::{tell, tell_step};
use crate::journal::Ledger;
use crate::preview::StepPreview;
use crate::split::Split;
use crate::team::{from_bytes, to_bytes};
use crate::{Canvas, Diffusion, Error, Event, Observer, Phase, Redraw, Solver, Team};

/// A canvas on its way through the steps, as one of a team sees it: of the canvas only the rows that it holds are right.
pub(crate) struct Steps<'a> {
    redraw: &'a Redraw<'a>,
    team: &'a Team,
    diffusion: &'a mut Diffusion,
    canvas: &'a mut Canvas,
    split: Split,
    /// As it is before the first step.
    solver: &'a Solver,
    /// The parts of the canvas that this process steps, each with a solver of its own.
    bands: Vec<(Rect, Solver)>,
    ledger: &'a mut Ledger,
    /// What the ledger calls the latents.
    name: &'a str,
    /// Tiles done, of all steps, and how many there are.
    done: usize,
    total: usize,
    /// Whether the ledger has the canvas as it was before the current step.
    is_kept: bool,
    /// How many tiles are computed at once.
    batch: usize,
    /// The places of the next tiles, and their noise, which a GPU is at while that of the ones before is added.
    ahead: Option<(Vec<usize>, Noise)>,
}

/// A step at work.
struct Step {
    index: usize,
    /// The noise of own tiles by their places in the step. Of a process alone, which adds each at once, only of those
    /// that the ledger does not have yet.
    noise: BTreeMap<usize, Vec<f32>>,
    /// The sum over tiles.
    sum: Canvas,
    /// What each process computes, and how many places it does in a round.
    todo: Vec<Vec<usize>>,
    batch: usize,
    /// How many rounds the ledger has.
    kept: usize,
    /// The first tile whose noise overflowed in f16: it and all after it are computed in f32, all before it in f16, so
    /// that it does not depend on who was faster.
    cut: Option<usize>,
    /// Own tiles computed in f16.
    halves: Vec<usize>,
}

impl Step {
    /// The places that `rank` computes in a round.
    fn group(&self, rank: usize, round: usize) -> &[usize] {
        self.todo[rank].chunks(self.batch).nth(round).unwrap_or_default()
    }

    /// How many of a process's places there are before a round.
    fn before(&self, rank: usize, round: usize) -> usize {
        (self.batch * round).min(self.todo[rank].len())
    }
}

impl<'a> Steps<'a> {
    /// Before the first step; `needed` is what must be right after each.
    pub fn new(
        redraw: &'a Redraw<'a>,
        diffusion: &'a mut Diffusion,
        canvas: &'a mut Canvas,
        solver: &'a Solver,
        needed: &[Rect],
        (ledger, name): (&'a mut Ledger, &'a str),
    ) -> Self {
        let team = redraw.team;
        let split = Split::new(redraw.tiles, needed, canvas.channels, team);
        let bands = split.bands().into_iter().map(|band| (band, solver.on(band))).collect();
        let total = split.counts().iter().sum();
        let batch = diffusion.tile_batch.max(1);
        Self {
            redraw,
            team,
            diffusion,
            canvas,
            split,
            solver,
            bands,
            ledger,
            name,
            done: 0,
            total,
            is_kept: false,
            batch,
            ahead: None,
        }
    }

    /// All steps that an interrupted run has not done. At the end every process has the whole canvas.
    pub async fn run(mut self, needed: &[Rect], observe: Observer<'_>) -> Result<(), Error> {
        // Rounds are of the same length for all.
        let batches = self.team.share(Ok((self.batch as u64).to_le_bytes().to_vec()))?;
        let batches =
            batches.iter().filter_map(|said| said.first_chunk()).map(|said| u64::from_le_bytes(*said));
        self.batch = batches.min().unwrap_or(1) as usize;
        let (first, mut begun) = self.resume()?;
        for (index, part) in needed.iter().enumerate().skip(first) {
            let mut step = self.begin(index, std::mem::take(&mut begun));
            self.tiles(&mut step, needed.len(), observe).await?;
            self.gather(&mut step)?;
            self.advance(step, *part, needed.len(), observe)?;
        }
        let own = self.split.owned(self.team.rank()).into_iter();
        let own = own.flat_map(|rect| self.canvas.crop(rect)).collect();
        if !self.team.is_alone() {
            for (rank, rows) in self.team.share_f32(Ok(own))?.into_iter().enumerate() {
                self.lay_owned(rank, rows);
            }
        }
        Ok(())
    }

    /// A step of which the noise of some tiles is known already.
    fn begin(&self, index: usize, mut begun: BTreeMap<usize, Vec<f32>>) -> Step {
        let unknown = |rank| self.split.run(index, rank).filter(|place| !begun.contains_key(place)).collect();
        let todo = (0..self.team.size()).map(unknown).collect();
        let mine = self.split.mine(index);
        begun.retain(|place, _| mine.contains(place));
        let sum = Canvas::zeros(self.redraw.tiles.frame().area(), self.canvas.channels);
        Step { index, noise: begun, sum, todo, batch: self.batch, kept: 0, cut: None, halves: Vec::new() }
    }

    /// Compute the tiles of a step, each process its own, in rounds of as many for each as are computed at once.
    async fn tiles(&mut self, step: &mut Step, steps: usize, observe: Observer<'_>) -> Result<(), Error> {
        let rounds = step.todo.iter().map(|todo| todo.len().div_ceil(self.batch)).max().unwrap_or_default();
        let known: Vec<_> = step.noise.keys().copied().collect();
        let mut known = known.into_iter().peekable();
        let (mut round, mut changed) = (0, false);
        while round < rounds || changed {
            let group = step.group(self.team.rank(), round).to_vec();
            let overflowed = self.round(step, round, observe).await;
            let overflowed = overflowed.map(|place| place.map_or(0, |p| p as u64 + 1).to_le_bytes().to_vec());
            let first = self.team.share(overflowed)?.into_iter().filter_map(|said| {
                let place = u64::from_le_bytes(*said.first_chunk()?);
                place.checked_sub(1).map(|place| place as usize)
            });
            let first = first.min();
            changed = first.is_some_and(|first| step.cut.is_none_or(|cut| first < cut));
            if changed {
                step.cut = first;
            }
            if self.team.is_alone() {
                if step.cut.is_some() {
                    self.ledger.set_precision(self.diffusion.precision());
                }
                for place in &group {
                    // What an interrupted run did before this one.
                    while let Some(before) = known.next_if(|known| known < place) {
                        self.add(step, before);
                    }
                    self.add(step, *place);
                }
            }
            let made: usize = (0..self.team.size()).map(|rank| step.group(rank, round).len()).sum();
            round += 1;
            self.done += made;
            self.keep(step, round)?;
            let told = (self.done - made + 1..=self.done)
                .try_for_each(|done| tell(observe, Phase::Diffuse, done, self.total));
            let shown = told
                .and_then(|()| group.iter().try_for_each(|place| self.show(step, *place, steps, observe)));
            self.team.agree(shown)?;
            if self.team.is_alone() && !self.ledger.is_kept() {
                step.noise.clear();
            }
        }
        if self.team.is_alone() {
            known.for_each(|place| self.add(step, place));
        }
        if step.cut.is_some() {
            let full = self.in_full(observe).await;
            self.team.agree(full)?;
            self.ledger.set_precision(self.diffusion.precision());
        }
        Ok(())
    }

    /// This process's part of a round, and again what was computed in f16 and should not have been. The first place that
    /// overflowed, if any.
    async fn round(
        &mut self,
        step: &mut Step,
        round: usize,
        observe: Observer<'_>,
    ) -> Result<Option<usize>, Error> {
        let cut = step.cut;
        let after = |place: usize| cut.is_some_and(|cut| place > cut);
        let mine = self.split.mine(step.index);
        if after(mine.start) {
            self.in_full(observe).await?;
        }
        let again: Vec<usize> = step.halves.extract_if(.., |place| after(*place)).collect();
        let mut overflowed = None;
        for group in again.chunks(self.batch) {
            overflowed = overflowed.or(self.compute(step, group, &[], observe).await?);
        }
        let rank = self.team.rank();
        let (group, next) = (step.group(rank, round).to_vec(), step.group(rank, round + 1).to_vec());
        if !group.is_empty() {
            overflowed = overflowed.or(self.compute(step, &group, &next, observe).await?);
        }
        Ok(overflowed)
    }

    /// Compute the noise of the tiles at `places`; a GPU gets the `next` ones before it is waited for. The first place that
    /// overflowed, if any.
    async fn compute(
        &mut self,
        step: &mut Step,
        places: &[usize],
        next: &[usize],
        observe: Observer<'_>,
    ) -> Result<Option<usize>, Error> {
        let begun = self.ahead.take().filter(|(of, _)| of == places);
        let noise = match begun {
            Some((_, noise)) => noise,
            None => self.noise(step.index, places).await?,
        };
        if !next.is_empty() && self.redraw.backend.adapter.is_some() {
            self.ahead = Some((next.to_vec(), self.noise(step.index, next).await?));
        }
        let mut made = noise.finish().await?;
        let is_half = self.diffusion.dtype != DType::F32;
        let overflowed = made.iter().position(|noise| !finite(noise)).filter(|_| is_half);
        let halves = overflowed.unwrap_or(if is_half { places.len() } else { 0 });
        if let Some(first) = overflowed {
            // f16 overflowed. Its range is the cause, so all that follows is done in f32.
            self.in_full(observe).await?;
            made.truncate(first);
            made.extend(self.noise(step.index, &places[first..]).await?.finish().await?);
        }
        if let Some(at) = made.iter().position(|noise| !finite(noise)) {
            let (index, _) = self.split.tiles(step.index)[places[at]];
            return Err(Error::NotFinite { phase: Phase::Diffuse, tile: index + 1 });
        }
        step.halves.extend(&places[..halves]);
        step.noise.extend(places.iter().copied().zip(made));
        Ok(overflowed.map(|first| places[first]))
    }

    /// Begin to compute the noise of the tiles at `places`.
    async fn noise(&self, step: usize, places: &[usize]) -> Result<Noise, Error> {
        let tiles = self.split.tiles(step);
        let rects: Vec<Rect> = places.iter().map(|place| tiles[*place].1).collect();
        let (settings, evaluations) = (self.redraw.settings, self.solver.evaluations());
        let at = Evaluation {
            t: self.solver.timestep(step),
            guided: settings.is_guided(step, evaluations),
            reuses: settings.is_reusing(step, evaluations),
            is_reused: settings.is_reusing(step + 1, evaluations),
        };
        self.redraw.begin(self.diffusion, self.canvas, &rects, &at).await
    }

    /// From now on compute in f32.
    async fn in_full(&mut self, observe: Observer<'_>) -> Result<(), Error> {
        if self.diffusion.dtype == DType::F32 {
            return Ok(());
        }
        self.ahead = None;
        let message = "a tile overflowed in f16: going on in f32".to_owned();
        let _ = observe(Event::Warning { message });
        self.diffusion.reload(self.redraw.backend, observe).await
    }

    /// Add the own tile at `place` to the sum.
    fn add(&self, step: &mut Step, place: usize) {
        let grid = self.redraw.tiles.grid(step.index);
        let (index, rect) = self.split.tiles(step.index)[place];
        step.sum.add(rect, &step.noise[&place], &grid.weights(index, self.window()));
    }

    fn window(&self) -> Window {
        Window::from(self.redraw.settings.tile_window)
    }

    /// Tell of what a tile looks like.
    fn show(&self, step: &Step, place: usize, steps: usize, observe: Observer<'_>) -> Result<(), Error> {
        if !self.previews() {
            return Ok(());
        }
        let (frame, tiles) = (self.redraw.tiles.frame(), self.split.tiles(step.index));
        let (_, rect) = tiles[place];
        let Some(at) = frame.inside(rect).filter(|_| self.redraw.tiles.grid(step.index).len() > 1) else {
            return Ok(());
        };
        let part = |data| Canvas { size: rect.size, channels: self.canvas.channels, data };
        let x = part(frame.crop(self.canvas, rect));
        let eps = part(self.solver.predicted_noise(step.index, &x.data, &step.noise[&place]));
        let whole = Rect::new(0, 0, rect.size);
        let (latents, sigma) = (self.diffusion.latents(), self.solver.sigma_at(step.index));
        let preview = StepPreview::new(latents, (&x, &eps), whole, (at.x, at.y), sigma);
        tell_step(observe, (step.index, steps), preview)
    }

    /// Previews are of the whole canvas, which in a team nobody has.
    fn previews(&self) -> bool {
        self.redraw.previews && self.team.is_alone()
    }

    /// The sum over all tiles that reach into the own bands. A process alone has it already.
    fn gather(&mut self, step: &mut Step) -> Result<(), Error> {
        if self.team.is_alone() {
            return Ok(());
        }
        let (split, rank, index) = (&self.split, self.team.rank(), step.index);
        let tiles = split.tiles(index);
        let channels = self.canvas.channels;
        let others = || (0..self.team.size()).filter(|other| *other != rank);
        let part = |place: usize, to: usize| -> Vec<f32> {
            let Some(wanted) = split.rows_for(index, place, to) else { return Vec::new() };
            let (_, rect) = tiles[place];
            let part = Rect::new(0, wanted.start, Size::new(rect.size.width, wanted.len() as u32));
            rows(&step.noise[&place], channels, Rect::new(0, 0, rect.size), part)
        };
        let outgoing = others().filter(|to| split.sent(index, rank, *to) > 0).map(|to| {
            let values: Vec<f32> = split.mine(index).flat_map(|place| part(place, to)).collect();
            (to, to_bytes(&values))
        });
        let incoming = others().map(|from| (from, 4 * split.sent(index, from, rank)));
        let incoming: Vec<_> = incoming.filter(|(_, length)| *length > 0).collect();
        let received = self.team.exchange(&outgoing.collect::<Vec<_>>(), &incoming)?;
        let grid = self.redraw.tiles.grid(index);
        let mut received: BTreeMap<usize, _> = incoming
            .iter()
            .zip(received)
            .map(|((from, _), bytes)| (*from, from_bytes(&bytes).into_iter()))
            .collect();
        // In the order of the tiles, whoever computed them.
        for from in 0..self.team.size() {
            for place in split.run(index, from) {
                let (number, rect) = tiles[place];
                let weights = grid.weights(number, self.window());
                if from == rank {
                    step.sum.add(rect, &step.noise[&place], &weights);
                } else if let (Some(wanted), Some(values)) =
                    (split.rows_for(index, place, rank), received.get_mut(&from))
                {
                    let size = Size::new(rect.size.width, wanted.len() as u32);
                    let rect = Rect::new(rect.x, rect.y + wanted.start, size);
                    let part: Vec<f32> = values.take(channels * size.area() as usize).collect();
                    let y = weights.y[wanted.start as usize..wanted.end as usize].to_vec();
                    step.sum.add(rect, &part, &TileWeights { x: weights.x, y });
                }
            }
        }
        Ok(())
    }

    /// The solver's step on the own bands.
    fn advance(
        &mut self,
        mut step: Step,
        part: Rect,
        steps: usize,
        observe: Observer<'_>,
    ) -> Result<(), Error> {
        let (index, frame) = (step.index, self.redraw.tiles.frame());
        let mut preview = None;
        for (band, own) in &mut self.bands {
            let output = frame.fold_part(&mut step.sum, *band);
            let mut x =
                Canvas { size: band.size, channels: self.canvas.channels, data: self.canvas.lift(*band) };
            if self.redraw.previews && self.team.is_alone() {
                // Alone one has the whole canvas in one band.
                let eps = Canvas { data: own.predicted_noise(index, &x.data, &output), ..x };
                preview = StepPreview::new(
                    self.diffusion.latents(),
                    (&x, &eps),
                    part,
                    (part.x, part.y),
                    self.solver.sigma_at(index),
                );
            }
            own.step(index, &mut x.data, &output);
            self.canvas.lay(*band, x.data);
        }
        let told = tell_step(observe, (index, steps), preview);
        self.team.agree(told)?;
        self.is_kept = false;
        // What the next evaluation reuses is not kept, so one that goes on begins before it.
        if self.redraw.settings.is_reusing(index + 1, self.solver.evaluations()) {
            return Ok(());
        }
        if self.ledger.is_due(Phase::Diffuse, (self.done, self.total))? {
            self.save(index + 1, Vec::new())?;
        }
        Ok(())
    }

    /// Set the rows that `rank` answers for.
    fn lay_owned(&mut self, rank: usize, values: Vec<f32>) {
        let mut values = values.into_iter();
        for rect in self.split.owned(rank) {
            let part = values.by_ref().take(self.canvas.channels * rect.size.area() as usize).collect();
            self.canvas.lay(rect, part);
        }
    }
}

/// Whole rows `part` of planes of rows `of`.
fn rows<T: Copy>(values: &[T], channels: usize, of: Rect, part: Rect) -> Vec<T> {
    let width = of.size.width as usize;
    let (plane, first) = (of.size.area() as usize, (part.y - of.y) as usize * width);
    let planes = (0..channels).map(|channel| &values[channel * plane + first..][..part.size.area() as usize]);
    planes.flatten().copied().collect()
}

fn finite(values: &[f32]) -> bool {
    values.iter().all(|v| v.is_finite())
}
