//! Tiles of bf16: 16 rows of 32 numbers, and products that add up in f32.

use std::arch::asm;
use std::arch::x86_64::*;
use std::sync::OnceLock;

use super::{Configured, ROW_BYTES, TILE};
use crate::simd::Aligned;
use crate::simd::quads::Bf16Tiles;
use crate::simd::quads_avx512::Avx512;

/// Numbers of a tile.
const NUMBERS: usize = TILE / 2;

/// Whether the CPU has tiles of bf16, and rounds to them.
pub(crate) fn is_available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| {
        super::is_available()
            && __cpuid_count(7, 0).edx & 1 << 22 != 0
            && is_x86_feature_detected!("avx512bf16")
            && multiplies_right()
    })
}

/// Factors and terms of the pairs of rows 0 to 7 and of rows 8 to 15; each row has two lanes.
#[derive(Clone, Copy)]
pub(crate) struct PairScales {
    factors: [__m512; 2],
    terms: [__m512; 2],
}

/// Where a byte is put in the bits of 2^15, it is added to that.
const BASE: i32 = 0x4700_0000;
/// What a signed byte is above itself as such a number, its sign bit inverted.
const EXCESS: f32 = 32_768.0 + 128.0;
/// Those bytes of every lane.
const AT: u64 = 0x2222_2222_2222_2222;

/// For the bytes of [`AT`], which byte of a quad goes there: for both pairs, rows 0 to 7 and 8 to 15.
static SOURCES: Aligned<[[[u8; 64]; 2]; 2]> = Aligned({
    let mut sources = [[[0; 64]; 2]; 2];
    let mut lane = 0;
    while lane < 64 {
        let (pair, half, row, column) = (lane / 32, lane / 16 % 2, lane / 2 % 8, lane % 2);
        let byte = 4 * (8 * half + row) + 2 * pair + column;
        sources[pair][half][4 * (lane % 16) + 1] = byte as u8;
        lane += 1;
    }
    sources
});

impl Bf16Tiles for Avx512 {
    type Scales = PairScales;

    #[inline(always)]
    unsafe fn scales(d: __m512) -> PairScales {
        // SAFETY: the instruction set is promised by the caller.
        unsafe {
            let rows = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
            let low = _mm512_permutexvar_ps(rows, d);
            let high = _mm512_permutexvar_ps(_mm512_add_epi32(rows, _mm512_set1_epi32(8)), d);
            let excess = _mm512_set1_ps(-EXCESS);
            PairScales {
                factors: [low, high],
                // Exact, as scales of 11 bits times a number of 9 are.
                terms: [_mm512_mul_ps(low, excess), _mm512_mul_ps(high, excess)],
            }
        }
    }

    #[inline(always)]
    unsafe fn pair<const P: usize>(quad: __m512i, scales: &PairScales) -> __m512i {
        // SAFETY: as above; the table has the bytes of four vectors.
        unsafe {
            let base = _mm512_set1_epi32(BASE);
            let bytes = _mm512_xor_si512(quad, _mm512_set1_epi8(-128));
            let mut floats = [_mm512_setzero_ps(); 2];
            for half in 0..2 {
                let from = _mm512_load_si512(SOURCES.0[P][half].as_ptr().cast());
                let above = _mm512_mask_permutexvar_epi8(base, AT, from, bytes);
                let (factor, term) = (scales.factors[half], scales.terms[half]);
                floats[half] = _mm512_fmadd_ps(_mm512_castsi512_ps(above), factor, term);
            }
            let rounded = _mm512_cvtne2ps_pbh(floats[1], floats[0]);
            // The same 64 bytes.
            std::mem::transmute::<__m512bh, __m512i>(rounded)
        }
    }

