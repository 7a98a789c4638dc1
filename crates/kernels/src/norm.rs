//! Layer normalisation, and group normalisation whose statistics can be taken from elsewhere.

use burn::tensor::activation::silu;
use burn::tensor::{FloatDType, Tensor, module};
use clarifier_gpu_kernels as gpu;

use crate::cpu::norm::{Channel, apply, moments};
use crate::cpu::{Host, tensor};

/// `(x − mean) / √(variance + eps) · gamma + beta` per row of the last axis (Ba et al. 2016).
///
/// # Shapes
/// - `x`: `[…, size]`, returned in the same type
/// - `gamma`, `beta`: `[size]`
pub fn layer_norm<const D: usize>(x: Tensor<D>, gamma: Tensor<1>, beta: Tensor<1>, eps: f64) -> Tensor<D> {
    // On the CPU burn has one of its own; on GPUs it goes over the memory once for each operation.
    gpu::layer_norm::layer_norm(&x, &gamma, &beta, eps)
        .unwrap_or_else(|| module::layer_norm(x, gamma, Some(beta), eps))
}

/// Mean and variance of each group, in f32.
///
/// # Shapes
/// Both `[batch, groups]`; `batch` is 1 where the statistics are shared by the whole batch.
#[derive(Debug, Clone)]
pub struct GroupStats {
    /// E\[x\] of each group.
    pub mean: Tensor<2>,
    /// E\[(x − E\[x\])²\] of each group.
    pub variance: Tensor<2>,
}

/// The statistics of `x: [batch, channels, height, width]` in `groups` groups of channels.
///
/// With `pooled`, those of the whole batch together: a picture cut into a batch of tiles then has the
/// statistics of the picture (up to the tiles' overlap), not those of each tile.
pub fn group_stats(x: &Tensor<4>, groups: usize, pooled: bool) -> GroupStats {
    let [batch, channels, height, width] = x.dims();
    if let Some(host) = Host::of(x) {
        let found = moments(&host.contiguous(), channels / groups * height * width);
        return stats_of(&found, batch, groups, pooled, x);
    }
    if let Some([mean, variance]) = gpu::norm::group_stats(x, groups, pooled) {
        return GroupStats { mean, variance };
    }
    let x = x.clone().cast(FloatDType::F32);
    // Rows are averaged before they are averaged together: one long f32 sum over a megapixel would
    // lose the digits that the variance needs.
    let rows = x.reshape([batch, groups, channels / groups * height, width]);
    let pool = |rows: Tensor<4>| -> Tensor<4> {
        let mean = rows.mean_dim(3).mean_dim(2);
        if pooled { mean.mean_dim(0) } else { mean }
    };
    let mean = pool(rows.clone());
    let centred = rows - mean.clone();
    let variance = pool(centred.clone() * centred);
    let stat_batch = if pooled { 1 } else { batch };
    GroupStats { mean: mean.reshape([stat_batch, groups]), variance: variance.reshape([stat_batch, groups]) }
}

/// The moments of each picture's groups, pooled if `pooled`, on the device of `x`.
fn stats_of(found: &[(f64, f64)], batch: usize, groups: usize, pooled: bool, x: &Tensor<4>) -> GroupStats {
    let values = |values: Vec<f64>| -> Tensor<2> {
        let rows = values.len() / groups;
        tensor(values.into_iter().map(|v| v as f32).collect(), [rows, groups], &x.device())
    };
    if !pooled {
        let (mean, variance) = found.iter().copied().unzip();
        return GroupStats { mean: values(mean), variance: values(variance) };
    }
    let of = |group: usize| found.iter().skip(group).step_by(groups);
    let average = |sum: f64| sum / batch as f64;
    let means: Vec<f64> = (0..groups).map(|g| average(of(g).map(|(mean, _)| mean).sum())).collect();
    let variances = (0..groups)
        .map(|g| average(of(g).map(|(mean, variance)| variance + (mean - means[g]).powi(2)).sum()))
        .collect();
    GroupStats { mean: values(means), variance: values(variances) }
}

/// [`group_norm`], then SiLU: in one pass over memory.
///
/// # Shapes
/// As [`group_norm`]'s.
pub fn group_norm_silu(
    x: Tensor<4>,
    stats: &GroupStats,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    eps: f64,
) -> Tensor<4> {
    let done = on_host(&x, stats, &gamma, &beta, eps, true);
    match done.or_else(|| gpu::norm::group_norm(&x, [&stats.mean, &stats.variance], &gamma, &beta, eps, true))
    {
        Some(done) => done,
        None => silu(group_norm(x, stats, gamma, beta, eps)),
    }
}

fn on_host(
    x: &Tensor<4>,
    stats: &GroupStats,
    gamma: &Tensor<1>,
    beta: &Tensor<1>,
    eps: f64,
    activate: bool,
) -> Option<Tensor<4>> {
    let [batch, channels, height, width] = x.dims();
    let [stat_batch, groups] = stats.mean.dims();
    let host = Host::of(x)?;
    let [mean, variance] = [Host::of(&stats.mean)?, Host::of(&stats.variance)?];
    let [gamma, beta] = [Host::of(gamma)?, Host::of(beta)?];
    let [mean, variance] = [mean.contiguous(), variance.contiguous()];
    let [gamma, beta] = [gamma.contiguous(), beta.contiguous()];
    let channel = |at: usize| {
        let (picture, channel) = (at / channels % stat_batch, at % channels);
        let group = picture * groups + channel / (channels / groups);
        let scale = 1.0 / (f64::from(variance[group]) + eps).sqrt() * f64::from(gamma[channel]);
        Channel { mean: mean[group], scale: scale as f32, shift: beta[channel] }
    };
    let list: Vec<Channel> = (0..batch * channels).map(channel).collect();
    let mut out = vec![0.0; batch * channels * height * width];
    apply(&host.contiguous(), height * width, &list, activate, &mut out);
    Some(tensor(out, [batch, channels, height, width], &x.device()))
}

/// `(x − mean) / √(variance + eps) · gamma + beta` per group of channels (Wu & He 2018).
///
/// # Shapes
/// - `x`: `[batch, channels, height, width]`, returned in the same type
/// - `gamma`, `beta`: `[channels]`
/// - `stats`: of `x` itself ([`group_stats`]) or of the whole picture that `x` is a tile of
pub fn group_norm(
    x: Tensor<4>,
    stats: &GroupStats,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    eps: f64,
) -> Tensor<4> {
    let done = on_host(&x, stats, &gamma, &beta, eps, false);
    if let Some(done) =
        done.or_else(|| gpu::norm::group_norm(&x, [&stats.mean, &stats.variance], &gamma, &beta, eps, false))
    {
        return done;
    }
    let dtype = x.dtype();
    let [_, channels, _, _] = x.dims();
    let [stat_batch, groups] = stats.mean.dims();
    let per_channel = |t: Tensor<2>| -> Tensor<4> {
        t.unsqueeze_dim::<3>(2).repeat_dim(2, channels / groups).reshape([stat_batch, channels, 1, 1])
    };
    let gamma = gamma.cast(FloatDType::F32).reshape([1, channels, 1, 1]);
    let beta = beta.cast(FloatDType::F32).reshape([1, channels, 1, 1]);
    let scale = per_channel((stats.variance.clone() + eps).sqrt().recip()) * gamma;
    let mean = per_channel(stats.mean.clone());
    // Centred first: folding the mean into the bias would cancel digits where |mean| >> σ.
    let y = (x.cast(FloatDType::F32) - mean) * scale + beta;
    y.cast(dtype)
}
