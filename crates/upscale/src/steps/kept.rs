//! What a ledger keeps of the steps of a redrawing: the canvas and what the solver keeps once a step, and in between the
//! noise of the tiles that are done, each once. So it does not matter by how many it is gone on with.

use std::collections::BTreeMap;

use clarifier_tile::Rect;

use super::{Step, Steps, rows};
use crate::journal::{Unit, Values};
use crate::team::{from_bytes, to_bytes};
use crate::{Error, Phase, SolverState};

fn x_key(step: usize) -> String {
    format!("x@{step}")
}

fn kept_key(step: usize) -> String {
    format!("kept@{step}")
}

/// Of the noise of tiles; with the places of those that are in it, it is a key.
fn noise_key(step: usize) -> String {
    format!("eps@{step}:")
}

impl Steps<'_> {
    /// Take what an interrupted run left: the step it was at, and the noise of that step's tiles.
    pub(super) fn resume(&mut self) -> Result<(usize, BTreeMap<usize, Vec<f32>>), Error> {
        let counts = self.split.counts();
        let done = self.ledger.done(self.name)?;
        let (step, _) = place(&counts, done);
        let values = self.canvas.data.len();
        let Some(x) = self.ledger.partial_f32(self.name, &x_key(step), values)? else {
            return Ok((0, BTreeMap::new()));
        };
        self.canvas.data = x;
        let kept = self.ledger.partial_f64(self.name, &kept_key(step), values)?.unwrap_or_default();
        let whole = Rect::new(0, 0, self.canvas.size);
        for (band, solver) in &mut self.bands {
            let part = |list: &Vec<f64>| rows(list, self.canvas.channels, whole, *band);
            solver.resume(SolverState { done: step, kept: kept.iter().map(part).collect() });
        }
        let mut begun = BTreeMap::new();
        for key in self.ledger.partial_keys(self.name)? {
            let Some(places) = key.strip_prefix(&noise_key(step)).and_then(places) else { continue };
            let lengths: Vec<usize> = places.iter().map(|place| self.values(step, *place)).collect();
            let all = self.ledger.partial_f32(self.name, &key, lengths.iter().sum())?.unwrap_or_default();
            let mut rest = &all[..];
            for (place, length) in places.into_iter().zip(lengths) {
                let (noise, after) = rest.split_at(length);
                begun.insert(place, noise.to_vec());
                rest = after;
            }
        }
        self.done = counts[..step].iter().sum::<usize>() + begun.len();
        self.is_kept = true;
        Ok((step, begun))
    }

    /// Numbers of a tile's noise.
    fn values(&self, step: usize, place: usize) -> usize {
        let tiles = self.split.tiles(step);
        tiles.get(place).map_or(0, |(_, rect)| self.canvas.channels * rect.size.area() as usize)
    }

    /// After `rounds` of a step: keep what is done of it, if it is time.
    pub(super) fn keep(&mut self, step: &mut Step, rounds: usize) -> Result<(), Error> {
        let done = |rank: usize| step.before(rank, rounds);
        let all = step.todo.iter().enumerate().all(|(rank, todo)| todo.len() == done(rank));
        // After the last, the solver steps first. And what may have to be computed again is not kept, nor a part of what
        // is reused later.
        let is_reused = self.redraw.settings.reuse_features > 1;
        if all || is_reused || step.cut.is_some() && !self.team.is_alone() {
            return Ok(());
        }
        if !self.ledger.is_due(Phase::Diffuse, (self.done, self.total))? {
            return Ok(());
        }
        let new =
            |(rank, todo): (usize, &Vec<usize>)| todo[step.before(rank, step.kept)..done(rank)].to_vec();
        let new: Vec<Vec<usize>> = step.todo.iter().enumerate().map(new).collect();
        let rank = self.team.rank();
        let own: Vec<f32> = new[rank].iter().flat_map(|place| step.noise[place].iter().copied()).collect();
        let bytes =
            |rank: usize| 4 * new[rank].iter().map(|place| self.values(step.index, *place)).sum::<usize>();
        let all = if self.team.leads() {
            let others: Vec<_> =
                (1..self.team.size()).map(|from| (from, bytes(from))).filter(|(_, n)| *n > 0).collect();
            let received = self.team.exchange(&[], &others)?;
            own.into_iter().chain(received.iter().flat_map(|bytes| from_bytes(bytes))).collect()
        } else {
            let outgoing = Some((0, to_bytes(&own))).filter(|(_, bytes)| !bytes.is_empty());
            self.team.exchange(&outgoing.into_iter().collect::<Vec<_>>(), &[])?;
            Vec::new()
        };
        step.kept = rounds;
        if self.team.is_alone() {
            let last = new[0].last().copied();
            step.noise.retain(|place, _| last.is_none_or(|last| *place >= last));
        }
        let key = noise_key(step.index) + &listed(&new.concat());
        self.save(step.index, vec![(key, all)])
    }

    /// Rank 0 writes down where the run is: in `step`, with this more of its noise.
    pub(super) fn save(&mut self, step: usize, noise: Vec<(String, Vec<f32>)>) -> Result<(), Error> {
        let mut kept = Vec::new();
        if !self.is_kept && !self.team.is_alone() {
            kept = self.collect()?;
        }
        let before = self.ledger.partial_keys(self.name)?;
        let before = before.into_iter().filter(|key| key.starts_with(&noise_key(step)));
        let mut values: Vec<(String, Values<'_>)> = before.map(|key| (key, Values::Same)).collect();
        if self.is_kept {
            values.extend([(x_key(step), Values::Same), (kept_key(step), Values::Same)]);
        } else {
            let kept = match &self.bands[..] {
                [(_, solver)] if self.team.is_alone() => &solver.state().kept,
                _ => &kept,
            };
            values
                .extend([(x_key(step), Values::F32(&self.canvas.data)), (kept_key(step), Values::F64(kept))]);
        }
        values.extend(noise.iter().map(|(key, noise)| (key.clone(), Values::F32(noise))));
        let (of, phase, done, total) = (self.name, Phase::Diffuse, self.done, self.total);
        let unit = Unit { of, phase, done, total, sums: &[], picture: None, values: &values };
        let saved = self.ledger.save(unit);
        self.is_kept = true;
        self.team.agree(saved)
    }

    /// Rank 0 gets the whole canvas, and what the solvers keep of the whole of it.
    fn collect(&mut self) -> Result<Vec<Vec<f64>>, Error> {
        let lists = self.bands.first().map_or(0, |(_, solver)| solver.state().kept.len());
        let lists = self.team.told(|| Ok(vec![lists as u8]))?.first().map_or(0, |lists| usize::from(*lists));
        let (channels, whole) = (self.canvas.channels, Rect::new(0, 0, self.canvas.size));
        let values = |rank: usize| -> usize {
            self.split.owned(rank).iter().map(|rect| channels * rect.size.area() as usize).sum()
        };
        let own = self.split.owned(self.team.rank());
        let others: Vec<_> = (1..self.team.size()).filter(|rank| values(*rank) > 0).collect();
        let sends = !self.team.leads() && values(self.team.rank()) > 0;
        let outgoing =
            |bytes: &dyn Fn() -> Vec<u8>| -> Vec<_> { if sends { vec![(0, bytes())] } else { Vec::new() } };
        let incoming = |bytes: usize| -> Vec<_> {
            let others = others.iter().filter(|_| self.team.leads());
            others.map(|rank| (*rank, bytes * values(*rank))).collect()
        };
        let x = || to_bytes(&own.iter().flat_map(|rect| self.canvas.crop(*rect)).collect::<Vec<_>>());
        let received = self.team.exchange(&outgoing(&x), &incoming(4))?;
        let mut all = Vec::new();
        for list in 0..lists {
            let part = |rect: &Rect| {
                let inside = |band: &Rect| band.y <= rect.y && rect.bottom() <= band.bottom();
                let band = self.bands.iter().find(|(band, _)| inside(band));
                let (band, solver) = band.expect("what is owned is held");
                rows(&solver.state().kept[list], channels, *band, *rect)
            };
            let bytes =
                || -> Vec<u8> { own.iter().flat_map(part).flat_map(|value| value.to_le_bytes()).collect() };
            let received = self.team.exchange(&outgoing(&bytes), &incoming(8))?;
            if self.team.leads() {
                let mut list = vec![0.0; channels * whole.size.area() as usize];
                for rect in &own {
                    put_rows(&mut list, channels, whole, *rect, &part(rect));
                }
                for (rank, bytes) in others.iter().zip(received) {
                    let values: Vec<f64> =
                        bytes.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b)).collect();
                    let mut rest = &values[..];
                    for rect in self.split.owned(*rank) {
                        let (part, after) = rest.split_at(channels * rect.size.area() as usize);
                        put_rows(&mut list, channels, whole, rect, part);
                        rest = after;
                    }
                }
                all.push(list);
            }
        }
        for (rank, bytes) in others.iter().zip(received) {
            self.lay_owned(*rank, from_bytes(&bytes));
        }
        Ok(all)
    }
}

