//! Arithmetic on the CPU: quantised matmul, MLA attention, experts, the few float operations.
//!
//! Knows quantised rows, token rows and worker pools; knows no layers and no tensor names.
//! Everything here gives the same bits whatever the number of threads and whichever other
//! tokens are in the batch: each output element is one sum in one fixed order (`simd.rs`), and
//! work is cut along outputs, or along positions at fixed places.
//!
//! Start at [`matmul`], which shows the pattern for weights that meet floats: a task dequantises a
//! few rows into the scratch memory of its worker and dots them with the rows of all tokens. Most
//! quantised weights meet integers instead ([`Activations`]), which is the room `packed`.

mod absorbed;
mod attention_speed;
mod expanded;
mod experts;
mod float_ops;
mod latent;
mod matmul;
mod matrix;
mod measure;
#[cfg(test)]
mod noise;
mod packed;
mod simd;
mod workers;

pub use absorbed::Absorbed;
pub use attention_speed::{decode_attention_speed, prefill_attention_speed};
pub use expanded::{Expanded, KeyUp};
pub use experts::{ExpertGroups, ExpertPart, Experts, Route, feed_experts};
pub use float_ops::{
    add, apply_rope, rms_norm, rms_norm_in_place, rope_table, sigmoid, silu_mul, softmax,
};
pub use latent::{LatentCache, LatentShape, Queries};
pub use matmul::{At, matmul, matmul_all, matmul_stack, matmul_stack_transposed, scratch_len};
pub use matrix::{Activations, Matrix, Order, Stack};
pub use measure::{ReadBandwidth, read_bandwidth};
pub use packed::{
    KernelSpeed, clock_ghz, dispatch_seconds, kernel_speed, pack, packing_speed,
    peak_macs_per_second, streamed_speed,
};
pub use simd::isa::Isa;
pub use workers::Workers;
