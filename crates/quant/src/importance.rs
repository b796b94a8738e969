//! How much each weight of a block counts in the squared error that an encoder minimises.

/// Share of the heaviest column that every column of a block counts at least: a column that
/// calibration never saw must not become an arbitrary number.
const LEAST_SHARE: f32 = 1e-6;

/// The importances of a block's columns, scaled so that the largest is 1.
///
/// Negative and non-finite entries count as absent, and where none is positive all columns
/// count alike: experts that calibration never reached have no statistics.
pub(crate) fn column_importance<const N: usize>(importance: &[f32]) -> [f32; N] {
    let mut shares = [0.0; N];
    fill_importance(importance, &mut shares);
    shares
}

/// [`column_importance`] of any number of columns.
pub(crate) fn fill_importance(importance: &[f32], shares: &mut [f32]) {
    let given = |q: f32| if q.is_finite() { q.max(0.0) } else { 0.0 };
    let largest = importance.iter().fold(0.0_f32, |m, &q| m.max(given(q)));
    if largest < f32::MIN_POSITIVE {
        shares.fill(1.0);
        return;
    }
    for (share, &q) in shares.iter_mut().zip(importance) {
        *share = (given(q) / largest).max(LEAST_SHARE);
    }
}

/// Mean square of the weights an encoder can hold.
pub(crate) fn mean_square(x: &[f32]) -> f32 {
    let squares = x.iter().filter(|x| x.abs() <= LARGEST).map(|x| x * x);
    squares.sum::<f32>() / x.len() as f32
}

/// Beyond this no block format has a scale for it (f16 ends at 65504, times codes of at most
/// 32·127), and squares and their sums stay far from the end of f32 below it.
const LARGEST: f32 = 1e12;
/// Below this the scale of every block format is zero as an f16.
const SMALLEST: f32 = 1e-12;

/// What the magnitudes of a block let an encoder do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Magnitude {
    /// All weights are zero as far as the format can tell.
    Zero,
    /// There is a scale to search for.
    Ordinary,
    /// A weight is infinite, not a number, or beyond every scale.
    Unrepresentable,
}

impl Magnitude {
    pub(crate) fn of(x: &[f32]) -> Self {
        let mut largest = 0.0_f32;
        for x in x {
            // `max` would drop a NaN.
            largest = if x.abs() <= largest { largest } else { x.abs() };
            if largest.is_nan() {
                return Self::Unrepresentable;
            }
        }
        match largest {
            m if m < SMALLEST => Self::Zero,
            m if m <= LARGEST => Self::Ordinary,
            _ => Self::Unrepresentable,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn importances_are_relative_to_the_largest_and_never_nothing() {
        assert_eq!(
            column_importance([2.0, 4.0, 0.0].as_slice()),
            [0.5, 1.0, 1e-6]
        );
        assert_eq!(
            column_importance([f32::NAN, 4.0, -1.0].as_slice()),
            [1e-6, 1.0, 1e-6]
        );
        assert_eq!(
            column_importance([f32::INFINITY, 1e30].as_slice()),
            [1e-6, 1.0]
        );
        assert_eq!(column_importance([0.0, -3.0].as_slice()), [1.0, 1.0]);
    }

    #[test]
    fn one_bad_weight_makes_a_block_unrepresentable() {
        assert_eq!(Magnitude::of(&[0.0, -0.0, 1e-20]), Magnitude::Zero);
        assert_eq!(Magnitude::of(&[0.0, -3.0]), Magnitude::Ordinary);
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX] {
            assert_eq!(Magnitude::of(&[bad, 1.0]), Magnitude::Unrepresentable);
            assert_eq!(Magnitude::of(&[1.0, bad]), Magnitude::Unrepresentable);
        }
    }
}
