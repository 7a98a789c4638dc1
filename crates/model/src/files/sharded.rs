//! Several safetensors files that an index makes one (`*.safetensors.index.json`).

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::{FileError, TensorFile, TensorInfo, open};

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// The shards of one set of tensors.
pub struct ShardedFile {
    tensors: BTreeMap<String, TensorInfo>,
    shards: Vec<Box<dyn TensorFile>>,
    place: BTreeMap<String, usize>,
}

impl ShardedFile {
    /// Open every shard that the index at `path` names, beside it.
    ///
    /// # Errors
    /// If the index or a shard is damaged, or a shard lacks a tensor that the index says it has.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        let name = path.display().to_string();
        let damaged = |reason: String| FileError::Damaged { name: name.clone(), reason };
        let text = std::fs::read(path).map_err(|source| FileError::Read { name: name.clone(), source })?;
        let index: Index =
            serde_json::from_slice(&text).map_err(|e| damaged(format!("not an index of shards ({e})")))?;
        if index.weight_map.is_empty() {
            return Err(damaged("its list of tensors is empty".into()));
        }
        let folder = path.parent().unwrap_or(Path::new("."));
        let mut sharded = Self { tensors: BTreeMap::new(), shards: Vec::new(), place: BTreeMap::new() };
        let mut files: Vec<&String> = index.weight_map.values().collect();
        files.sort_unstable();
        files.dedup();
        for file in files {
            if Path::new(file).components().count() != 1 || file.ends_with(".json") {
                return Err(damaged(format!("its shard {file:?} is not beside it")));
            }
            let shard = open(folder.join(file))?;
            for (key, _) in index.weight_map.iter().filter(|(_, f)| *f == file) {
                let info = shard
                    .tensors()
                    .get(key)
                    .ok_or_else(|| damaged(format!("{file} lacks its tensor {key}")))?;
                sharded.tensors.insert(key.clone(), info.clone());
                sharded.place.insert(key.clone(), sharded.shards.len());
            }
            sharded.shards.push(shard);
        }
        Ok(sharded)
    }
}

impl TensorFile for ShardedFile {
    fn tensors(&self) -> &BTreeMap<String, TensorInfo> {
        &self.tensors
    }

    fn read(&self, name: &str) -> Result<Vec<f32>, FileError> {
        // A name without a shard is one that no shard has; the first says so.
        self.shards[self.place.get(name).copied().unwrap_or(0)].read(name)
    }
}
