//! ESRGAN's network, residual in residual dense blocks (Wang et al. 2018; `RRDBNet` of Real-ESRGAN),
//! in the three layouts that its files come in.

use burn::tensor::Tensor;
use burn::tensor::activation::leaky_relu;
use burn::tensor::ops::PadMode;
use clarifier_kernels::dense_block;

use super::{Architecture, Upscaler, UpscalerCost, has};
use crate::layers::{Conv2d, Kernel, upsample_nearest};
use crate::loader::{Scope, Weights};

/// ESRGAN's in the registry.
pub const ARCHITECTURE: Architecture = Architecture {
    name: "ESRGAN (RRDB)",
    detect: |tensors| ["conv_first.", "RRDB_trunk.", "model.1.sub."].iter().any(|start| has(tensors, start)),
    build: |weights| {
        let network = RrdbNet::load(weights).ok_or("its first or its last layers are missing")?;
        let Some(unshuffle) = unshuffle(network.inputs).filter(|factor| network.factor() % factor == 0)
        else {
            let inputs = network.inputs;
            return Err(format!(
                "its network takes {inputs} channels; those of colour pictures take 3, 12 or 48"
            ));
        };
        Ok(Box::new(Rrdb { network, unshuffle }))
    },
};

/// How far an output pixel is influenced. The true receptive field of 23 blocks is larger than any useful tile; its influence is not.
const REACH: u32 = 32;

/// How much of a block's output is added to its input.
const RESIDUAL: f64 = 0.2;
const SLOPE: f64 = 0.2;
const CONVS_PER_RDB: usize = 5;
const RDBS_PER_BLOCK: usize = 3;

/// How the same tensors are named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// Real-ESRGAN: `body.0.rdb1.conv1`.
    New,
    /// ESRGAN and its many community models: `model.1.sub.0.RDB1.conv1.0`.
    Old,
    /// BSRGAN and the first ESRGAN code: `RRDB_trunk.0.RDB1.conv1`.
    Bsrgan,
}

impl Layout {
    fn of(scope: &Scope) -> Option<Self> {
        if scope.has("conv_first") {
            Some(if scope.has("RRDB_trunk") { Self::Bsrgan } else { Self::New })
        } else {
            scope.has("model.1.sub").then_some(Self::Old)
        }
    }

    fn first(self) -> &'static str {
        if self == Self::Old { "model.0" } else { "conv_first" }
    }

    fn body(self) -> &'static str {
        match self {
            Self::New => "body",
            Self::Old => "model.1.sub",
            Self::Bsrgan => "RRDB_trunk",
        }
    }

    fn conv(self, block: usize, rdb: usize, conv: usize) -> String {
        let body = self.body();
        match self {
            Self::New => format!("{body}.{block}.rdb{rdb}.conv{conv}"),
            Self::Old => format!("{body}.{block}.RDB{rdb}.conv{conv}.0"),
            Self::Bsrgan => format!("{body}.{block}.RDB{rdb}.conv{conv}"),
        }
    }

    fn body_end(self, blocks: usize) -> String {
        match self {
            Self::New => "conv_body".into(),
            Self::Old => format!("{}.{blocks}", self.body()),
            Self::Bsrgan => "trunk_conv".into(),
        }
    }

    /// The convolution after the `i`th doubling, from 0.
    fn up(self, i: usize) -> String {
        match self {
            Self::New => format!("conv_up{}", i + 1),
            // The old names number the layers of a Sequential: doubling, convolution, activation.
            Self::Old => format!("model.{}", 3 * (i + 1)),
            Self::Bsrgan => format!("upconv{}", i + 1),
        }
    }

    /// The two convolutions after `ups` doublings.
    fn end(self, ups: usize) -> [String; 2] {
        match self {
            Self::New => ["conv_hr".into(), "conv_last".into()],
            Self::Old => [format!("model.{}", 3 * ups + 2), format!("model.{}", 3 * ups + 4)],
            Self::Bsrgan => ["HRconv".into(), "conv_last".into()],
        }
    }

    /// How many doublings the file has.
    fn ups(self, scope: &Scope) -> usize {
        match self {
            // Each count of doublings gives the last convolution a number of its own.
            Self::Old => (0..=3).find(|&ups| scope.has(&self.end(ups)[1])).unwrap_or(2),
            _ => (0..).take_while(|&i| scope.has(self.up(i))).count(),
        }
    }
}

/// Five convolutions, each of which sees the outputs of all before it.
#[derive(Debug)]
struct DenseBlock {
    convs: Vec<Conv2d>,
}

impl DenseBlock {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let convs: Vec<_> = self.convs.iter().map(Conv2d::parts).collect();
        dense_block(x, &convs, SLOPE, RESIDUAL)
    }
}

/// The network with what files of it have before it.
#[derive(Debug)]
struct Rrdb {
    network: RrdbNet,
    /// Pixels along a side that the network gets as channels of one: 1, 2 or 4.
    unshuffle: usize,
}

impl Upscaler for Rrdb {
    fn scale(&self) -> usize {
        self.network.factor() / self.unshuffle
    }

    fn reach(&self) -> u32 {
        REACH
    }

    fn granularity(&self) -> usize {
        self.unshuffle
    }

