//! CLIP's tokenizer, with its vocabulary built in, and A1111's prompt syntax on top of it.

mod prompt;
mod syntax;

use std::io::Read;

use flate2::read::GzDecoder;
use tokenizers::models::bpe::BPE;
use tokenizers::normalizers::replace::ReplacePattern;
use tokenizers::normalizers::{Lowercase, NFC, Replace, Sequence as Normalizers};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence as PreTokenizers;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{AddedToken, SplitDelimiterBehavior, Tokenizer};

pub use prompt::{Chunk, pad_to_same_length};
pub use syntax::{LoraTag, Piece, Prompt};

/// Begins every chunk.
pub const BOS: u32 = 49406;
/// Ends every chunk and pads it.
pub const EOS: u32 = 49407;
/// A comma that ends a word.
const COMMA: u32 = 267;
/// Tokens in a chunk, begin and end included.
pub const CHUNK: usize = 77;

/// OpenAI's list of merges: a header line, then one a line, the most frequent first.
const MERGES: &[u8] = include_bytes!("../../assets/bpe_simple_vocab_16e6.txt.gz");
/// How many of its merges CLIP uses.
const MERGE_COUNT: usize = 49152 - 256 - 2;
const END_OF_WORD: &str = "</w>";
/// What transformers splits at, before bytes are paired.
const WORDS: &str =
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";

/// Text to tokens, as transformers' `CLIPTokenizer`.
pub struct ClipTokenizer {
    tokenizer: Tokenizer,
}

impl Default for ClipTokenizer {
    fn default() -> Self {
        Self::new()
    }
}

impl ClipTokenizer {
    /// The tokenizer of every SD 1.x.
    pub fn new() -> Self {
        let mut text = String::new();
        GzDecoder::new(MERGES).read_to_string(&mut text).expect("the built-in vocabulary is whole");
        let merges: Vec<(String, String)> = text
            .lines()
            .skip(1)
            .take(MERGE_COUNT)
            .filter_map(|line| line.split_once(' '))
            .map(|(a, b)| (a.to_owned(), b.to_owned()))
            .collect();
        // The order fixes the numbers: bytes, bytes that end a word, merges, the two special ones.
        let bytes: Vec<String> = byte_letters().map(String::from).collect();
        let endings = bytes.iter().map(|b| format!("{b}{END_OF_WORD}"));
        let pairs = merges.iter().map(|(a, b)| format!("{a}{b}"));
        let special = ["<|startoftext|>", "<|endoftext|>"].map(String::from);
        let words = bytes.iter().cloned().chain(endings).chain(pairs).chain(special);
        let vocabulary: ahash::AHashMap<String, u32> = words.zip(0..).collect();
        let bpe = BPE::builder()
            .vocab_and_merges(vocabulary, merges)
            .end_of_word_suffix(END_OF_WORD.into())
            .continuing_subword_prefix(String::new())
            .unk_token("<|endoftext|>".into())
            .build()
            .expect("the built-in vocabulary is consistent");
        let mut tokenizer = Tokenizer::new(bpe);
        let spaces = Replace::new(ReplacePattern::Regex(r"\s+".into()), " ").expect("a valid pattern");
        let normalizers = vec![NFC.into(), spaces.into(), Lowercase.into()];
        let normalizer = Normalizers::new(normalizers);
        tokenizer.with_normalizer(Some(normalizer)).expect("a normalizer");
        let split = Split::new(SplitPattern::Regex(WORDS.into()), SplitDelimiterBehavior::Removed, true);
        let words = split.expect("a valid pattern");
        let pre_tokenizers = vec![words.into(), ByteLevel::new(false, true, true).into()];
        tokenizer.with_pre_tokenizer(Some(PreTokenizers::new(pre_tokenizers)));
        let special = ["<|startoftext|>", "<|endoftext|>"].map(|word| AddedToken::from(word, true));
        tokenizer.add_special_tokens(special).expect("they are in the vocabulary");
        Self { tokenizer }
    }

    /// Whether `name` stands in `text`, as a word of its tokens: where [`Self::chunks`] would see it.
    pub fn mentions(&self, text: &str, name: &str) -> bool {
        let name = self.encode(name);
        let in_piece = |piece: &Piece| self.encode(&piece.text).windows(name.len()).any(|ids| ids == name);
        !name.is_empty() && Prompt::parse(text).sections.iter().flatten().any(in_piece)
    }

    /// The tokens of `text`, without begin and end.
    pub fn encode(&self, text: &str) -> Vec<u32> {
        let encoding = self.tokenizer.encode_fast(text, false);
        encoding.expect("every byte has a token").get_ids().to_vec()
    }
}

/// The letters that stand for bytes (GPT-2's `bytes_to_unicode`): printable ones for themselves,
/// first, then the others from U+0100 on.
fn byte_letters() -> impl Iterator<Item = char> {
    let printable = (b'!'..=b'~').chain(0xA1..=0xAC).chain(0xAE..=0xFF);
    printable.map(char::from).chain((0x100..0x144).filter_map(char::from_u32))
}
