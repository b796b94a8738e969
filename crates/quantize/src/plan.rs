//! What a recipe makes of one file.

use std::collections::BTreeMap;

use perigee_gguf::{Declared, Gguf, Tensor};
use perigee_quant::QuantKind;

use crate::{Imatrix, ImatrixError, Recipe};

/// For which tensors importances count: those whose names contain one of some words.
#[derive(Clone, Debug, Default)]
pub enum Selection {
    /// All.
    #[default]
    All,
    /// Only these.
    Include(Vec<String>),
    /// All but these.
    Exclude(Vec<String>),
}

impl Selection {
    fn has(&self, name: &str) -> bool {
        let any = |words: &[String]| words.iter().any(|word| name.contains(word.as_str()));
        match self {
            Self::All => true,
            Self::Include(words) => any(words),
            Self::Exclude(words) => !any(words),
        }
    }
}

/// One tensor of the output.
#[derive(Clone, Debug)]
pub struct Planned {
    /// What is written.
    pub declared: Declared,
    /// The type that it has.
    pub from: QuantKind,
    /// The type that the recipe asked for, if rows of this length have none of it.
    pub asked: Option<QuantKind>,
    /// Whether importances weigh its error.
    pub weighted: bool,
}

/// All tensors of the output, in the order of the source, and the shard of each.
#[derive(Clone, Debug)]
pub struct Plan {
    /// In the order of [`Gguf::tensors`].
    pub tensors: Vec<Planned>,
    /// Whether Q4_0 is symmetric.
    pub symmetric_q4_0: bool,
}

/// Why a file cannot be made by a recipe.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// The type can be read, not written.
    #[error("{tensor} is to be {kind}: that type has a decoder only")]
    NoEncoder {
        /// The tensor.
        tensor: String,
        /// The type's name.
        kind: &'static str,
    },
    /// The tensor is quantised already.
    #[error(
        "{tensor} is {from} already: encoding it as {to} loses a second time; start from F16, BF16 or F32, or pass --allow-requantize"
    )]
    Requantize {
        /// The tensor.
        tensor: String,
        /// Its type.
        from: &'static str,
        /// The type asked for.
        to: &'static str,
    },
    /// The importances are of another model.
    #[error(transparent)]
    Imatrix(#[from] ImatrixError),
}

impl Plan {
    /// What `recipe` makes of the tensors of `source`. Vectors, norms and the router stay as
    /// they are. Rows that are no whole number of blocks of the asked type get a type of
    /// smaller blocks with no fewer bits.
    ///
    /// # Errors
    /// A type without encoder; a quantised tensor that would be encoded anew, unless
    /// `requantize`; importances of another size than the tensor.
    pub fn new(
        source: &Gguf,
        recipe: &Recipe,
        imatrix: Option<(&Imatrix, &Selection)>,
        requantize: bool,
    ) -> Result<Self, PlanError> {
        let tensors = source
            .tensors()
            .iter()
            .map(|tensor| planned(tensor, recipe, imatrix, requantize))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            tensors,
            symmetric_q4_0: recipe.symmetric_q4_0,
        })
    }

    /// Bytes of all tensors, without headers and padding.
    pub fn weight_bytes(&self) -> u64 {
        let bytes = |planned: &Planned| planned.declared.n_bytes().unwrap_or(0);
        self.tensors.iter().map(bytes).sum()
    }

    /// Weights of all tensors.
    pub fn n_weights(&self) -> u64 {
        let weights = |planned: &Planned| planned.declared.shape.iter().product::<u64>();
        self.tensors.iter().map(weights).sum()
    }

    /// Tensors and bytes of each type, by name.
    pub fn by_kind(&self) -> BTreeMap<&'static str, (usize, u64)> {
        let mut sums: BTreeMap<&str, (usize, u64)> = BTreeMap::new();
        for planned in &self.tensors {
            let sum = sums.entry(planned.declared.kind.name()).or_default();
            sum.0 += 1;
            sum.1 += planned.declared.n_bytes().unwrap_or(0);
        }
        sums
    }
}

fn planned(
    tensor: &Tensor,
    recipe: &Recipe,
    imatrix: Option<(&Imatrix, &Selection)>,
    requantize: bool,
) -> Result<Planned, PlanError> {
    let mut planned = Planned {
        declared: Declared {
            name: tensor.name.clone(),
            kind: tensor.kind,
            shape: tensor.shape.clone(),
        },
        from: tensor.kind,
        asked: None,
        weighted: false,
    };
    if !is_matrix(tensor) {
        return Ok(planned);
    }
    let asked = recipe.kind(&tensor.name);
    let kind = fitting(asked, tensor.shape[0]);
    if kind == tensor.kind {
        return Ok(planned);
    }
    if !kind.has_encoder() {
        return Err(PlanError::NoEncoder {
            tensor: tensor.name.clone(),
            kind: kind.name(),
        });
    }
    if tensor.kind.block_len() > 1 && !requantize {
        return Err(PlanError::Requantize {
            tensor: tensor.name.clone(),
            from: tensor.kind.name(),
            to: kind.name(),
        });
    }
    planned.declared.kind = kind;
    planned.asked = (kind != asked).then_some(asked);
    let symmetric = recipe.symmetric_q4_0 && kind == QuantKind::Q4_0;
    if let Some((imatrix, selection)) = imatrix
        && kind.block_len() > 1
        && !symmetric
        && kind != QuantKind::Q8_0
        && selection.has(&tensor.name)
    {
        let n_matrices = tensor.shape[2..].iter().product();
        planned.weighted = imatrix
            .columns(&tensor.name, n_matrices, tensor.shape[0])?
            .is_some();
    }
    Ok(planned)
}

/// Whether a tensor is a matrix that a recipe is about.
fn is_matrix(tensor: &Tensor) -> bool {
    let exact = ["_norm.weight", "ffn_gate_inp.weight"];
    tensor.shape.len() > 1
        && tensor.name.ends_with(".weight")
        && !exact.iter().any(|end| tensor.name.ends_with(end))
}

/// `kind`, or for rows that are no whole number of its blocks the nearest type of more bits in
/// blocks of 32, or F16.
fn fitting(kind: QuantKind, row_len: u64) -> QuantKind {
    let fits = |kind: QuantKind| row_len.is_multiple_of(kind.block_len() as u64);
    if fits(kind) {
        return kind;
    }
    let bits = |kind: QuantKind| kind.block_bytes() as f64 * 8.0 / kind.block_len() as f64;
    let smaller = [
        QuantKind::Iq4Nl,
        QuantKind::Q5_0,
        QuantKind::Q6_0,
        QuantKind::Q8_0,
    ];
    let found = smaller
        .into_iter()
        .find(|&smaller| fits(smaller) && bits(smaller) >= bits(kind));
    found.unwrap_or(QuantKind::F16)
}
