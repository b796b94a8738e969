//! Importances: the mean square of what each column of a matrix is multiplied with.
//!
//! Two file formats are in use: ik_llama.cpp's `.dat` and llama.cpp's GGUF. Both hold second
//! moments E\[x²\] of the inputs of each matrix, by column and, for routed experts, by expert.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::{imatrix_gguf, legacy};

/// Importances of the matrices of a model, by tensor name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Imatrix {
    /// `[n_matrices, n_columns]` or, the same for all matrices, `[n_columns]`.
    entries: BTreeMap<String, Vec<f32>>,
    /// The texts that activations were collected on.
    pub datasets: Vec<String>,
    /// Chunks of text that were run.
    pub n_chunks: u32,
}

/// Why importances cannot be read, written or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImatrixError {
    /// The file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file is none of the two formats, or is damaged.
    #[error("{}: {what}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// It begins as a GGUF and is none.
    #[error(transparent)]
    Gguf(#[from] perigee_gguf::Error),
    /// An entry has another size than the tensor of that name.
    #[error(
        "{tensor} has {n_matrices} x {n_columns} columns and the importance matrix {found} values: it is of another model, or leave that tensor out with --exclude-weights"
    )]
    Size {
        /// The tensor.
        tensor: String,
        /// Matrices in the tensor.
        n_matrices: u64,
        /// Columns of each.
        n_columns: u64,
        /// Values of the entry.
        found: usize,
    },
}

impl Imatrix {
    /// Reads a file of either format.
    ///
    /// # Errors
    /// The file cannot be read, or is damaged; the error says where.
    pub fn read(path: &Path) -> Result<Self, ImatrixError> {
        let io = |source| ImatrixError::Io {
            path: path.to_owned(),
            source,
        };
        let mut magic = Vec::new();
        let file = File::open(path).map_err(io)?;
        file.take(4).read_to_end(&mut magic).map_err(io)?;
        if magic == b"GGUF" {
            imatrix_gguf::read(path)
        } else {
            legacy::read(path)
        }
    }

    /// Adds the importances of a tensor: `[n_matrices, n_columns]`.
    pub(crate) fn insert(&mut self, tensor: String, importance: Vec<f32>) {
        self.entries.insert(tensor, importance);
    }

    /// Names of the tensors with importances.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// The importances of a tensor: `[n_matrices, n_columns]`, or `[n_columns]` for all of its
    /// matrices; `None` when it has none.
    ///
    /// # Errors
    /// The entry has another size.
    pub fn columns(
        &self,
        tensor: &str,
        n_matrices: u64,
        n_columns: u64,
    ) -> Result<Option<&[f32]>, ImatrixError> {
        let Some(found) = self.entries.get(tensor) else {
            return Ok(None);
        };
        let n = found.len() as u64;
        if n == n_columns || n_matrices.checked_mul(n_columns) == Some(n) {
            return Ok(Some(found));
        }
        Err(ImatrixError::Size {
            tensor: tensor.to_owned(),
            n_matrices,
            n_columns,
            found: found.len(),
        })
    }
}

/// Sums of squares while a model reads a text; written as either format.
#[derive(Clone, Debug, Default)]
pub struct Activations {
    pub(crate) sums: BTreeMap<String, Sums>,
}

/// Of one tensor.
#[derive(Clone, Debug)]
pub(crate) struct Sums {
    /// `[n_matrices, n_columns]`.
    pub(crate) squares: Vec<f64>,
    /// Inputs that each matrix has seen.
    pub(crate) counts: Vec<u64>,
}

impl Sums {
    pub(crate) fn n_columns(&self) -> usize {
        self.squares.len() / self.counts.len().max(1)
    }

    /// Mean squares; of a matrix that saw nothing, ones.
    pub(crate) fn means(&self) -> Vec<f32> {
        let columns = self.n_columns().max(1);
        let matrices = self.squares.chunks(columns).zip(&self.counts);
        let mean = |(squares, &count): (&[f64], &u64)| -> Vec<f32> {
            let mean = |&square: &f64| match count {
                0 => 1.0,
                _ => (square / count as f64) as f32,
            };
            squares.iter().map(mean).collect()
        };
        matrices.flat_map(mean).collect()
    }
}

impl Activations {
    /// Adds inputs of matrix `matrix` of `n_matrices` of a tensor; `inputs`: `[n, n_columns]`.
    ///
    /// # Panics
    /// If a tensor has had other dimensions before, or `inputs` has no whole number of rows.
    pub fn add(
        &mut self,
        tensor: &str,
        n_matrices: usize,
        matrix: usize,
        n_columns: usize,
        inputs: &[f32],
    ) {
        if !self.sums.contains_key(tensor) {
            let sums = Sums {
                squares: vec![0.0; n_matrices * n_columns],
                counts: vec![0; n_matrices],
            };
            self.sums.insert(tensor.to_owned(), sums);
        }
        let Some(sums) = self.sums.get_mut(tensor) else {
            return;
        };
        assert_eq!(sums.counts.len(), n_matrices, "matrices of {tensor}");
        assert_eq!(sums.n_columns(), n_columns, "columns of {tensor}");
        let rows = inputs.chunks_exact(n_columns);
        assert!(rows.remainder().is_empty(), "inputs of {tensor}");
        let squares = &mut sums.squares[matrix * n_columns..][..n_columns];
        for row in rows {
            sums.counts[matrix] += 1;
            for (square, &x) in squares.iter_mut().zip(row) {
                *square += f64::from(x) * f64::from(x);
            }
        }
    }

    /// Tensors with sums.
    pub fn len(&self) -> usize {
        self.sums.len()
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.sums.is_empty()
    }

    /// Experts that no token reached, of all.
    pub fn unreached(&self) -> (usize, usize) {
        let counts = self.sums.values().flat_map(|sums| &sums.counts);
        let unreached = counts.clone().filter(|&&count| count == 0).count();
        (unreached, counts.count())
    }

    /// Writes llama.cpp's GGUF format, or ik_llama.cpp's when the name ends in `.dat`.
    ///
    /// # Errors
    /// The file cannot be written; nothing is left under its name.
    pub fn write(
        &self,
        path: &Path,
        dataset: &str,
        n_chunks: u32,
        chunk_tokens: u32,
    ) -> Result<(), ImatrixError> {
        let written = if path.extension().is_some_and(|extension| extension == "dat") {
            legacy::write(path, self, dataset, n_chunks)
        } else {
            imatrix_gguf::write(path, self, dataset, n_chunks, chunk_tokens)
        };
        written.map_err(|source| ImatrixError::Io {
            path: path.to_owned(),
            source,
        })
    }
}