    fn cost(&self) -> UpscalerCost {
        let pixels = self.unshuffle * self.unshuffle;
        UpscalerCost {
            operations: self.network.operations() / pixels as f64,
            bytes: self.network.bytes_per_pixel() / pixels as u64,
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [_, _, h, w] = x.dims();
        let scale = self.scale();
        let y = self.network.forward(pixel_unshuffle(pad_to_multiple(x, self.unshuffle), self.unshuffle));
        y.narrow(2, 0, scale * h).narrow(3, 0, scale * w)
    }
}

/// The pixel-unshuffle factor of a network that takes this many channels.
fn unshuffle(inputs: usize) -> Option<usize> {
    [(3, 1), (12, 2), (48, 4)].into_iter().find(|&(c, _)| c == inputs).map(|(_, factor)| factor)
}

fn pad_to_multiple(x: Tensor<4>, factor: usize) -> Tensor<4> {
    let [_, _, h, w] = x.dims();
    let (bottom, right) = (h.next_multiple_of(factor) - h, w.next_multiple_of(factor) - w);
    if (bottom, right) == (0, 0) {
        return x;
    }
    // Reflection needs more pixels than it adds.
    let mode = if bottom < h && right < w { PadMode::Reflect } else { PadMode::Edge };
    x.pad((0, right, 0, bottom), mode)
}

/// `[b, c, h, w]` → `[b, c·f², h/f, w/f]`.
fn pixel_unshuffle(x: Tensor<4>, f: usize) -> Tensor<4> {
    let [b, c, h, w] = x.dims();
    x.reshape([b, c, h / f, f, w / f, f]).permute([0, 1, 3, 5, 2, 4]).reshape([b, c * f * f, h / f, w / f])
}

/// The network.
#[derive(Debug)]
struct RrdbNet {
    conv_first: Conv2d,
    body: Vec<[DenseBlock; RDBS_PER_BLOCK]>,
    conv_body: Conv2d,
    conv_up: Vec<Conv2d>,
    conv_hr: Conv2d,
    conv_last: Conv2d,
    /// Channels that the first convolution takes: 3, or 12 or 48 after pixel-unshuffle.
    inputs: usize,
}

impl RrdbNet {
    /// Build the network from `weights`, or `None` if they are not one's.
    /// [`Weights::finish`] is left to the caller.
    fn load(weights: &Weights) -> Option<Self> {
        let scope = weights.root();
        let layout = Layout::of(&scope)?;
        let width = |key: String, axis: usize| scope.dims(&key).and_then(|d| d.get(axis).copied());
        let first = format!("{}.weight", layout.first());
        let (features, inputs) = (width(first.clone(), 0)?, width(first, 1)?);
        let growth = width(format!("{}.weight", layout.conv(0, 1, 1)), 0)?;
        let outputs = 3;
        let conv = |key: &str, inputs, outputs| Conv2d::load(&scope.sub(key), inputs, outputs, Kernel::SAME);
        let rdb = |block: usize, rdb: usize| DenseBlock {
            convs: (1..=CONVS_PER_RDB)
                .map(|k| {
                    let outputs = if k == CONVS_PER_RDB { features } else { growth };
                    conv(&layout.conv(block, rdb, k), features + (k - 1) * growth, outputs)
                })
                .collect(),
        };
        let blocks = (0..).take_while(|&i| scope.has(layout.conv(i, 1, 1))).count();
        let ups = layout.ups(&scope);
        let [hr, last] = layout.end(ups);
        Some(Self {
            conv_first: conv(layout.first(), inputs, features),
            body: (0..blocks).map(|i| std::array::from_fn(|r| rdb(i, r + 1))).collect(),
            conv_body: conv(&layout.body_end(blocks), features, features),
            conv_up: (0..ups).map(|i| conv(&layout.up(i), features, features)).collect(),
            conv_hr: conv(&hr, features, features),
            conv_last: conv(&last, features, outputs),
            inputs,
        })
    }

    /// For an input pixel, of blocks of 64 features that grow by 32: 15 convolutions of 3 × 3 in each.
    fn operations(&self) -> f64 {
        let inputs: usize = (0..CONVS_PER_RDB - 1).map(|k| 64 + 32 * k).sum();
        let block = RDBS_PER_BLOCK * 9 * (32 * inputs + 64 * (64 + 32 * (CONVS_PER_RDB - 1)));
        (self.body.len() * 2 * block) as f64
    }

    /// Bytes alive at once for an input pixel: at the end, what two convolutions of 64 features read and write at the
    /// result's size.
    fn bytes_per_pixel(&self) -> u64 {
        3 * 64 * 4 * (self.factor() * self.factor()) as u64
    }

    /// `2^doublings`: 4 for the usual two.
    fn factor(&self) -> usize {
        1 << self.conv_up.len()
    }

    /// `[b, inputs, h, w]` → `[b, 3, factor·h, factor·w]`.
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let first = self.conv_first.forward(x);
        let mut y = first.clone();
        for block in &self.body {
            let inner = block.iter().fold(y.clone(), |y, rdb| rdb.forward(y));
            y = inner.mul_scalar(RESIDUAL) + y;
        }
        y = first + self.conv_body.forward(y);
        for conv in &self.conv_up {
            y = leaky_relu(conv.forward(upsample_nearest(y)), SLOPE);
        }
        self.conv_last.forward(leaky_relu(self.conv_hr.forward(y), SLOPE))
    }
}
