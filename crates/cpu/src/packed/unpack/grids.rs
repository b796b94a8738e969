//! Points of grids.

use perigee_quant::packed::{Codes, Grid, Marks};

use super::{Unpack, table};
use crate::packed::dot::Format;
use crate::simd::quads::Quads;

/// Points of `WIDTH` columns whose indices have `8 + HIGH` bits.
pub(in crate::packed) struct Points<const WIDTH: usize, const HIGH: usize>;

impl<const WIDTH: usize, const HIGH: usize> Unpack for Points<WIDTH, HIGH> {
    const IS_DEAR: bool = true;
    type Tables<S: Quads> = S::Table;

    #[inline(always)]
    unsafe fn tables<S: Quads, F: Format>() -> Self::Tables<S> {
        // SAFETY: promised by the caller.
        unsafe {
            match WIDTH {
                8 => table::<S, F, 2, 0>(0),
                _ => table::<S, F, 3, 0>(0),
            }
        }
    }

    #[inline(always)]
    unsafe fn unpack<S: Quads, F: Format>(
        table: &Self::Tables<S>,
        codes: *const u8,
        chunk: usize,
    ) -> [S::V; 8] {
        let points = const { grid::<F>(WIDTH, HIGH) };
        // SAFETY: promised by the caller; the offsets are those of the grid's chunks, and the
        // constant above has checked `WIDTH` and `HIGH`.
        unsafe {
            let at = codes.add(chunk * const { F::LAYOUT.codes.chunk_bytes() });
            let marks = at.add(const { grid::<F>(WIDTH, HIGH).indices.marks_offset() });
            let twice = S::splat(F::LAYOUT.bias.wrapping_mul(0x0202_0202));
            let mut quads = S::points::<WIDTH, HIGH>(points, at);
            for (q, quad) in quads.iter_mut().enumerate() {
                *quad = match WIDTH {
                    8 => S::lookup::<2, 0>(table, *quad),
                    _ => S::lookup::<3, 0>(table, *quad),
                };
                *quad = match points.indices.marks {
                    Marks::None | Marks::Offset(_) => *quad,
                    Marks::Signs => S::negate(marks.add(8 * q), *quad, twice),
                    Marks::Shifts(by) => {
                        let flags = marks.add(2 * (q / 2)).cast::<u16>();
                        let flags = u16::from_le(flags.read_unaligned());
                        // Biased values are not negative, shifted or not: no byte carries into
                        // the next.
                        let by = i32::from(by).wrapping_mul(0x0101_0101);
                        S::add_where(flags, *quad, S::splat(by))
                    }
                };
            }
            quads
        }
    }
}

/// The grid of a layout, which has points of `width` columns and indices of `8 + high` bits, and
/// values that are multiplied biased.
const fn grid<F: Format>(width: usize, high: usize) -> &'static Grid {
    match F::LAYOUT.codes {
        Codes::Grid(grid) => {
            assert!(grid.indices.width == width && grid.indices.high_bits == high);
            assert!(F::LAYOUT.bias <= 64, "is multiplied biased everywhere");
            grid
        }
        _ => panic!("a layout with points"),
    }
}
