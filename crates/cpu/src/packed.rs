//! Dot products of packed weights with activations of 8 bits, and of weights as files have them.
//!
//! `dot.rs` has the loops, once, and `rows.rs` those for rows in the order of the file,
//! `tiles.rs` and `bf16_tiles.rs` those for many tokens on machines with tiles, `bytes.rs` with VNNI,
//! `sums.rs` and `words.rs` with AVX2 alone, the first two by way of `span.rs`; `unpack.rs` the step
//! that differs from type to type, once for all instruction sets, `values.rs` what some do after it;
//! `crate::simd` the instructions; `kernels.rs` the table of types. The numbers are those of
//! `perigee_quant::packed`, to the last bit, on every instruction set; but for those of
//! `bf16_tiles.rs`, which teams that are to be deterministic leave alone.

mod activations;
mod bf16_tiles;
mod bytes;
mod dot;
mod experts;
mod groups;
mod kernels;
mod pack;
mod product;
mod rows;
mod span;
mod speed;
mod sums;
mod tiles;
mod unpack;
mod values;
mod words;

pub(crate) use activations::Rounded;
pub(crate) use experts::{integer_down, integer_gate_up};
pub use pack::pack;
pub(crate) use product::{product, product_all};
pub(crate) use speed::fastest;
pub use speed::{
    KernelSpeed, clock_ghz, dispatch_seconds, kernel_speed, packing_speed, peak_macs_per_second,
    streamed_speed,
};

#[cfg(test)]
mod tests;
