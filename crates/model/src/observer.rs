//! Looking at what weights are multiplied with.

use std::fmt::Debug;

/// Is shown the inputs of every weight that is multiplied with activations, but the
/// up-projections of the latent; importance matrices are made of them.
pub trait Observer: Debug + Send + Sync {
    /// Inputs `[n, n_in]` of matrix `item` of the `n_items` of a tensor, in no particular
    /// order, from the thread that runs the model.
    fn inputs(&self, tensor: &str, n_items: usize, item: usize, n_in: usize, inputs: &[f32]);
}
