//! Opening models.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use perigee_quant::QuantKind;

use crate::header::{self, Header};
use crate::limits::MAX_TENSORS;
use crate::map::Bytes;
use crate::shards::{self, Split};
use crate::{Error, Metadata};

/// An index into the vocabulary of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenId(pub u32);

/// One tensor: where its bytes are and what they mean.
#[derive(Clone, Debug)]
pub struct Tensor {
    /// Name as in the file: `blk.0.attn_q_a.weight`.
    pub name: String,
    /// Encoding.
    pub kind: QuantKind,
    /// Dimensions in ggml order: `shape[0]` is contiguous. 1 to 4 entries, each ≥ 1.
    pub shape: Vec<u64>,
    /// Index of the shard that holds the bytes.
    pub shard: usize,
    /// Byte offset from the start of that shard's file.
    pub offset: u64,
    /// Size of the tensor.
    pub n_bytes: usize,
}

struct Shard {
    path: PathBuf,
    bytes: Bytes,
}

/// An opened model: all shards mapped, all headers checked.
pub struct Gguf {
    shards: Vec<Shard>,
    metadata: Metadata,
    tensors: Vec<Tensor>,
    // Names come from files: with a hash that is not seeded they could be made to collide.
    by_name: HashMap<String, usize>,
}

impl Gguf {
    /// Opens a file, any shard of a split model, or a folder that holds exactly one model.
    /// Reads headers only: the tensors' bytes are mapped.
    ///
    /// # Errors
    /// Whatever breaks a rule of the format, by file, tensor and rule.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let path = if path.is_dir() {
            shards::in_folder(path)?
        } else {
            path.to_owned()
        };
        let (shard, header) = open_shard(&path, 0)?;
        let Some(split) = Split::of(&header.metadata)? else {
            return Self::new(vec![shard], header.metadata, header.tensors);
        };
        Self::open_split(&path, split)
    }

    fn open_split(path: &Path, split: Split) -> Result<Self, Error> {
        let mut shards = Vec::with_capacity(split.count.into());
        let mut tensors = Vec::new();
        let mut metadata = None;
        // By shard: where each states how many tensors there are in all.
        let mut totals = Vec::new();
        for number in 0..split.count {
            let path = shards::sibling(path, split, number)?;
            if !path.exists() {
                return Err(Error::ShardMissing { path });
            }
            let (shard, header) = open_shard(&path, number.into())?;
            let found = Split::of(&header.metadata)?;
            check_split(&path, split.count, number, found)?;
            totals.push(found.and_then(|found| found.n_tensors));
            shards.push(shard);
            tensors.extend(header.tensors);
            if tensors.len() > MAX_TENSORS {
                return Err(Error::TooMany {
                    file: path.display().to_string(),
                    what: "tensors in all shards",
                    count: tensors.len() as u64,
                    limit: MAX_TENSORS as u64,
                });
            }
            metadata.get_or_insert(header.metadata);
        }
        for (shard, total) in shards.iter().zip(totals) {
            if let Some(expected) = total.filter(|&total| total != tensors.len() as u64) {
                return Err(Error::TensorCount {
                    file: shard.path.display().to_string(),
                    expected,
                    found: tensors.len(),
                });
            }
        }
        let metadata = metadata.expect("a split model has at least two shards");
        Self::new(shards, metadata, tensors)
    }

    /// Reads a single-file model from static memory. `name` stands for the path in errors.
    ///
    /// # Errors
    /// As [`Gguf::open`].
    pub fn from_bytes(name: &str, bytes: &'static [u8]) -> Result<Self, Error> {
        Self::from_memory(name, Bytes::Static(bytes))
    }

    /// Reads a single-file model from owned memory.
    ///
    /// # Errors
    /// As [`Gguf::open`].
    pub fn from_vec(name: &str, bytes: Vec<u8>) -> Result<Self, Error> {
        Self::from_memory(name, Bytes::Owned(bytes))
    }

    pub(crate) fn from_memory(name: &str, bytes: Bytes) -> Result<Self, Error> {
        let header = header::parse(name, &bytes, 0)?;
        Self::new(
            vec![Shard {
                path: name.into(),
                bytes,
            }],
            header.metadata,
            header.tensors,
        )
    }

    fn new(shards: Vec<Shard>, metadata: Metadata, tensors: Vec<Tensor>) -> Result<Self, Error> {
        let mut by_name = HashMap::with_capacity(tensors.len());
        for (i, tensor) in tensors.iter().enumerate() {
            if by_name.insert(tensor.name.clone(), i).is_some() {
                let file = shards[tensor.shard].path.display().to_string();
                return Err(Error::DuplicateTensor {
                    file,
                    tensor: tensor.name.clone(),
                });
            }
        }
        Ok(Self {
            shards,
            metadata,
            tensors,
            by_name,
        })
    }

    /// The metadata of shard 0.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// All tensors over all shards, in file order.
    pub fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    /// The tensor of that name.
    pub fn tensor(&self, name: &str) -> Option<&Tensor> {
        self.by_name.get(name).map(|&i| &self.tensors[i])
    }

    /// The bytes of a tensor of this model.
    pub fn bytes(&self, tensor: &Tensor) -> &[u8] {
        // `header::place` checked that the range lies in the file.
        let start = tensor.offset as usize;
        &self.shards[tensor.shard].bytes[start..start + tensor.n_bytes]
    }

    /// The first row of a tensor, over all its matrices, with a weight that is infinite or no
    /// number; `None` when all are finite. Decodes the whole tensor.
    pub fn row_not_finite(&self, tensor: &Tensor) -> Option<usize> {
        // `header::place` checked that rows are whole blocks and memory could hold one.
        let mut weights = vec![0.0; tensor.shape[0] as usize];
        let row_bytes = tensor.kind.row_bytes(weights.len())?;
        let mut rows = self.bytes(tensor).chunks_exact(row_bytes);
        rows.position(|row| {
            tensor.kind.dequantize_row(row, &mut weights);
            !weights.iter().all(|weight| weight.is_finite())
        })
    }

    /// Paths of the shards, in order.
    pub fn paths(&self) -> Vec<&Path> {
        self.shards
            .iter()
            .map(|shard| shard.path.as_path())
            .collect()
    }

    /// Total bytes of all shards.
    pub fn file_bytes(&self) -> u64 {
        self.shards
            .iter()
            .map(|shard| shard.bytes.len() as u64)
            .sum()
    }
}

fn open_shard(path: &Path, number: usize) -> Result<(Shard, Header), Error> {
    let bytes = Bytes::map(path)?;
    let header = header::parse(&path.display().to_string(), &bytes, number)?;
    Ok((
        Shard {
            path: path.to_owned(),
            bytes,
        },
        header,
    ))
}

fn check_split(path: &Path, count: u16, number: u16, found: Option<Split>) -> Result<(), Error> {
    let file = path.display().to_string();
    match found {
        None => Err(Error::ShardCountDiffers {
            file,
            expected: count,
            found: 1,
        }),
        Some(split) if split.count != count => Err(Error::ShardCountDiffers {
            file,
            expected: count,
            found: split.count.into(),
        }),
        Some(split) if split.number != number => Err(Error::ShardNumber {
            file,
            expected: number,
            found: split.number.into(),
        }),
        Some(_) => Ok(()),
    }
}
