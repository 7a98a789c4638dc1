//! What UNet and ControlNet can compute once for many tiles: of a prompt, and of a timestep.

use std::slice::Iter;

use burn::tensor::Tensor;

/// Keys and values of a sequence that a block attends to, `[b, heads, tokens, d]` each.
#[derive(Debug, Clone)]
pub(crate) struct KeyValue {
    pub key: Tensor<4>,
    pub value: Tensor<4>,
}

/// A prompt as one network's cross-attentions see it, in their order.
#[derive(Debug, Clone)]
pub struct PromptKeys(pub(crate) Vec<KeyValue>);

/// A timestep as one network's residual blocks see it: what each adds to its channels after its first convolution, `[c]`, in
/// their order.
#[derive(Debug, Clone)]
pub struct TimeShifts(pub(crate) Vec<Tensor<1>>);

impl PromptKeys {
    /// Those of a batch of tiles, of the prompts of each.
    pub fn together(tiles: &[&Self]) -> Self {
        let layer = |i: usize| {
            let of = |part: fn(&KeyValue) -> &Tensor<4>| {
                together(&tiles.iter().map(|tile| part(&tile.0[i])).collect::<Vec<_>>())
            };
            KeyValue { key: of(|both| &both.key), value: of(|both| &both.value) }
        };
        Self((0..tiles.first().map_or(0, |tile| tile.0.len())).map(layer).collect())
    }
}

/// `[prompts, …]` of each of several tiles as one batch: all under the first prompt, then all under the next.
pub(crate) fn together(tiles: &[&Tensor<4>]) -> Tensor<4> {
    let prompts = tiles.first().map_or(0, |tile| tile.dims()[0]);
    let under = |prompt| tiles.iter().map(move |tile| (*tile).clone().narrow(0, prompt, 1));
    Tensor::cat((0..prompts).flat_map(under).collect(), 0)
}

/// Back from [`together`].
pub(crate) fn apart(batch: &Tensor<4>, tiles: usize) -> Vec<Tensor<4>> {
    let prompts = batch.dims()[0] / tiles;
    let of = |tile| {
        let under = (0..prompts).map(|prompt| batch.clone().narrow(0, prompt * tiles + tile, 1));
        Tensor::cat(under.collect(), 0)
    };
    (0..tiles).map(of).collect()
}

/// What is left of both on the way through a network.
pub(crate) struct Given<'a> {
    shifts: Iter<'a, Tensor<1>>,
    prompts: Iter<'a, KeyValue>,
}

impl<'a> Given<'a> {
    pub fn new(time: &'a TimeShifts, prompt: &'a PromptKeys) -> Self {
        Self { shifts: time.0.iter(), prompts: prompt.0.iter() }
    }

    /// Leave out all but the last so many of each.
    pub fn skip_to_last(&mut self, shifts: usize, prompts: usize) {
        let left_out = |all: usize, last: usize| all.checked_sub(last + 1);
        left_out(self.shifts.len(), shifts).and_then(|n| self.shifts.nth(n));
        left_out(self.prompts.len(), prompts).and_then(|n| self.prompts.nth(n));
    }

    /// Of the next residual block.
    pub fn shift(&mut self) -> &'a Tensor<1> {
        self.shifts.next().expect("made by the same network")
    }

    /// Of the next cross-attention.
    pub fn prompt(&mut self) -> &'a KeyValue {
        self.prompts.next().expect("made by the same network")
    }
}
