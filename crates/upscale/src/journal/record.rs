//! The record of what is done: a line that says what it is and its checksum, then JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::JournalError;
use super::identity::Identity;
use super::values::Stored;
use crate::Phase;

/// Its name in the folder.
pub const NAME: &str = "record";
const TITLE: &str = "clarifier journal ";
/// To be raised whenever an older program would misunderstand.
const VERSION: &str = "2";

/// What is done.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// What the result depends on.
    pub identity: Identity,
    /// What UNet and ControlNet compute in by now: f32 after an f16 that overflowed.
    pub precision: Option<String>,
    /// For people: where it stands.
    pub at: Option<At>,
    /// States made so far.
    pub states: u64,
    /// Pictures that are complete.
    pub pictures: BTreeMap<String, Whole>,
    /// Numbers that are complete.
    pub values: BTreeMap<String, Stored>,
    /// What is being made.
    pub partial: Option<Partial>,
    /// The last stage that is done, from 0, and the name of its picture.
    pub result: Option<(usize, String)>,
}

/// A complete picture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Whole {
    pub width: u32,
    pub height: u32,
    /// Checksum of its bytes.
    pub sum: u32,
}

/// A picture or numbers that are being made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Partial {
    /// Its name.
    pub of: String,
    /// Units done, and in all.
    pub done: usize,
    pub total: usize,
    /// Checksums of its parts.
    pub sums: Vec<u32>,
    /// What has been computed of it beside the picture; a key says which tile or step it is after.
    pub values: BTreeMap<String, Stored>,
}

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct At {
    /// From 0.
    pub stage: usize,
    /// How many there are.
    pub stages: usize,
    /// What it is at.
    pub phase: Phase,
    /// Tiles of this phase done.
    pub done: usize,
    /// Tiles of this phase in all; 1 where the phase is at its end.
    pub total: usize,
}

impl Record {
    /// As it is stored.
    pub fn to_bytes(&self) -> Vec<u8> {
        let json = serde_json::to_string(self).expect("a record is plain data");
        format!("{TITLE}{VERSION} {:08x}\n{json}\n", crc32fast::hash(json.as_bytes())).into_bytes()
    }

    /// A stored record.
    ///
    /// # Errors
    /// If it is damaged, or of a version that is unknown here.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, JournalError> {
        let damaged = |what: &str| JournalError::Damaged(format!("its record {what}"));
        let text = std::str::from_utf8(bytes).map_err(|_| damaged("is no text"))?;
        let (first, json) = text.split_once('\n').ok_or_else(|| damaged("is cut off"))?;
        let words = first.strip_prefix(TITLE).and_then(|words| words.split_once(' '));
        let (version, sum) = words.ok_or_else(|| damaged("is none"))?;
        let json = json.strip_suffix('\n').ok_or_else(|| damaged("is cut off"))?;
        let sound = sum == format!("{:08x}", crc32fast::hash(json.as_bytes()));
        if version != VERSION && (sound || version.chars().all(|c| c.is_ascii_digit())) {
            return Err(JournalError::Version(version.to_owned()));
        }
        if !sound {
            return Err(damaged("does not have its checksum"));
        }
        serde_json::from_str(json).map_err(|e| damaged(&format!("is not understood: {e}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_survives_storage_and_no_change_of_a_byte() {
        let record = Record {
            identity: [("--seed".to_owned(), "7".to_owned())].into(),
            precision: Some("f32".into()),
            at: Some(At { stage: 1, stages: 2, phase: Phase::Diffuse, done: 3, total: 9 }),
            partial: Some(Partial {
                of: "1.latents".into(),
                done: 3,
                total: 9,
                sums: vec![1, u32::MAX],
                values: [("x@1".to_owned(), Stored { store: "state-4".into(), length: 8, sum: 5 })].into(),
            }),
            pictures: [("0.guess".to_owned(), Whole { width: 3, height: 4, sum: 9 })].into(),
            ..Record::default()
        };
        let bytes = record.to_bytes();
        assert_eq!(Record::from_bytes(&bytes).unwrap(), record);
        for at in 0..bytes.len() {
            assert!(Record::from_bytes(&bytes[..at]).is_err(), "cut at {at}");
            for bit in 0..8 {
                let mut flipped = bytes.clone();
                flipped[at] ^= 1 << bit;
                let read = Record::from_bytes(&flipped);
                assert!(read.is_err(), "bit {bit} of byte {at}");
            }
        }
        let later = String::from_utf8(bytes).unwrap().replacen("journal 2", "journal 3", 1);
        assert!(matches!(Record::from_bytes(later.as_bytes()), Err(JournalError::Version(v)) if v == "3"));
    }
}
