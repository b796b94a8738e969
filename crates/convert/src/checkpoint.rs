//! A folder of safetensors files with an index.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use rustc_hash::FxHashMap;
use serde::Deserialize;
use serde_json::Value;

use crate::Error;
use crate::safetensors::{Located, read_header};

const INDEX: &str = "model.safetensors.index.json";
const SINGLE: &str = "model.safetensors";
/// Longest index: that of the largest checkpoints, with some 210,000 names, has 30 MB.
const MAX_INDEX_BYTES: u64 = 256 << 20;
/// Longest `config.json` and the like.
pub(crate) const MAX_JSON_BYTES: u64 = 16 << 20;

/// All tensors of a checkpoint by name. Headers only; nothing stays open.
pub(crate) struct Checkpoint {
    pub(crate) folder: PathBuf,
    tensors: FxHashMap<String, Located>,
}

impl Checkpoint {
    /// Reads the index, or the only file of a checkpoint without one, and all headers.
    pub(crate) fn open(folder: &Path) -> Result<Self, Error> {
        let index = folder.join(INDEX);
        let tensors = if index.exists() {
            indexed(folder, &index)?
        } else if folder.join(SINGLE).exists() {
            shard(&folder.join(SINGLE))?
                .map(|tensor| (tensor.tensor.name.clone(), tensor))
                .collect()
        } else {
            return Err(Error::file(
                folder,
                format!("neither {INDEX} nor {SINGLE} is here"),
            ));
        };
        Ok(Self {
            folder: folder.to_owned(),
            tensors,
        })
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Located> {
        self.tensors.get(name)
    }

    /// As [`Checkpoint::get`], demanded.
    pub(crate) fn need(&self, name: &str) -> Result<&Located, Error> {
        self.get(name).ok_or_else(|| Error::MissingTensor {
            folder: self.folder.clone(),
            tensor: name.to_owned(),
        })
    }

    pub(crate) fn tensors(&self) -> impl Iterator<Item = &Located> {
        self.tensors.values()
    }
}

fn indexed(folder: &Path, index: &Path) -> Result<FxHashMap<String, Located>, Error> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let text = read_text(index, MAX_INDEX_BYTES)?;
    let Index { weight_map } = serde_json::from_str(&text)
        .map_err(|error| Error::file(index, format!("not an index: {error}")))?;
    let mut by_shard: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (tensor, shard) in &weight_map {
        by_shard.entry(shard).or_default().push(tensor);
    }
    let mut tensors = FxHashMap::default();
    for (name, wanted) in by_shard {
        if !is_plain(name) {
            let problem = format!("{name:?} is no name of a file in this folder");
            return Err(Error::file(index, problem));
        }
        let path = folder.join(name);
        let mut found: FxHashMap<String, Located> = shard(&path)?
            .map(|tensor| (tensor.tensor.name.clone(), tensor))
            .collect();
        for tensor in wanted {
            let problem = "the index says it is in this file, but it is not";
            let located = found
                .remove(tensor)
                .ok_or_else(|| Error::tensor(&path, tensor, problem))?;
            tensors.insert(tensor.to_owned(), located);
        }
    }
    Ok(tensors)
}

/// Whether the name stays in its folder.
fn is_plain(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    matches!(
        (parts.next(), parts.next()),
        (Some(Component::Normal(_)), None)
    ) && !name.contains(['/', '\\'])
}

fn shard(path: &Path) -> Result<impl Iterator<Item = Located>, Error> {
    let tensors = read_header(path)?;
    let path = Arc::new(path.to_owned());
    Ok(tensors.into_iter().map(move |tensor| Located {
        path: Arc::clone(&path),
        tensor,
    }))
}

/// A text file of at most `limit` bytes.
pub(crate) fn read_text(path: &Path, limit: u64) -> Result<String, Error> {
    let file = File::open(path).map_err(Error::io(path))?;
    let mut bytes = Vec::new();
    let n = file
        .take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(Error::io(path))?;
    if n as u64 > limit {
        return Err(Error::file(path, format!("more than {limit} bytes")));
    }
    String::from_utf8(bytes).map_err(|_| Error::file(path, "not UTF-8"))
}

/// A JSON file.
pub(crate) fn read_json(path: &Path) -> Result<Value, Error> {
    let text = read_text(path, MAX_JSON_BYTES)?;
    serde_json::from_str(&text).map_err(|error| Error::file(path, format!("not JSON: {error}")))
}

/// As [`read_json`]; `None` if there is no such file.
pub(crate) fn read_json_if_there(path: &Path) -> Result<Option<Value>, Error> {
    path.exists().then(|| read_json(path)).transpose()
}
