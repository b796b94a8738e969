//! Named recipes: `kimi-k2.6@IQ3_K:layers=2,vocab=4096`.
use crate::Config;
use perigee_quant::QuantKind;

/// A model shape with a quantisation recipe, described without a file.
#[derive(Clone, Debug)]
pub struct ModelSpec {
    /// The shape.
    pub config: Config,
    /// Type of routed gate and up.
    pub gate_up: QuantKind,
    /// Type of routed down.
    pub down: QuantKind,
    /// Type of the other matrices.
    pub rest: QuantKind,
}
