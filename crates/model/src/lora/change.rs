//! What a LoRA adds to one weight: ΔW from its factors.
//!
//! LoRA (Hu et al. 2021), for convolutions as in LyCORIS (Yeh et al. 2023), which also describes LoHa
//! and LoKr; DoRA (Liu et al. 2024).

use std::collections::BTreeMap;

use burn::tensor::{DType, Device, Tensor, TensorData};

use super::keys::Field;

/// The factors of a module's change, by field: shapes, or values with their shapes.
pub(super) type Shapes<'a> = BTreeMap<Field, &'a [usize]>;

/// The ways in which a change is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// up · down, or up · core · down.
    Lora,
    /// (a₁ · b₁) ∘ (a₂ · b₂).
    Loha,
    /// w₁ ⊗ w₂.
    Lokr,
    /// As it is.
    Full,
    /// Nothing but a bias.
    Bias,
}

/// No rank is larger; a file that says so wants memory.
const MAX_RANK: usize = 8192;

/// A tensor's size as a matrix: its first dimension, and all others.
fn matrix(shape: &[usize]) -> (usize, usize) {
    (shape.first().copied().unwrap_or(1), shape.iter().skip(1).product())
}

/// The size of a product of `[m, r]` and `[r, n]`.
fn product(a: &[usize], b: &[usize]) -> Result<(usize, usize), String> {
    let ((m, r), (s, n)) = (matrix(a), matrix(b));
    if r != s || r == 0 || r > MAX_RANK {
        Err(format!("its factors {a:?} and {b:?} do not fit each other"))
    } else {
        Ok((m, n))
    }
}

/// The size of a core `[r, s, …]` between `[r, m]` and `[s, n]`.
fn tucker(core: &[usize], a: &[usize], b: &[usize]) -> Result<(usize, usize), String> {
    let fits = core.len() >= 2
        && core[0] == matrix(a).0
        && core[1] == matrix(b).0
        && !core.contains(&0)
        && core[..2].iter().all(|r| *r <= MAX_RANK);
    if fits {
        Ok((matrix(a).1, matrix(b).1 * core[2..].iter().product::<usize>()))
    } else {
        Err(format!("its core {core:?} does not fit its factors {a:?} and {b:?}"))
    }
}

/// Of what form the factors are, whether all are there and fit each other, and the size of the change
/// as a matrix.
pub(super) fn check(shapes: &Shapes) -> Result<(Form, usize, usize), String> {
    let get = |field: Field| shapes.get(&field).copied();
    let need = |field: Field| get(field).ok_or_else(|| format!("it lacks its {field:?}"));
    use Field as F;
    if get(F::Down).is_some() || get(F::Up).is_some() {
        let (up, down) = (need(F::Up)?, need(F::Down)?);
        let (rows, columns) = match get(F::Mid) {
            None => product(up, down)?,
            // up is stored the other way round than LoHa's and LoKr's factors.
            Some(core) => tucker(core, &[matrix(up).1, matrix(up).0], down)?,
        };
        return Ok((Form::Lora, rows, columns));
    }
    if get(F::HadaW1A).is_some() {
        let half = |core, a, b| match get(core) {
            None => product(need(a)?, need(b)?),
            Some(core) => tucker(core, need(a)?, need(b)?),
        };
        let first = half(F::HadaT1, F::HadaW1A, F::HadaW1B)?;
        if half(F::HadaT2, F::HadaW2A, F::HadaW2B)? != first {
            return Err("its two halves are of different sizes".into());
        }
        return Ok((Form::Loha, first.0, first.1));
    }
    let lokr = [F::LokrW1, F::LokrW1A, F::LokrW2, F::LokrW2A];
    if lokr.iter().any(|f| get(*f).is_some()) {
        let (a, b) = match get(F::LokrW1) {
            Some(whole) => matrix(whole),
            None => product(need(F::LokrW1A)?, need(F::LokrW1B)?)?,
        };
        let (c, d) = match (get(F::LokrW2), get(F::LokrT2)) {
            (Some(whole), _) => matrix(whole),
            (None, None) => product(need(F::LokrW2A)?, need(F::LokrW2B)?)?,
            (None, Some(core)) => tucker(core, need(F::LokrW2A)?, need(F::LokrW2B)?)?,
        };
        return Ok((Form::Lokr, a * c, b * d));
    }
    if let Some(whole) = get(F::Diff) {
        let (rows, columns) = matrix(whole);
        return Ok((Form::Full, rows, columns));
    }
    if get(F::DiffBias).is_some() { Ok((Form::Bias, 0, 0)) } else { Err("it has no factors".into()) }
}

