//! Softmax states: of a split, and of all positions so far.

use super::split::TASK_HEADS;
use crate::LatentShape;
use crate::simd::{Kernel, LANES, Lanes, exp};

/// Floats of one softmax state per (token, head): `[max, sum, Σ p·c̃]`.
pub(super) fn state_len(shape: &LatentShape) -> usize {
    2 + shape.kv_lora_rank
}

/// The states of some heads of one token over one split: a slot `[max; heads] [sum; heads]
/// [heads, kv_lora_rank]`, with room for [`TASK_HEADS`].
pub(super) struct Partial<'a> {
    pub(super) max: &'a mut [f32],
    pub(super) sum: &'a mut [f32],
    pub(super) values: &'a mut [f32],
}

impl<'a> Partial<'a> {
    /// Floats of a slot.
    pub(super) fn len(shape: &LatentShape) -> usize {
        TASK_HEADS * state_len(shape)
    }

    pub(super) fn new(slot: &'a mut [f32]) -> Self {
        let (max, rest) = slot.split_at_mut(TASK_HEADS);
        let (sum, values) = rest.split_at_mut(TASK_HEADS);
        Self { max, sum, values }
    }

    /// The maximum, the sum and the weighted values of one head.
    pub(super) fn of_head(shape: &LatentShape, slot: &'a [f32], head: usize) -> OfHead<'a> {
        let rank = shape.kv_lora_rank;
        OfHead {
            max: slot[head],
            sum: slot[TASK_HEADS + head],
            values: &slot[2 * TASK_HEADS + head * rank..][..rank],
        }
    }
}

/// See [`Partial::of_head`].
#[derive(Clone, Copy)]
pub(super) struct OfHead<'a> {
    max: f32,
    sum: f32,
    values: &'a [f32],
}

/// Adds the positions of a split to a state `[max, sum, Σ p·c̃]`; after the last, divides by the
/// sum.
pub(super) struct Fold<'a> {
    pub(super) partial: OfHead<'a>,
    pub(super) state: &'a mut [f32],
    pub(super) is_first: bool,
    pub(super) is_last: bool,
}

impl Kernel for Fold<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let OfHead { max, sum, values } = self.partial;
        let Some(([state_max, state_sum], state)) = self.state.split_first_chunk_mut::<2>() else {
            return;
        };
        if self.is_first {
            (*state_max, *state_sum) = (max, sum);
            state.copy_from_slice(values);
        } else {
            let new_max = if max > *state_max { max } else { *state_max };
            let (ours, theirs) = (exp(*state_max - new_max), exp(max - new_max));
            (*state_max, *state_sum) = (new_max, state_sum.mul_add(ours, sum * theirs));
            let (state, tail) = state.as_chunks_mut::<LANES>();
            let (values, values_tail) = values.as_chunks::<LANES>();
            for (state, values) in state.iter_mut().zip(values) {
                // SAFETY: passed on from the caller.
                unsafe {
                    let added = L::load(values).mul(L::splat(theirs));
                    added.fma(L::load(state), L::splat(ours)).store(state);
                }
            }
            for (state, value) in tail.iter_mut().zip(values_tail) {
                *state = state.mul_add(ours, value * theirs);
            }
        }
        if self.is_last {
            let (sum, (state, tail)) = (*state_sum, state.as_chunks_mut::<LANES>());
            for state in state {
                // SAFETY: passed on from the caller.
                unsafe { L::load(state).div(L::splat(sum)).store(state) };
            }
            tail.iter_mut().for_each(|value| *value /= sum);
        }
    }
}
