//! What the tiles of a redraw share, computed once: what the networks make of each prompt and of a step, and of
//! each tile's hint for all steps.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use burn::tensor::{FloatDType, Tensor};
use clarifier_model::shared::{PromptKeys, TimeShifts};
use clarifier_model::unet::InnerFeatures;
use clarifier_tile::Rect;

use crate::diffusion::Denoiser;
use crate::{Conditioning, ControlMode, Settings};

/// Bytes of hints that are kept for later steps; those of further tiles are computed at each.
pub const KEPT_HINTS: u64 = 256 << 20;
/// Prompts of as many places are kept: about 20 MB each.
const MOST_PROMPTS: usize = 8;
/// The same of batches of tiles: the usual one, and the last of a step.
const MOST_BATCHES: usize = 2;

/// Of UNet and ControlNet; the second may not be asked.
pub(crate) type Both<T> = Arc<(T, Option<T>)>;

/// The places of tiles that are computed at once, and whether with the negative prompt.
type Batch = (Vec<Option<usize>>, bool);

/// How often something was computed in a redraw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Computed {
    /// What the networks make of a prompt.
    pub prompts: usize,
    /// What they make of a timestep.
    pub times: usize,
    /// What the ControlNet makes of a tile's hint.
    pub hints: usize,
    /// What the inner levels make of a tile: all evaluations but those by the outermost alone.
    pub whole: usize,
}

/// What the tiles of a redraw share.
#[derive(Default)]
pub(crate) struct Shared {
    /// By place, and whether with the negative prompt.
    prompts: HashMap<(Option<usize>, bool), Both<PromptKeys>>,
    /// The same for several tiles at once.
    batches: Vec<(Batch, Both<PromptKeys>)>,
    time: Option<(f32, Both<TimeShifts>)>,
    hints: HashMap<Rect, Tensor<4>>,
    hint_bytes: u64,
    inner: HashMap<Rect, InnerFeatures>,
    pub computed: Computed,
}

/// Whether the ControlNet is asked.
fn is_controlled(settings: &Settings) -> bool {
    settings.controlnet_scale > 0.0
}

impl Shared {
    /// Keep the counts only.
    pub fn forget(&mut self) {
        *self = Self { computed: self.computed, ..Self::default() };
    }

    /// What the networks make of what guides several tiles at once, by their places.
    pub fn prompts(
        &mut self,
        networks: &Denoiser,
        conditioning: &Conditioning,
        (places, guided): Batch,
        settings: &Settings,
    ) -> Both<PromptKeys> {
        if let [place] = places[..] {
            return self.prompt(networks, conditioning, (place, guided), settings);
        }
        let key = (places, guided);
        if let Some((_, known)) = self.batches.iter().find(|(known, _)| *known == key) {
            return known.clone();
        }
        let each = key.0.iter().map(|place| self.prompt(networks, conditioning, (*place, guided), settings));
        let each: Vec<_> = each.collect();
        let unet: Vec<_> = each.iter().map(|both| &both.0).collect();
        let control: Option<Vec<_>> = each.iter().map(|both| both.1.as_ref()).collect();
        let control = control.map(|control| PromptKeys::together(&control));
        let both = Arc::new((PromptKeys::together(&unet), control));
        if self.batches.len() >= MOST_BATCHES {
            self.batches.remove(0);
        }
        self.batches.push((key, both.clone()));
        both
    }

    /// What the networks make of what guides the tiles of a place, or of none; of the prompt alone unless `guided`.
    fn prompt(
        &mut self,
        networks: &Denoiser,
        conditioning: &Conditioning,
        (place, guided): (Option<usize>, bool),
        settings: &Settings,
    ) -> Both<PromptKeys> {
        if let Some(known) = self.prompts.get(&(place, guided)) {
            return known.clone();
        }
        self.computed.prompts += 1;
        let text = conditioning.text(place).cast(FloatDType::from(networks.dtype));
        // Without guidance the negative prompt has no say, and its half of the work falls away.
        let prompt = text.clone().narrow(0, 1, 1);
        let text = if guided { text } else { prompt.clone() };
        let control = is_controlled(settings).then(|| match settings.control_mode {
            ControlMode::Controlnet => networks.controlnet.prompt(&prompt),
            ControlMode::Balanced => networks.controlnet.prompt(&text),
        });
        let both = Arc::new((networks.unet.prompt(&text), control));
        if self.prompts.len() >= MOST_PROMPTS {
            self.prompts.clear();
        }
        self.prompts.insert((place, guided), both.clone());
        both
    }

    /// What they make of timestep `t`, for tiles of the type of `like`.
    pub fn time(
        &mut self,
        networks: &Denoiser,
        t: f32,
        like: &Tensor<4>,
        settings: &Settings,
    ) -> Both<TimeShifts> {
        if let Some((known, both)) = &self.time
            && *known == t
        {
            return both.clone();
        }
        self.computed.times += 1;
        let control = is_controlled(settings).then(|| networks.controlnet.time(t, like));
        let both = Arc::new((networks.unet.time(t, like), control));
        self.time = Some((t, both.clone()));
        both
    }

    /// What the inner levels made of these tiles the last time that it was kept; none if it was not of one of them.
    pub fn inner(&self, rects: &[Rect]) -> Option<Cow<'_, InnerFeatures>> {
        let tiles: Option<Vec<_>> = rects.iter().map(|rect| self.inner.get(rect)).collect();
        Some(match tiles?[..] {
            [one] => Cow::Borrowed(one),
            ref several => Cow::Owned(InnerFeatures::together(several)),
        })
    }

    /// Keep that.
    pub fn keep_inner(&mut self, rects: &[Rect], features: InnerFeatures) {
        self.inner.extend(rects.iter().copied().zip(features.apart(rects.len())));
    }

    /// What the ControlNet makes of the hint of the tile `rect`, which `read` gives. It is kept if there is
    /// room in `budget` bytes.
    pub fn hint<E>(
        &mut self,
        networks: &Denoiser,
        rect: Rect,
        budget: u64,
        read: impl FnOnce() -> Result<Tensor<4>, E>,
    ) -> Result<Tensor<4>, E> {
        if let Some(known) = self.hints.get(&rect) {
            return Ok(known.clone());
        }
        self.computed.hints += 1;
        let hint = networks.controlnet.hint(read()?);
        let bytes = (hint.dtype().size() * hint.shape().num_elements()) as u64;
        if self.hint_bytes + bytes <= budget {
            self.hint_bytes += bytes;
            self.hints.insert(rect, hint.clone());
        }
        Ok(hint)
    }
}