/// The rank that alpha is divided by; none for a change without factors, whose scale is 1.
pub(super) fn rank(shapes: &Shapes) -> Option<usize> {
    let of = |field: Field| shapes.get(&field).map(|shape| matrix(shape).0);
    use Field as F;
    of(F::Down).or_else(|| of(F::HadaW1B)).or_else(|| of(F::LokrW2B)).or_else(|| of(F::LokrW1B))
}

/// The factors' values.
pub(super) type Factors = BTreeMap<Field, (Vec<f32>, Vec<usize>)>;

/// ΔW as `rows · columns` values, from factors that [`check`] found to be right.
pub(super) fn compute(form: Form, factors: &Factors) -> Vec<f32> {
    use Field as F;
    let get = |field: Field| {
        let (values, shape) = &factors[&field];
        let (rows, columns) = matrix(shape);
        // burn's CPU backend multiplies matrices faster than a loop, and on every core.
        let data = TensorData::new(values.clone(), [rows, columns]);
        Tensor::<2>::from_data(data, (&Device::flex(), DType::F32))
    };
    let core = |core: Field, a: Tensor<2>, b: Tensor<2>| {
        let [r, s] = [factors[&core].1[0], factors[&core].1[1]];
        let (m, n) = (a.dims()[1], b.dims()[1]);
        let k = factors[&core].1[2..].iter().product::<usize>();
        // Σᵢⱼ aᵢₘ · coreᵢⱼₖ · bⱼₙ, as [m, n, k].
        let left = a.transpose().matmul(get(core).reshape([r, s * k])).reshape([m, s, k]);
        let left = left.swap_dims(1, 2).reshape([m * k, s]);
        left.matmul(b).reshape([m, k, n]).swap_dims(1, 2).reshape([m, n * k])
    };
    let half = |t: Field, a: Field, b: Field| match factors.contains_key(&t) {
        true => core(t, get(a), get(b)),
        false => get(a).matmul(get(b)),
    };
    let change = match form {
        Form::Lora if factors.contains_key(&F::Mid) => core(F::Mid, get(F::Up).transpose(), get(F::Down)),
        Form::Lora => get(F::Up).matmul(get(F::Down)),
        Form::Loha => half(F::HadaT1, F::HadaW1A, F::HadaW1B) * half(F::HadaT2, F::HadaW2A, F::HadaW2B),
        Form::Lokr => {
            let has = |whole: Field| factors.contains_key(&whole);
            let first = if has(F::LokrW1) { get(F::LokrW1) } else { get(F::LokrW1A).matmul(get(F::LokrW1B)) };
            let second =
                if has(F::LokrW2) { get(F::LokrW2) } else { half(F::LokrT2, F::LokrW2A, F::LokrW2B) };
            let ([a, b], [c, d]) = (first.dims(), second.dims());
            (first.reshape([a, 1, b, 1]) * second.reshape([1, c, 1, d])).reshape([a * c, b * d])
        }
        Form::Full => get(F::Diff),
        Form::Bias => return Vec::new(),
    };
    change.into_data().try_into_vec::<f32>().expect("f32, as it was made")
}

/// The weight that DoRA makes of `merged` (W + ΔW): every output, or every input, has the norm that
/// `magnitude` says.
pub(super) fn with_magnitude(merged: &[f32], dims: &[usize], magnitude: &[f32], by_output: bool) -> Vec<f32> {
    let (outputs, rest) = matrix(dims);
    let kernel: usize = dims.iter().skip(2).product();
    let group = |index: usize| if by_output { index / rest } else { index % rest / kernel };
    let mut squares = vec![0.0f64; if by_output { outputs } else { rest / kernel }];
    for (index, value) in merged.iter().enumerate() {
        squares[group(index)] += f64::from(value * value);
    }
    let factor: Vec<f32> = squares
        .iter()
        .zip(magnitude)
        .map(|(s, m)| (f64::from(*m) / s.sqrt().max(f64::EPSILON)) as f32)
        .collect();
    merged.iter().enumerate().map(|(index, value)| value * factor[group(index)]).collect()
}
