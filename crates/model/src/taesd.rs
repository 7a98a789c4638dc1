//! TAESD, a small autoencoder for SD 1.x's latents (Ollin Boer Bohan; diffusers `AutoencoderTiny`): convolutions and ReLU alone, so it has
//! no statistics of a picture. It gives latents that the UNet takes as they are.

use burn::tensor::{Tensor, activation};

use crate::layers::{Conv2d, Kernel, upsample_nearest};
use crate::loader::Scope;

/// Blocks of each level, from the picture inwards. The decoder has them from the latent outwards, each of its levels but the first after a doubling.
const BLOCKS: [usize; 4] = [1, 3, 3, 3];
/// Latents are bent to at most this size before they are decoded.
const MAGNITUDE: f64 = 3.0;

/// Three convolutions and what they are added to.
#[derive(Debug, Clone)]
struct Block([Conv2d; 3]);

impl Block {
    fn load(scope: &Scope, channels: usize) -> Self {
        let scope = scope.sub("conv");
        Self([0, 2, 4].map(|i| Conv2d::load(&scope.sub(i), channels, channels, Kernel::SAME)))
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [first, second, third] = &self.0;
        let inner = activation::relu(first.forward(x.clone()));
        let inner = activation::relu(second.forward(inner));
        activation::relu(third.forward(inner) + x)
    }
}

/// Blocks, and the convolution at the change of size: before them on the way down, after them on the way up.
#[derive(Debug, Clone)]
struct Level {
    blocks: Vec<Block>,
    resize: Conv2d,
}

impl Level {
    fn blocks(&self, x: Tensor<4>) -> Tensor<4> {
        self.blocks.iter().fold(x, |x, block| block.forward(x))
    }
}

/// Entries of a list of layers, taken one after the other: files number them all, also those without weights.
struct Layers<'a> {
    list: Scope<'a>,
    next: usize,
}

impl<'a> Layers<'a> {
    fn of(scope: &Scope<'a>) -> Self {
        Self { list: scope.sub("layers"), next: 0 }
    }

    fn take(&mut self) -> Scope<'a> {
        self.next += 1;
        self.list.sub(self.next - 1)
    }

    fn blocks(&mut self, count: usize, channels: usize) -> Vec<Block> {
        (0..count).map(|_| Block::load(&self.take(), channels)).collect()
    }
}

/// Encoder and decoder.
#[derive(Debug, Clone)]
pub(crate) struct Tiny {
    down: Vec<Level>,
    to_latent: Conv2d,
    from_latent: Conv2d,
    up: Vec<Level>,
}

impl Tiny {
    /// How many levels there are, the one at full size with them.
    pub const LEVELS: usize = BLOCKS.len();

    /// Its channels and those of its latents, if a file is one.
    pub fn sizes(scope: &Scope) -> Option<(usize, usize)> {
        let first = |name: &str| Some(*scope.dims(name)?.first()?);
        Some((first("encoder.layers.0.weight")?, first("encoder.layers.14.weight")?))
    }

    pub fn load(scope: &Scope, channels: usize, latents: usize) -> Self {
        let mut layers = Layers::of(&scope.sub("encoder"));
        let down = BLOCKS.iter().enumerate().map(|(i, count)| {
            let resize = match i {
                0 => Conv2d::load(&layers.take(), 3, channels, Kernel::SAME),
                _ => Conv2d::load_unbiased(&layers.take(), channels, channels, Kernel::HALVE),
            };
            Level { resize, blocks: layers.blocks(*count, channels) }
        });
        let down = down.collect();
        let to_latent = Conv2d::load(&layers.take(), channels, latents, Kernel::SAME);
        let mut layers = Layers::of(&scope.sub("decoder"));
        let from_latent = Conv2d::load(&layers.take(), latents, channels, Kernel::SAME);
        layers.take();
        let up = BLOCKS.iter().enumerate().rev().map(|(i, count)| {
            let blocks = layers.blocks(*count, channels);
            let resize = match i {
                0 => Conv2d::load(&layers.take(), channels, 3, Kernel::SAME),
                _ => {
                    layers.take();
                    Conv2d::load_unbiased(&layers.take(), channels, channels, Kernel::SAME)
                }
            };
            Level { blocks, resize }
        });
        Self { down, to_latent, from_latent, up: up.collect() }
    }

    /// `[b, 3, 8h, 8w]`, RGB in \[−1, 1\] → `[b, 4, h, w]`.
    pub fn encode(&self, x: Tensor<4>) -> Tensor<4> {
        let unit = x.add_scalar(1.0).mul_scalar(0.5);
        let inner = self.down.iter().fold(unit, |x, level| level.blocks(level.resize.forward(x)));
        self.to_latent.forward(inner)
    }

    /// `[b, 4, h, w]` → `[b, 3, 8h, 8w]`, RGB, about \[−1, 1\].
    pub fn decode(&self, z: Tensor<4>) -> Tensor<4> {
        let bent = z.div_scalar(MAGNITUDE).tanh().mul_scalar(MAGNITUDE);
        let inner = activation::relu(self.from_latent.forward(bent));
        let last = self.up.len() - 1;
        let unit = self.up.iter().enumerate().fold(inner, |x, (i, level)| {
            let x = level.blocks(x);
            level.resize.forward(if i < last { upsample_nearest(x) } else { x })
        });
        unit.mul_scalar(2.0).sub_scalar(1.0)
    }
}
