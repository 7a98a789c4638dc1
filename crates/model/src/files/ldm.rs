//! The names of the single-file layout (LDM, A1111) and of old diffusers files, put into diffusers'.

/// Inside a residual block of UNet and ControlNet.
const RESNET: [(&str, &str); 6] = [
    ("in_layers.0", "norm1"),
    ("in_layers.2", "conv1"),
    ("emb_layers.1", "time_emb_proj"),
    ("out_layers.0", "norm2"),
    ("out_layers.3", "conv2"),
    ("skip_connection", "conv_shortcut"),
];

/// The ends of UNet and ControlNet.
const ENDS: [(&str, &str); 5] = [
    ("time_embed.0", "time_embedding.linear_1"),
    ("time_embed.2", "time_embedding.linear_2"),
    ("out.0", "conv_norm_out"),
    ("out.2", "conv_out"),
    ("input_blocks.0.0", "conv_in"),
];

/// Inside the VAE, wherever they stand.
const VAE: [(&str, &str); 12] = [
    ("mid.block_1.", "mid_block.resnets.0."),
    ("mid.block_2.", "mid_block.resnets.1."),
    ("mid.attn_1.norm.", "mid_block.attentions.0.group_norm."),
    ("mid.attn_1.q.", "mid_block.attentions.0.to_q."),
    ("mid.attn_1.k.", "mid_block.attentions.0.to_k."),
    ("mid.attn_1.v.", "mid_block.attentions.0.to_v."),
    ("mid.attn_1.proj_out.", "mid_block.attentions.0.to_out.0."),
    ("norm_out.", "conv_norm_out."),
    ("nin_shortcut.", "conv_shortcut."),
    (".downsample.conv.", ".downsamplers.0.conv."),
    (".upsample.conv.", ".upsamplers.0.conv."),
    (".block.", ".resnets."),
];

/// Attention of diffusers' VAE before 0.12.
const OLD_VAE: [(&str, &str); 4] =
    [(".query.", ".to_q."), (".key.", ".to_k."), (".value.", ".to_v."), (".proj_attn.", ".to_out.0.")];

/// The key with the first matching beginning exchanged.
fn exchange(key: &str, table: &[(&str, &str)]) -> Option<String> {
    table.iter().find_map(|(from, to)| {
        let rest = key.strip_prefix(from)?;
        rest.starts_with('.').then(|| format!("{to}{rest}"))
    })
}

/// `17.rest` → `(17, "rest")`.
fn number(key: &str) -> Option<(usize, &str)> {
    let (number, rest) = key.split_once('.')?;
    Some((number.parse().ok()?, rest))
}

/// A UNet's or ControlNet's key without its `model.diffusion_model.` or `control_model.`; `layers` is
/// the number of residual blocks in each level on the way down.
pub(crate) fn unet(key: &str, layers: usize) -> Option<String> {
    if let Some(name) = exchange(key, &ENDS) {
        return Some(name);
    }
    if let Some(rest) = key.strip_prefix("input_blocks.") {
        let (n, rest) = number(rest)?;
        let (level, layer) = ((n.checked_sub(1)?) / (layers + 1), (n - 1) % (layers + 1));
        let (part, rest) = number(rest)?;
        return Some(match part {
            0 if layer == layers => {
                format!("down_blocks.{level}.downsamplers.0.conv.{}", rest.strip_prefix("op.")?)
            }
            0 => format!("down_blocks.{level}.resnets.{layer}.{}", exchange(rest, &RESNET)?),
            _ => format!("down_blocks.{level}.attentions.{layer}.{rest}"),
        });
    }
    if let Some(rest) = key.strip_prefix("output_blocks.") {
        let (n, rest) = number(rest)?;
        let (level, layer) = (n / (layers + 1), n % (layers + 1));
        let (part, rest) = number(rest)?;
        return Some(match (part, rest.strip_prefix("conv.")) {
            (0, _) => format!("up_blocks.{level}.resnets.{layer}.{}", exchange(rest, &RESNET)?),
            // After the attention, or in its place where the level has none.
            (_, Some(rest)) => format!("up_blocks.{level}.upsamplers.0.conv.{rest}"),
            _ => format!("up_blocks.{level}.attentions.{layer}.{rest}"),
        });
    }
    let (part, rest) = number(key.strip_prefix("middle_block.")?)?;
    Some(match part {
        1 => format!("mid_block.attentions.0.{rest}"),
        0 | 2 => format!("mid_block.resnets.{}.{}", part / 2, exchange(rest, &RESNET)?),
        _ => return None,
    })
}

/// A ControlNet's key without its `control_model.`.
pub(super) fn controlnet(key: &str, layers: usize) -> Option<String> {
    if let Some(rest) = key.strip_prefix("zero_convs.") {
        let (n, rest) = number(rest)?;
        return Some(format!("controlnet_down_blocks.{n}.{}", rest.strip_prefix("0.")?));
    }
    if let Some(rest) = key.strip_prefix("middle_block_out.0.") {
        return Some(format!("controlnet_mid_block.{rest}"));
    }
    if let Some(rest) = key.strip_prefix("input_hint_block.") {
        // Convolutions alternate with SiLUs: 0, 2 … 14.
        let (n, rest) = number(rest)?;
        return Some(match n {
            0 => format!("controlnet_cond_embedding.conv_in.{rest}"),
            14 => format!("controlnet_cond_embedding.conv_out.{rest}"),
            _ => format!("controlnet_cond_embedding.blocks.{}.{rest}", n / 2 - 1),
        });
    }
    unet(key, layers)
}

/// A VAE's key without its `first_stage_model.`; `levels` is the number of levels.
pub(super) fn vae(key: &str, levels: usize) -> Option<String> {
    let mut key = key.to_owned();
    if let Some(rest) = key.strip_prefix("encoder.down.") {
        key = format!("encoder.down_blocks.{rest}");
    } else if let Some(rest) = key.strip_prefix("decoder.up.") {
        // LDM counts the decoder's levels from the picture, diffusers from the latent.
        let (n, rest) = number(rest)?;
        key = format!("decoder.up_blocks.{}.{rest}", levels.checked_sub(n + 1)?);
    }
    for (from, to) in VAE {
        key = key.replacen(from, to, 1);
    }
    let known = ["encoder.", "decoder.", "quant_conv.", "post_quant_conv."];
    known.iter().any(|start| key.starts_with(start)).then_some(key)
}

/// A key of an old diffusers VAE, or the same key.
pub(super) fn modern_vae(key: &str) -> String {
    let table = OLD_VAE.iter().find(|(from, _)| key.contains("attentions.0") && key.contains(from));
    table.map_or_else(|| key.to_owned(), |(from, to)| key.replacen(from, to, 1))
}