/// Set whole rows `part` of planes of rows `of`.
fn put_rows<T: Copy>(values: &mut [T], channels: usize, of: Rect, part: Rect, from: &[T]) {
    let (plane, first) = (of.size.area() as usize, (part.y - of.y) as usize * of.size.width as usize);
    let length = part.size.area() as usize;
    for channel in 0..channels {
        let into = &mut values[channel * plane + first..][..length];
        into.copy_from_slice(&from[channel * length..][..length]);
    }
}

/// The step of the tile after `done` of them, where each step has so many as `counts` says, and how many of
/// the step's are done.
fn place(counts: &[usize], done: usize) -> (usize, usize) {
    let (mut step, mut within) = (0, done);
    while counts.get(step).is_some_and(|count| within >= *count) {
        within -= counts[step];
        step += 1;
    }
    (step, within)
}

/// `[0, 1, 2, 7]` as `0-2,7`.
fn listed(places: &[usize]) -> String {
    let mut list: Vec<(usize, usize)> = Vec::new();
    for place in places {
        match list.last_mut() {
            Some((_, last)) if *last + 1 == *place => *last = *place,
            _ => list.push((*place, *place)),
        }
    }
    let text = |(first, last): &(usize, usize)| {
        if first == last { first.to_string() } else { format!("{first}-{last}") }
    };
    list.iter().map(text).collect::<Vec<_>>().join(",")
}

/// Back from [`listed`].
fn places(list: &str) -> Option<Vec<usize>> {
    let mut places = Vec::new();
    for range in list.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        places.extend(first.parse::<usize>().ok()?..=last.parse().ok()?);
    }
    Some(places)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_listed_and_read() {
        for (list, text) in
            [(vec![0, 1, 2, 7, 9, 10], "0-2,7,9-10"), (vec![5], "5"), (vec![4, 0, 1], "4,0-1")]
        {
            assert_eq!(listed(&list), text);
            assert_eq!(places(text), Some(list));
        }
        assert_eq!(places("1-x"), None);
    }
}
