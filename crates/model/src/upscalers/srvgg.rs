//! The compact network of Real-ESRGAN, `SRVGGNetCompact`: convolutions at the input's size, then one
//! pixel shuffle. The built-in `lite` is one.

use burn::tensor::Tensor;
use burn::tensor::activation::prelu;

use super::{Architecture, Upscaler, UpscalerCost, has};
use crate::layers::{Conv2d, Kernel};
use crate::loader::Weights;

/// SRVGG's in the registry.
pub const ARCHITECTURE: Architecture = Architecture {
    name: "Real-ESRGAN's compact network (SRVGG)",
    detect: |tensors| has(tensors, "body.0.") && has(tensors, "body.1."),
    build: |weights| match SrvggNet::load(weights) {
        Some(network) => Ok(Box::new(network)),
        None => Err(
            "its layers are not convolutions and PReLUs in turn, from 3 channels to 3 of a larger picture"
                .into(),
        ),
    },
};

/// The network.
#[derive(Debug)]
struct SrvggNet {
    convs: Vec<Conv2d>,
    slopes: Vec<Tensor<1>>,
    scale: usize,
}

impl SrvggNet {
    /// Build the network from `weights`, or `None` if they are not one's.
    /// [`Weights::finish`](crate::loader::Weights::finish) is left to the caller.
    fn load(weights: &Weights) -> Option<Self> {
        let body = weights.root().sub("body");
        let layers = weights.root().count("body");
        let width = |i: usize, axis: usize| {
            body.dims(&format!("{i}.weight")).filter(|d| d.len() == 4).and_then(|d| d.get(axis).copied())
        };
        // Convolutions alternate with PReLUs and begin and end the list.
        let last = layers.checked_sub(1).filter(|last| last % 2 == 0)?;
        let (features, inputs, outputs) = (width(0, 0)?, width(0, 1)?, width(last, 0)?);
        let scale = (1..=8).find(|s| 3 * s * s == outputs)?;
        if inputs != 3 {
            return None;
        }
        let conv = |i: usize| {
            let inputs = if i == 0 { inputs } else { features };
            let outputs = if i == last { outputs } else { features };
            Conv2d::load(&body.sub(i), inputs, outputs, Kernel::SAME)
        };
        Some(Self {
            convs: (0..=last).step_by(2).map(conv).collect(),
            slopes: (1..last).step_by(2).map(|i| body.sub(i).tensor("weight", [features])).collect(),
            scale,
        })
    }
}

impl Upscaler for SrvggNet {
    fn scale(&self) -> usize {
        self.scale
    }

    /// One pixel for each convolution.
    fn reach(&self) -> u32 {
        self.convs.len() as u32
    }

    /// Counts the convolutions of 3 × 3 between features; the bytes are what one of them reads and writes, or the result while it is made.
    fn cost(&self) -> UpscalerCost {
        let features = self.slopes.first().map_or(1, |slopes| slopes.dims()[0]);
        UpscalerCost {
            operations: (self.convs.len() * features * features * 2 * 9) as f64,
            bytes: (3 * 4 * features.max(3 * self.scale * self.scale)) as u64,
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [b, c, h, w] = x.dims();
        let s = self.scale;
        let mut y = self.convs[0].forward(x.clone());
        for (slope, conv) in self.slopes.iter().zip(&self.convs[1..]) {
            y = conv.forward(prelu(y, slope.clone()));
        }
        let shuffled = y.reshape([b, c, s, s, h, w]).permute([0, 1, 4, 2, 5, 3]);
        // The network only learns what differs from the nearest neighbour.
        let nearest = x.reshape([b, c, h, 1, w, 1]).expand([b, c, h, s, w, s]);
        (shuffled + nearest).reshape([b, c, h * s, w * s])
    }
}
