//! The residual block and the resizing blocks of UNet, ControlNet and VAE (diffusers `resnet.py`).

use burn::tensor::Tensor;

use crate::layers::{Conv2d, GroupNorm, Kernel, Linear, Norms, upsample_nearest};
use crate::loader::Scope;

/// `ResnetBlock2D`: norm, SiLU, conv, twice, with the time embedding added between and a shortcut.
#[derive(Debug, Clone)]
pub(crate) struct ResnetBlock {
    norm1: GroupNorm,
    conv1: Conv2d,
    time_emb_proj: Option<Linear>,
    norm2: GroupNorm,
    conv2: Conv2d,
    conv_shortcut: Option<Conv2d>,
}

/// What distinguishes one family of residual blocks from another.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ResnetConfig {
    pub groups: usize,
    pub eps: f64,
    /// Width of the time embedding; none in the VAE.
    pub time_embed_dim: Option<usize>,
}

impl ResnetBlock {
    pub fn load(scope: &Scope, inputs: usize, outputs: usize, config: ResnetConfig) -> Self {
        let ResnetConfig { groups, eps, time_embed_dim } = config;
        Self {
            norm1: GroupNorm::load(&scope.sub("norm1"), groups, inputs, eps),
            conv1: Conv2d::load(&scope.sub("conv1"), inputs, outputs, Kernel::SAME),
            time_emb_proj: time_embed_dim.map(|dim| Linear::load(&scope.sub("time_emb_proj"), dim, outputs)),
            norm2: GroupNorm::load(&scope.sub("norm2"), groups, outputs, eps),
            conv2: Conv2d::load(&scope.sub("conv2"), outputs, outputs, Kernel::SAME),
            conv_shortcut: (inputs != outputs)
                .then(|| Conv2d::load(&scope.sub("conv_shortcut"), inputs, outputs, Kernel::POINT)),
        }
    }

    /// What `time: [1, time_embed_dim]`, after its SiLU, adds to the channels between the convolutions, with what the first adds to
    /// them: `[outputs]`.
    pub fn shift(&self, time: &Tensor<2>) -> Tensor<1> {
        let projection = self.time_emb_proj.as_ref().expect("a block of UNet or ControlNet");
        let bias = self.conv1.bias();
        projection.forward(time.clone()).reshape(bias.dims()) + bias
    }

    /// `x: [b, inputs, h, w]`, `shift`: what [`Self::shift`] gave → `[b, outputs, h, w]`.
    pub fn forward(&self, x: Tensor<4>, shift: Option<&Tensor<1>>, norms: &mut Norms) -> Tensor<4> {
        let h = self.norm1.forward_silu(x.clone(), norms);
        let h = match shift {
            Some(shift) => self.conv1.forward_biased(h, shift.clone()),
            None => self.conv1.forward(h),
        };
        let h = self.norm2.forward_silu(h, norms);
        let to = match &self.conv_shortcut {
            Some(shortcut) => shortcut.forward(x),
            None => x,
        };
        self.conv2.forward_onto(to, h)
    }
}

/// Doubles the size, then convolves.
#[derive(Debug, Clone)]
pub(crate) struct Upsample {
    conv: Conv2d,
}

impl Upsample {
    pub fn load(scope: &Scope, channels: usize) -> Self {
        Self { conv: Conv2d::load(&scope.sub("conv"), channels, channels, Kernel::SAME) }
    }

    /// To `size` (rows, columns), which is twice the input's or one less: the sizes of the skip it
    /// is going to meet, where a side was odd. For these, nearest-neighbour to `size` is the same as
    /// doubling and cutting the last row or column.
    pub fn forward(&self, x: Tensor<4>, size: [usize; 2]) -> Tensor<4> {
        let x = upsample_nearest(x);
        let [_, _, h, w] = x.dims();
        let x = if [h, w] == size { x } else { x.narrow(2, 0, size[0]).narrow(3, 0, size[1]) };
        self.conv.forward(x)
    }
}
