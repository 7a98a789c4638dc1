//! Group normalisation whose statistics can be taken from elsewhere.

use burn::tensor::{FloatDType, Tensor};

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