    #[inline(always)]
    unsafe fn add_products(
        _: &Configured,
        (a, b): (*const u16, *const u16),
        (n_groups, n_steps): (usize, usize),
        c: *mut f32,
        c_step: usize,
    ) {
        debug_assert!((1..=4).contains(&n_groups) && n_steps > 0);
        // SAFETY: good pointers and tiles are promised by the caller.
        unsafe {
            asm!(
                "tileloadd tmm0, [{c} + {row}]",
                "cmp {groups}, 2",
                "jb 2f",
                "lea {at}, [{c} + {c_step}]",
                "tileloadd tmm1, [{at} + {row}]",
                "je 2f",
                "add {at}, {c_step}",
                "tileloadd tmm2, [{at} + {row}]",
                "cmp {groups}, 4",
                "jb 2f",
                "add {at}, {c_step}",
                "tileloadd tmm3, [{at} + {row}]",
                "2:",
                "tileloadd tmm4, [{a} + {row}]",
                "tileloadd tmm5, [{b} + {row}]",
                "tdpbf16ps tmm0, tmm4, tmm5",
                "cmp {groups}, 2",
                "jb 3f",
                "tileloadd tmm6, [{b} + {row} + 1024]",
                "tdpbf16ps tmm1, tmm4, tmm6",
                "je 3f",
                "tileloadd tmm7, [{b} + {row} + 2048]",
                "tdpbf16ps tmm2, tmm4, tmm7",
                "cmp {groups}, 4",
                "jb 3f",
                "tileloadd tmm5, [{b} + {row} + 3072]",
                "tdpbf16ps tmm3, tmm4, tmm5",
                "3:",
                "add {a}, 1024",
                "add {b}, {b_step}",
                "dec {n}",
                "jnz 2b",
                "tilestored [{c} + {row}], tmm0",
                "cmp {groups}, 2",
                "jb 4f",
                "lea {at}, [{c} + {c_step}]",
                "tilestored [{at} + {row}], tmm1",
                "je 4f",
                "add {at}, {c_step}",
                "tilestored [{at} + {row}], tmm2",
                "cmp {groups}, 4",
                "jb 4f",
                "add {at}, {c_step}",
                "tilestored [{at} + {row}], tmm3",
                "4:",
                a = inout(reg) a => _,
                b = inout(reg) b => _,
                b_step = in(reg) n_groups * TILE,
                c = in(reg) c,
                c_step = in(reg) c_step,
                at = out(reg) _,
                groups = in(reg) n_groups,
                n = inout(reg) n_steps => _,
                row = in(reg) usize::from(ROW_BYTES),
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack),
            );
        }
    }
}

/// Whether small products come out right, for any number of groups: of integers, whose sums are exact
/// in any order.
fn multiplies_right() -> bool {
    /// Bits of a whole number below 128 as a bf16.
    fn whole(number: usize) -> u16 {
        ((number as f32).to_bits() >> 16) as u16
    }
    let (a_numbers, b_numbers) = (|i| i * 7 % 61, |i| i * 11 % 53);
    let a: [u16; NUMBERS] = std::array::from_fn(|i| whole(a_numbers(i)));
    let b: [u16; 4 * NUMBERS] = std::array::from_fn(|i| whole(b_numbers(i)));
    (1..=4).all(|n_groups| {
        let mut c = [1.0; 4 * NUMBERS / 2];
        // SAFETY: the CPU has tiles of bf16 and the process may use them, checked by the caller;
        // the operands are of one step, and the products one after another.
        unsafe {
            let tiles = Configured::new(ROW_BYTES.into());
            let operands = (a.as_ptr(), b.as_ptr());
            Avx512::add_products(&tiles, operands, (n_groups, 1), c.as_mut_ptr(), TILE);
        }
        c.iter().enumerate().all(|(at, c)| {
            let (g, m, n) = (at / 256, at / 16 % 16, at % 16);
            let product = |k: usize| {
                a_numbers(32 * m + k) * b_numbers(g * NUMBERS + k / 2 * 32 + 2 * n + k % 2)
            };
            let sum: usize = (0..32).map(product).sum();
            *c == 1.0 + if g < n_groups { sum as f32 } else { 0.0 }
        })
    })
}

#[cfg(all(test, target_os = "linux"))]
mod tests;
