//! Prompts of any length, as chunks that the text encoder takes.

use std::sync::Arc;

use super::{BOS, CHUNK, COMMA, ClipTokenizer, EOS, Piece, Prompt};
use crate::embedding::Embedding;

/// Tokens between begin and end.
const ROOM: usize = CHUNK - 2;
/// If a chunk is full and had a comma among this many last tokens, what follows the comma moves to the
/// next chunk (A1111's default).
const BACKTRACK: usize = 20;

/// What goes through the text encoder at once: 75 tokens between begin and end.
#[derive(Debug, Clone, PartialEq)]
pub struct Chunk {
    /// The tokens.
    pub ids: [u32; CHUNK],
    /// What each one's embedding is multiplied by.
    pub weights: [f32; CHUNK],
    /// Places whose token gives way to a vector of a textual inversion; ascending.
    pub vectors: Vec<(usize, Arc<[f32]>)>,
}

/// One place of a chunk.
#[derive(Clone)]
struct Token {
    id: u32,
    weight: f32,
    vector: Option<Arc<[f32]>>,
}

impl Chunk {
    /// Begin, up to 75 tokens, end to the end.
    fn new(tokens: &[Token]) -> Self {
        let mut chunk = Self { ids: [EOS; CHUNK], weights: [1.0; CHUNK], vectors: Vec::new() };
        chunk.ids[0] = BOS;
        for (place, token) in (1..).zip(tokens) {
            chunk.ids[place] = token.id;
            chunk.weights[place] = token.weight;
            chunk.vectors.extend(token.vector.clone().map(|vector| (place, vector)));
        }
        chunk
    }
}

impl ClipTokenizer {
    /// The chunks of a prompt, by A1111's rules: every 75 tokens start another, at the last comma if it
    /// is near, and so does `BREAK`; the vectors of an embedding stay together. There is at least one.
    ///
    /// An embedding stands where the tokens of one of its names do, the longest first (A1111), or one of
    /// its names in angle brackets, whatever follows it (transformers' added tokens).
    pub fn chunks(&self, prompt: &Prompt, embeddings: &[Embedding]) -> Vec<Chunk> {
        let names = embeddings.iter().flat_map(|e| e.names.iter().map(move |name| (name.as_str(), e)));
        let (tags, names): (Vec<_>, Vec<_>) = names.partition(|(name, _)| is_tag(name));
        let words = names.into_iter().map(|(name, embedding)| (self.encode(name), embedding));
        let mut words: Vec<(Vec<u32>, &Embedding)> = words.filter(|(ids, _)| !ids.is_empty()).collect();
        words.sort_by_key(|(ids, _)| std::cmp::Reverse(ids.len()));
        let mut filling = Filling::default();
        for (index, section) in prompt.sections.iter().enumerate() {
            if index > 0 {
                filling.finish();
            }
            for piece in section {
                let mut rest = piece.text.as_str();
                while let Some((at, length, embedding)) = find_tag(rest, &tags) {
                    filling.add(piece, &self.encode(&rest[..at]), &words);
                    filling.make_room(false);
                    filling.put(piece, embedding);
                    rest = &rest[at + length..];
                }
                filling.add(piece, &self.encode(rest), &words);
            }
        }
        if !filling.tokens.is_empty() || filling.done.is_empty() {
            filling.finish();
        }
        filling.done
    }
}

fn is_tag(name: &str) -> bool {
    name.starts_with('<') && name.ends_with('>')
}

/// Where the first of `tags` stands, how long it is, and whose.
fn find_tag<'a>(text: &str, tags: &[(&str, &'a Embedding)]) -> Option<(usize, usize, &'a Embedding)> {
    // Only ASCII is lowered, so that places stay what they are.
    let lower = text.to_ascii_lowercase();
    let places = tags.iter().filter_map(|(tag, embedding)| {
        let at = lower.find(&tag.to_ascii_lowercase())?;
        Some((at, tag.len(), *embedding))
    });
    places.min_by_key(|(at, length, _)| (*at, std::cmp::Reverse(*length)))
}

/// The chunk being filled.
#[derive(Default)]
struct Filling {
    tokens: Vec<Token>,
    comma: Option<usize>,
    done: Vec<Chunk>,
}

impl Filling {
    fn finish(&mut self) {
        self.done.push(Chunk::new(&self.tokens));
        self.tokens.clear();
        self.comma = None;
    }

    fn add(&mut self, piece: &Piece, ids: &[u32], words: &[(Vec<u32>, &Embedding)]) {
        let mut rest = ids;
        while let Some(&id) = rest.first() {
            self.make_room(id == COMMA);
            let word = words.iter().find(|(name, _)| rest.starts_with(name));
            let Some((name, embedding)) = word else {
                self.tokens.push(Token { id, weight: piece.weight, vector: None });
                rest = &rest[1..];
                continue;
            };
            self.put(piece, embedding);
            rest = &rest[name.len()..];
        }
    }

    /// End the chunk if it is full; `comma` is whether one comes next.
    fn make_room(&mut self, comma: bool) {
        let full = self.tokens.len() == ROOM;
        let near = self.comma.filter(|at| full && self.tokens.len() - at <= BACKTRACK);
        match near {
            Some(at) if !comma => {
                let moved = self.tokens.split_off(at + 1);
                self.finish();
                self.tokens = moved;
            }
            _ if full => self.finish(),
            _ if comma => self.comma = Some(self.tokens.len()),
            _ => {}
        }
    }

    fn put(&mut self, piece: &Piece, embedding: &Embedding) {
        if self.tokens.len() + embedding.vectors.len() > ROOM {
            self.finish();
        }
        let token = |v: &Arc<[f32]>| Token { id: EOS, weight: piece.weight, vector: Some(v.clone()) };
        self.tokens.extend(embedding.vectors.iter().map(token));
    }
}

/// Guidance needs both prompts to be as long: the shorter gets empty chunks.
pub fn pad_to_same_length(a: &mut Vec<Chunk>, b: &mut Vec<Chunk>) {
    let length = a.len().max(b.len());
    a.resize(length, Chunk::new(&[]));
    b.resize(length, Chunk::new(&[]));
}
