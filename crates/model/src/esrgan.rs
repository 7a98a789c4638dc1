//! Any enlarger of the ESRGAN family, recognised by its tensors.

use burn::tensor::Tensor;
use burn::tensor::ops::PadMode;

use crate::loader::{LoadError, Weights};
use crate::rrdb::RrdbNet;
use crate::srvgg::SrvggNet;

/// A network that enlarges a picture by a fixed whole factor.
#[derive(Debug, Clone)]
pub struct Esrgan {
    network: Network,
}

#[derive(Debug, Clone)]
enum Network {
    Rrdb(Box<RrdbNet>),
    Srvgg(SrvggNet),
}

impl Esrgan {
    /// Build whichever network `weights` are of.
    ///
    /// # Errors
    /// [`LoadError::Config`] if they are none's; as [`Weights::finish`].
    pub fn load(weights: Weights) -> Result<Self, LoadError> {
        let network = if let Some(net) = RrdbNet::load(&weights) {
            if unshuffle(net.inputs).is_none_or(|u| net.scale() % u != 0) {
                let inputs = net.inputs;
                return Err(weights.config_error(format!(
                    "its network takes {inputs} channels; those of colour pictures take 3, 12 or 48"
                )));
            }
            Network::Rrdb(Box::new(net))
        } else if let Some(net) = SrvggNet::load(&weights) {
            Network::Srvgg(net)
        } else {
            return Err(weights.config_error(
                "it holds no ESRGAN (RRDB) or SRVGG network; --upscaler takes one, or lite, or lanczos",
            ));
        };
        weights.finish()?;
        Ok(Self { network })
    }

    /// The factor: 1, 2, 4 or 8.
    pub fn scale(&self) -> usize {
        match &self.network {
            Network::Rrdb(net) => net.scale() / unshuffle(net.inputs).unwrap_or(1),
            Network::Srvgg(net) => net.scale(),
        }
    }

    /// How far, in input pixels, an output pixel can be influenced by the input.
    ///
    /// Beyond this from a tile's edge the tile's result is that of the whole picture. For RRDB-23 the
    /// true receptive field is larger than any useful tile; its influence is not.
    pub fn reach(&self) -> u32 {
        match &self.network {
            Network::Rrdb(_) => 32,
            Network::Srvgg(net) => net.reach() as u32,
        }
    }

    /// Operations for an input pixel, of which a multiplication and an addition are two; about.
    pub fn operations(&self) -> f64 {
        match &self.network {
            Network::Rrdb(net) => net.operations() / unshuffle(net.inputs).map_or(1.0, |f| (f * f) as f64),
            Network::Srvgg(net) => net.operations(),
        }
    }

    /// Bytes that are alive at once for an input pixel, in f32; about.
    pub fn bytes_per_pixel(&self) -> u64 {
        match &self.network {
            Network::Rrdb(net) => net.bytes_per_pixel() / unshuffle(net.inputs).map_or(1, |f| (f * f) as u64),
            Network::Srvgg(net) => net.bytes_per_pixel(),
        }
    }

    /// `[b, 3, h, w]` → `[b, 3, scale·h, scale·w]`, RGB in \[0, 1\] (the output may exceed it a little).
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        match &self.network {
            Network::Srvgg(net) => net.forward(x),
            Network::Rrdb(net) => {
                let factor = unshuffle(net.inputs).unwrap_or(1);
                let [_, _, h, w] = x.dims();
                let scale = net.scale() / factor;
                let y = net.forward(pixel_unshuffle(pad_to_multiple(x, factor), factor));
                y.narrow(2, 0, scale * h).narrow(3, 0, scale * w)
            }
        }
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
