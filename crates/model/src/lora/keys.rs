//! The ends of names in LoRA files: which factor of a module's change.

/// A factor of a module's change, or a number that belongs to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Field {
    Down,
    Up,
    /// The core between up and down, of a Tucker decomposition.
    Mid,
    UpBias,
    Alpha,
    /// In place of alpha / rank.
    Scale,
    /// DoRA's norms; of each output, or of each input.
    Magnitude,
    /// DoRA's norms, always of each output (peft).
    OutputMagnitude,
    HadaW1A,
    HadaW1B,
    HadaW2A,
    HadaW2B,
    HadaT1,
    HadaT2,
    LokrW1,
    LokrW1A,
    LokrW1B,
    LokrW2,
    LokrW2A,
    LokrW2B,
    LokrT2,
    /// The whole change, of a weight or of a normalisation's.
    Diff,
    DiffBias,
}

/// Ends of keys. `_lora.` belongs to diffusers' attention processors, before 0.21.
const ENDS: [(&str, Field); 33] = [
    (".lora_down.weight", Field::Down),
    (".lora_up.weight", Field::Up),
    (".lora_mid.weight", Field::Mid),
    (".lora_A.weight", Field::Down),
    (".lora_B.weight", Field::Up),
    (".lora_B.bias", Field::UpBias),
    (".lora.down.weight", Field::Down),
    (".lora.up.weight", Field::Up),
    (".lora_layer.down.weight", Field::Down),
    (".lora_layer.up.weight", Field::Up),
    (".lora_linear_layer.down.weight", Field::Down),
    (".lora_linear_layer.up.weight", Field::Up),
    ("_lora.down.weight", Field::Down),
    ("_lora.up.weight", Field::Up),
    ("_lora.alpha", Field::Alpha),
    (".alpha", Field::Alpha),
    (".scale", Field::Scale),
    (".dora_scale", Field::Magnitude),
    (".lora_magnitude_vector", Field::OutputMagnitude),
    (".lora_magnitude_vector.weight", Field::OutputMagnitude),
    (".hada_w1_a", Field::HadaW1A),
    (".hada_w1_b", Field::HadaW1B),
    (".hada_w2_a", Field::HadaW2A),
    (".hada_w2_b", Field::HadaW2B),
    (".hada_t1", Field::HadaT1),
    (".hada_t2", Field::HadaT2),
    (".lokr_w1", Field::LokrW1),
    (".lokr_w2", Field::LokrW2),
    (".lokr_t2", Field::LokrT2),
    (".diff", Field::Diff),
    (".w_norm", Field::Diff),
    (".diff_b", Field::DiffBias),
    (".b_norm", Field::DiffBias),
];

/// LoKr's halves, whose names begin as those of the wholes do.
const LOKR_HALVES: [(&str, Field); 4] = [
    (".lokr_w1_a", Field::LokrW1A),
    (".lokr_w1_b", Field::LokrW1B),
    (".lokr_w2_a", Field::LokrW2A),
    (".lokr_w2_b", Field::LokrW2B),
];

/// Ends of keys of kinds that are not merged, and what their users call them.
const OTHER_KINDS: [(&str, &str); 9] = [
    (".oft_blocks", "OFT"),
    (".oft_diag", "OFT"),
    (".oft_R", "OFT"),
    (".a1.weight", "GLoRA"),
    (".b1.weight", "GLoRA"),
    (".on_input", "IA³"),
    (".ia3_l", "IA³"),
    (".boft_R", "BOFT"),
    (".bias_indices", "a sparse bias"),
];

/// The module that a key belongs to, as the file spells it, and what of it the key holds.
pub(super) fn split(key: &str) -> Option<(&str, Field)> {
    let ends = LOKR_HALVES.iter().chain(&ENDS);
    let plain = ends.clone().find_map(|(end, field)| Some((key.strip_suffix(end)?, *field)));
    plain.or_else(|| {
        // peft may have left the adapter's name in: `lora_A.default.weight`, `hada_w1_a.default`.
        let (rest, last) = key.rsplit_once('.')?;
        let key = match last {
            "weight" | "bias" => format!("{}.{last}", rest.rsplit_once('.')?.0),
            _ => rest.to_owned(),
        };
        ends.clone().find_map(|(end, field)| {
            // Only what peft writes: else `a.b.alpha.c` would be an alpha.
            let peft = [".lora_A.", ".lora_B.", ".lora_magnitude", ".hada_", ".lokr_"];
            let module = key.strip_suffix(end).filter(|_| peft.iter().any(|p| end.starts_with(p)))?;
            key_of(module, rest).map(|module| (module, *field))
        })
    })
}

/// `module` as a part of `whole`, whose beginning it is.
fn key_of<'a>(module: &str, whole: &'a str) -> Option<&'a str> {
    whole.get(..module.len())
}

/// The name of the kind, if the key is of one that is not merged.
pub(super) fn other_kind(key: &str) -> Option<&'static str> {
    OTHER_KINDS
        .iter()
        .find_map(|(end, kind)| (key.ends_with(end) || key.contains(&format!("{end}."))).then_some(*kind))
}
