//! Prompts of any length, as chunks that the text encoder takes.

use super::{BOS, CHUNK, ClipTokenizer, EOS, Prompt};

/// What goes through the text encoder at once: 75 tokens between begin and end.
#[derive(Debug, Clone, PartialEq)]
pub struct Chunk {
    /// The tokens.
    pub ids: [u32; CHUNK],
    /// What each one's embedding is multiplied by.
    pub weights: [f32; CHUNK],
}

impl Chunk {
    /// Begin, up to 75 tokens, end to the end.
    fn new(tokens: &[(u32, f32)]) -> Self {
        let mut chunk = Self { ids: [EOS; CHUNK], weights: [1.0; CHUNK] };
        chunk.ids[0] = BOS;
        for (place, (id, weight)) in tokens.iter().enumerate() {
            chunk.ids[place + 1] = *id;
            chunk.weights[place + 1] = *weight;
        }
        chunk
    }
}

impl ClipTokenizer {
    /// The chunks of a prompt: every 75 tokens start another, and so does every section. There is at
    /// least one. (A1111 also moves up to 20 tokens after the last comma into the next chunk; this
    /// does not.)
    pub fn chunks(&self, prompt: &Prompt) -> Vec<Chunk> {
        let mut chunks = Vec::new();
        for section in &prompt.sections {
            let tokens: Vec<_> = section
                .iter()
                .flat_map(|piece| self.encode(&piece.text).into_iter().map(|id| (id, piece.weight)))
                .collect();
            chunks.extend(tokens.chunks(CHUNK - 2).map(Chunk::new));
            if tokens.is_empty() {
                chunks.push(Chunk::new(&[]));
            }
        }
        if chunks.is_empty() {
            chunks.push(Chunk::new(&[]));
        }
        chunks
    }
}

/// Guidance needs both prompts to be as long: the shorter gets empty chunks.
pub fn pad_to_same_length(a: &mut Vec<Chunk>, b: &mut Vec<Chunk>) {
    let length = a.len().max(b.len());
    a.resize(length, Chunk::new(&[]));
    b.resize(length, Chunk::new(&[]));
}
