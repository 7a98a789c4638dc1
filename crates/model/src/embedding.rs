//! Textual inversion (Gal et al. 2022): a word of its own, as vectors that stand in place of tokens.

use std::sync::Arc;

use crate::files::{FileError, FileKind, Source, identify, open};
use crate::tokenizer::CHUNK;

/// A word that a file gives a meaning.
#[derive(Debug, Clone, PartialEq)]
pub struct Embedding {
    /// The file, as the user named it.
    pub file: String,
    /// The words that stand for it: the file's name without its extension, the same in angle brackets,
    /// and a token in angle brackets that the file itself names.
    pub names: Vec<String>,
    /// One for each place that the word takes: at least 1, at most 75, all as wide as each other (768).
    pub vectors: Vec<Arc<[f32]>>,
}

impl Embedding {
    /// Read the file: A1111's `.pt`, diffusers' `.bin`, or safetensors with `emb_params` or one
    /// tensor under any name; `[n, 768]` or `[768]`.
    ///
    /// # Errors
    /// [`FileError`]: it is no such file, or one for SDXL or SD 3, or has too many vectors.
    pub fn open(source: impl Into<Source>) -> Result<Self, FileError> {
        let source = source.into();
        let file = open(&source)?;
        let name = source.display().to_string();
        let damaged = |reason: String| FileError::Damaged { name: name.clone(), reason };
        let tensors = file.tensors();
        if tensors.contains_key("clip_g") || tensors.contains_key("clip_l") {
            return Err(damaged("an embedding for SDXL or SD 3, and this model is an SD 1.x".into()));
        }
        let params: Vec<&String> = tensors.keys().filter(|key| key.starts_with("string_to_param.")).collect();
        let key = match (&params[..], tensors.len()) {
            ([key], _) => (*key).clone(),
            (_, _) if tensors.contains_key("emb_params") => "emb_params".to_owned(),
            ([], 1) => tensors.keys().next().cloned().unwrap_or_default(),
            _ => {
                let is = match identify(&*file) {
                    FileKind::Embedding => return Err(damaged("it holds several embeddings".into())),
                    other => other,
                };
                let wanted = "a textual inversion embedding was expected here (`embedding`)".into();
                return Err(FileError::WrongKind { name, is, wanted });
            }
        };
        let (count, width) = match tensors[&key].shape[..] {
            [width] => (1, width),
            [count, width] => (count, width),
            ref other => return Err(damaged(format!("its tensor {key} is {other:?}, not [n, 768]"))),
        };
        if count == 0 || count > CHUNK - 2 || width == 0 {
            return Err(damaged(format!(
                "it has {count} vectors of {width}; 1 to {} can be used",
                CHUNK - 2
            )));
        }
        let values = file.read(&key)?;
        if values.iter().any(|v| !v.is_finite()) {
            return Err(damaged("it holds NaN or infinite values; download the file again".into()));
        }
        let stem = source.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let mut names = vec![stem.clone(), format!("<{stem}>")];
        if key.starts_with('<') && key.ends_with('>') && !names.contains(&key) {
            names.push(key);
        }
        let vectors = values.chunks_exact(width).map(Arc::from).collect();
        Ok(Self { file: name, names, vectors })
    }

    /// Values in each vector: 768 for SD 1.x.
    pub fn width(&self) -> usize {
        self.vectors[0].len()
    }

    /// Whether its vectors can stand in place of a text encoder's tokens, `width` values each.
    ///
    /// # Errors
    /// [`FileError::Damaged`], saying which model it is for.
    pub fn check_width(&self, width: usize) -> Result<(), FileError> {
        if self.width() == width {
            return Ok(());
        }
        let model = match self.width() {
            768 => "; it is made for SD 1.x",
            1024 => "; it is made for SD 2.x",
            1280 | 2048 => "; it is made for SDXL",
            _ => "",
        };
        let reason =
            format!("its vectors have {} values, and the text encoder's {width}{model}", self.width());
        Err(FileError::Damaged { name: self.file.clone(), reason })
    }
}
