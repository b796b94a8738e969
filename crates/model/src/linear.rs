//! A weight at its home.

use std::sync::Arc;

use perigee_cpu::{Activations, Matrix, Stack, Workers, matmul_all, pack};
use perigee_gguf::{Gguf, Tensor};
use perigee_topology::{HugeBytes, Machine, Pool};

use crate::{LoadError, Observer};

/// Shape of a weight: `n_items` matrices (heads, experts) of `n_out` rows of `n_in` weights.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LinearShape {
    pub(crate) n_in: usize,
    pub(crate) n_out: usize,
    pub(crate) n_items: usize,
}

/// A quantised weight matrix, or a stack of them, where the plan put it.
pub(crate) struct Linear {
    shape: LinearShape,
    storage: Storage,
    observer: Option<Arc<dyn Observer>>,
}

/// The memory of a weight.
enum Storage {
    /// The bytes of the file, and what they meet.
    Mapped {
        gguf: Arc<Gguf>,
        tensor: Tensor,
        activations: Activations,
    },
    /// Rows interleaved for the kernels, in memory of our own.
    Packed { tensor: Tensor, bytes: HugeBytes },
}

impl Linear {
    /// The weight as it lies in the mapped file.
    pub(crate) fn mapped(
        gguf: &Arc<Gguf>,
        tensor: &Tensor,
        shape: LinearShape,
    ) -> Result<Self, LoadError> {
        let expected = tensor
            .kind
            .row_bytes(shape.n_in)
            .and_then(|row| row.checked_mul(shape.n_out)?.checked_mul(shape.n_items));
        if expected != Some(tensor.n_bytes) {
            return Err(LoadError::TensorBytes {
                tensor: tensor.name.clone(),
                found: tensor.n_bytes,
                expected: expected.unwrap_or(usize::MAX),
            });
        }
        Ok(Self {
            shape,
            storage: Storage::Mapped {
                gguf: Arc::clone(gguf),
                tensor: tensor.clone(),
                activations: Activations::F32,
            },
            observer: None,
        })
    }

    /// The same, with its inputs shown to an observer.
    pub(crate) fn observed_by(self, observer: Option<Arc<dyn Observer>>) -> Self {
        Self { observer, ..self }
    }

    pub(crate) fn is_observed(&self) -> bool {
        self.observer.is_some()
    }

    /// Shows the observer, if there is one, inputs of matrix `item`: `[n, n_in]`.
    pub(crate) fn show(&self, item: usize, inputs: &[f32]) {
        if let Some(observer) = &self.observer {
            let LinearShape { n_in, n_items, .. } = self.shape;
            observer.inputs(&self.tensor().name, n_items, item, n_in, inputs);
        }
    }

    /// Bytes of the packed form; `None` for a type or shape that has none.
    pub(crate) fn packed_bytes(&self) -> Option<usize> {
        let LinearShape {
            n_in,
            n_out,
            n_items,
        } = self.shape;
        Stack::packed_bytes(self.tensor().kind, n_in, n_out, n_items)
    }

    /// The tensor of the file.
    pub(crate) fn tensor(&self) -> &Tensor {
        match &self.storage {
            Storage::Mapped { tensor, .. } | Storage::Packed { tensor, .. } => tensor,
        }
    }

    /// Packs the weight into memory of our own, if its type and shape can be packed.
    /// `progress(n)` counts bytes of the file.
    pub(crate) fn pack(
        &mut self,
        pool: &Pool,
        progress: &(dyn Fn(usize) + Sync),
    ) -> Result<(), LoadError> {
        let Storage::Mapped { gguf, tensor, .. } = &self.storage else {
            return Ok(());
        };
        let Some(n_bytes) = self.packed_bytes() else {
            return Ok(());
        };
        let mut bytes = HugeBytes::new(n_bytes).map_err(|_| LoadError::OutOfMemory {
            what: "the packed weights",
            n_bytes: n_bytes as u64,
            limit: Machine::memory_limit().unwrap_or(0),
        })?;
        pack(
            pool,
            tensor.kind,
            self.shape.n_in,
            (gguf.bytes(tensor), &mut bytes),
            progress,
        );
        let tensor = tensor.clone();
        self.storage = Storage::Packed { tensor, bytes };
        Ok(())
    }

    /// Multiplies the weight with these while it stays in the file.
    pub(crate) fn meet(&mut self, with: Activations) {
        if let Storage::Mapped { activations, .. } = &mut self.storage {
            *activations = with;
        }
    }

    /// All matrices.
    pub(crate) fn stack(&self) -> Stack<'_> {
        let LinearShape {
            n_in,
            n_out,
            n_items,
        } = self.shape;
        match &self.storage {
            Storage::Mapped {
                gguf,
                tensor,
                activations,
            } => {
                let bytes = gguf.bytes(tensor);
                Stack::new(tensor.kind, n_in, n_out, n_items, bytes).meeting(*activations)
            }
            Storage::Packed { tensor, bytes } => {
                Stack::packed(tensor.kind, n_in, n_out, n_items, bytes)
                    .expect("`pack` packed this shape of this kind")
            }
        }
    }

    /// The only matrix.
    pub(crate) fn matrix(&self) -> Matrix<'_> {
        self.stack().item(0)
    }

    /// `y[t, o] = Σ_i w[o, i] · x[t, i]`; x: `[n_tokens, n_in]`, y: `[n_tokens, n_out]`.
    pub(crate) fn forward(&self, workers: &Workers, x: &[f32], y: &mut [f32]) {
        Self::forward_all(workers, x, [(self, y)]);
    }

    /// The same rows through several weights.
    pub(crate) fn forward_all<const N: usize>(
        workers: &Workers,
        x: &[f32],
        products: [(&Self, &mut [f32]); N],
    ) {
        for (linear, _) in &products {
            linear.show(0, x);
        }
        let products = products.map(|(linear, y)| (linear.matrix(), y));
        matmul_all(workers, x, products);
    }
}
