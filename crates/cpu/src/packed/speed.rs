//! How fast the kernels are on this machine, from the cache and from memory.

use std::time::{Duration, Instant};

use perigee_quant::QuantKind;
use perigee_quant::packed::GROUP_ROWS;
use perigee_topology::HugeBytes;

use super::activations::Rounded;
use super::groups::{Kernels, for_products};
use super::kernels::peak;
use crate::matrix::Order;
use crate::simd::isa::Isa;
use crate::{Activations, Stack, Workers, matmul_stack, pack};

/// Columns of the measured matrices: the intermediate size of a Kimi expert.
const N_IN: usize = 2048;
/// Rows that stay in the second-level cache: at most 1.1 MB of 8-bit weights are half of that.
const CACHED_ROWS: usize = 256;
/// Groups whose weights are packed from random bytes; the rest of a large matrix repeats them.
const DISTINCT_GROUPS: usize = 16;

/// One measurement.
#[derive(Clone, Copy, Debug)]
pub struct KernelSpeed {
    /// Weights that met all their columns.
    pub weights: f64,
    /// Bytes of those.
    pub bytes: f64,
    /// Time of the fastest pass, in seconds.
    pub seconds: f64,
}

impl KernelSpeed {
    /// Bytes of weights per second / 10⁹.
    pub fn gb_s(&self) -> f64 {
        self.bytes / self.seconds / 1e9
    }

    /// Cycles for 256 weights and all columns, at a clock in GHz.
    pub fn cycles_per_256(&self, clock_ghz: f64) -> f64 {
        self.seconds * clock_ghz * 1e9 / (self.weights / 256.0)
    }
}

/// Measures one core on weights in its second-level cache for about `budget`; `None` for types
/// without a layout or an instruction set that the CPU does not have.
pub fn kernel_speed(
    (kind, order): (QuantKind, Order),
    isa: Isa,
    n_columns: usize,
    budget: Duration,
) -> Option<KernelSpeed> {
    kind.layout()?;
    if !isa.is_supported() {
        return None;
    }
    let workers = Workers::new(1, 0);
    let n_groups = CACHED_ROWS / GROUP_ROWS;
    let weights = random_groups(&workers, (kind, order), n_groups)?;
    let stack = stack((kind, order), CACHED_ROWS, &weights)?;
    let mut scratch = vec![0.0; crate::scratch_len(N_IN)];
    let kernels = Kernels::fastest(isa, &stack, scratch.len());
    let x = vec![0.5; N_IN];
    let mut rounded = Rounded::default();
    let (roundings, row) = ([[kernels.rounding(n_columns)]], |_| &x[..]);
    let [[rows]] = rounded.fill_alike(&workers, roundings, (n_columns, N_IN), &row);
    let seconds = fastest(budget, || {
        let weights = (&stack.item(0), 0..n_groups);
        let column = |c| rows.row(c);
        let body = |_, _, y: &mut [[f32; GROUP_ROWS]]| {
            std::hint::black_box(y);
        };
        // SAFETY: the CPU has the instruction set (checked above), the kernels are those of the
        // matrix, and the columns are rows rounded for them.
        unsafe { for_products(&kernels, weights, n_columns, &column, &mut scratch, body) };
    });
    Some(KernelSpeed {
        weights: (CACHED_ROWS * N_IN) as f64,
        bytes: weights.len() as f64,
        seconds,
    })
}

/// Measures a matrix of about `n_bytes`, far more than the caches hold, times a vector on all
/// threads of the team; `None` for types without a layout, or without that memory.
pub fn streamed_speed(
    workers: &Workers,
    (kind, order): (QuantKind, Order),
    n_bytes: usize,
    budget: Duration,
) -> Option<KernelSpeed> {
    let n_groups = n_bytes / group_bytes(kind, order)?;
    let weights = random_groups(workers, (kind, order), n_groups)?;
    let n_rows = n_groups * GROUP_ROWS;
    let stack = stack((kind, order), n_rows, &weights)?;
    let (x, mut y) = (vec![0.5; N_IN], vec![0.0; n_rows]);
    let at = crate::At {
        start: 0,
        token: n_rows.max(N_IN),
        item: 0,
    };
    let seconds = fastest(budget, || {
        matmul_stack(workers, stack, 1, (&x, at), (&mut y, at));
    });
    Some(KernelSpeed {
        weights: (n_rows * N_IN) as f64,
        bytes: weights.len() as f64,
        seconds,
    })
}

/// Bytes of a file per second / 10⁹ that all threads pack while they load; `None` for types without a
/// layout.
pub fn packing_speed(workers: &Workers, kind: QuantKind, budget: Duration) -> Option<f64> {
    let n_groups = 4 * DISTINCT_GROUPS * workers.n_threads();
    let rows = random_groups(workers, (kind, Order::File), n_groups)?;
    let mut packed = HugeBytes::new(n_groups * group_bytes(kind, Order::Packed)?).ok()?;
    let seconds = fastest(budget, || {
        pack(workers.pool(), kind, N_IN, (&rows, &mut packed), &|_| ());
    });
    Some(rows.len() as f64 / seconds / 1e9)
}

