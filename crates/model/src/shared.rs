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

/// A timestep as one network's residual blocks see it: what each adds to its channels, `[1, c, 1, 1]`, in
/// their order.
#[derive(Debug, Clone)]
pub struct TimeShifts(pub(crate) Vec<Tensor<4>>);

/// What is left of both on the way through a network.
pub(crate) struct Given<'a> {
    shifts: Iter<'a, Tensor<4>>,
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
    pub fn shift(&mut self) -> &'a Tensor<4> {
        self.shifts.next().expect("made by the same network")
    }

    /// Of the next cross-attention.
    pub fn prompt(&mut self) -> &'a KeyValue {
        self.prompts.next().expect("made by the same network")
    }
}