/// Seconds that a parallel loop costs beyond its work: waking all threads and waiting for them.
pub fn dispatch_seconds(workers: &Workers, budget: Duration) -> f64 {
    const N: usize = 100;
    let seconds = fastest(budget, || {
        for _ in 0..N {
            workers.pool().for_each(workers.n_threads(), &|i| {
                std::hint::black_box(i);
            });
        }
    });
    seconds / N as f64
}

/// Multiplications of 8-bit integers per second that one core reaches when nothing else is to do.
pub fn peak_macs_per_second(isa: Isa, budget: Duration) -> Option<f64> {
    /// Enough to make the clock's resolution small.
    const ROUNDS: usize = 2_000;
    isa.is_supported().then(|| {
        let mut macs = 0;
        // SAFETY: the CPU has the instruction set.
        let seconds = fastest(budget, || macs = unsafe { peak(isa, ROUNDS) });
        macs as f64 / seconds
    })
}

/// The clock in GHz under light load, from a chain of multiplications (3 cycles each on every
/// x86-64 of this century) and additions (1 cycle).
pub fn clock_ghz(budget: Duration) -> f64 {
    const N: u64 = 200_000;
    let factor = std::hint::black_box(0x5851_F42D_4C95_7F2D_u64);
    let seconds = fastest(budget, || {
        let mut x = std::hint::black_box(1u64);
        for _ in 0..N {
            x = x.wrapping_mul(factor).wrapping_add(factor);
        }
        std::hint::black_box(x);
    });
    4.0 * N as f64 / seconds / 1e9
}

/// Seconds of the fastest pass within the budget, and at least of three.
pub(crate) fn fastest(budget: Duration, mut pass: impl FnMut()) -> f64 {
    let started = Instant::now();
    let mut best = f64::INFINITY;
    let mut n_passes = 0;
    while n_passes < 3 || started.elapsed() < budget {
        let pass_started = Instant::now();
        pass();
        best = best.min(pass_started.elapsed().as_secs_f64());
        n_passes += 1;
    }
    best
}

/// A matrix of [`N_IN`] columns that meets integers.
fn stack((kind, order): (QuantKind, Order), n_rows: usize, weights: &[u8]) -> Option<Stack<'_>> {
    match order {
        Order::Packed => Stack::packed(kind, N_IN, n_rows, 1, weights),
        Order::File => Some(Stack::new(kind, N_IN, n_rows, 1, weights).meeting(Activations::Int8)),
    }
}

/// Bytes of 16 rows of [`N_IN`] weights; `None` for types without a layout.
fn group_bytes(kind: QuantKind, order: Order) -> Option<usize> {
    let packed = kind.layout()?.group_bytes(N_IN)?;
    match order {
        Order::Packed => Some(packed),
        Order::File => Some(GROUP_ROWS * kind.row_bytes(N_IN)?),
    }
}

/// Groups of random rows of [`N_IN`] weights.
fn random_groups(
    workers: &Workers,
    (kind, order): (QuantKind, Order),
    n_groups: usize,
) -> Option<HugeBytes> {
    let row_bytes = kind.row_bytes(N_IN)?;
    let mut state = kind.id();
    let rows: Vec<u8> = (0..DISTINCT_GROUPS.min(n_groups) * GROUP_ROWS * row_bytes)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            // Small bytes: as f16 scales they are ordinary numbers, never slow subnormal ones.
            (state >> 24) as u8 & 0x3F | 0x10
        })
        .collect();
    let group_bytes = group_bytes(kind, order)?;
    let mut groups = HugeBytes::new(n_groups.checked_mul(group_bytes)?).ok()?;
    let (first, rest) = groups.split_at_mut(DISTINCT_GROUPS.min(n_groups) * group_bytes);
    match order {
        Order::Packed => pack(workers.pool(), kind, N_IN, (&rows, first), &|_| ()),
        Order::File => first.copy_from_slice(&rows),
    }
    for chunk in rest.chunks_mut(first.len()) {
        chunk.copy_from_slice(&first[..chunk.len()]);
    }
    Some(groups)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kernel_can_be_measured() {
        let budget = Duration::ZERO;
        for &kind in QuantKind::ALL {
            for isa in Isa::ALL.into_iter().filter(|isa| *isa != Isa::Scalar) {
                for order in [Order::Packed, Order::File] {
                    let speed = kernel_speed((kind, order), isa, 3, budget);
                    let expected = kind.layout().is_some() && isa.is_supported();
                    assert_eq!(speed.is_some(), expected, "{} {}", kind.name(), isa.name());
                    assert!(speed.is_none_or(|speed| speed.gb_s() > 0.0));
                }
            }
        }
        let workers = Workers::new(2, 0);
        let streamed =
            streamed_speed(&workers, (QuantKind::Q8_0, Order::File), 1 << 20, budget).unwrap();
        assert!(streamed.weights > 900_000.0 && streamed.cycles_per_256(1.0) > 0.0);
        assert!(streamed_speed(&workers, (QuantKind::F32, Order::File), 1 << 20, budget).is_none());
        assert!(packing_speed(&workers, QuantKind::Q8_0, budget).unwrap() > 0.0);
        assert!(packing_speed(&workers, QuantKind::F32, budget).is_none());
        assert!(dispatch_seconds(&workers, budget) > 0.0);
        assert!(peak_macs_per_second(Isa::best(), budget).unwrap() > 0.0);
        assert!(clock_ghz(budget) > 0.0);
    }
}
