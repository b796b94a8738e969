//! Tiles of AMX: 16 rows of 64 bytes, and products of two of them.
//!
//! Compilers do not know tiles yet, so all that touches them is assembly, from the first
//! instruction to the last of a product. Between two blocks of assembly no tile holds anything; their
//! configuration stays, which nothing but [`Configured`] changes.

pub(crate) mod bf16;

use std::arch::asm;
use std::arch::x86_64::*;
use std::marker::PhantomData;
use std::sync::OnceLock;

use super::Aligned;
use super::quads::Tiles;
use super::quads_avx512::Avx512;

/// Bytes of a tile.
pub(super) const TILE: usize = 1024;
/// Rows of a tile.
const ROWS: u8 = 16;
/// Bytes of a row.
const ROW_BYTES: u8 = 64;

/// Whether the CPU has tiles of 8-bit integers and the system lets this process use them.
pub(crate) fn is_available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| has_instructions() && is_permitted() && multiplies_right())
}

/// AMX-TILE and AMX-INT8, with their registers switched on by the system.
fn has_instructions() -> bool {
    const OSXSAVE: u32 = 1 << 27;
    const TILE_AND_INT8: u32 = 0b11 << 24;
    const TILE_STATE: u32 = 0b11 << 17;
    if __cpuid(0).eax < 7 || __cpuid(1).ecx & OSXSAVE == 0 {
        return false;
    }
    let state: u32;
    // SAFETY: the instruction is there when the system uses XSAVE (checked above).
    unsafe {
        asm!("xgetbv", in("ecx") 0, out("eax") state, out("edx") _, options(nomem, nostack));
    }
    __cpuid_count(7, 0).edx & TILE_AND_INT8 == TILE_AND_INT8 && state & TILE_STATE == TILE_STATE
}

/// Asks for the registers: Linux gives their memory to processes that want it only.
fn is_permitted() -> bool {
    #[cfg(target_os = "linux")]
    {
        const ARCH_REQ_XCOMP_PERM: libc::c_ulong = 0x1023;
        const XFEATURE_XTILEDATA: libc::c_ulong = 18;
        // SAFETY: the call changes nothing but what this process may use.
        let answer = unsafe {
            libc::syscall(
                libc::SYS_arch_prctl,
                ARCH_REQ_XCOMP_PERM,
                XFEATURE_XTILEDATA,
            )
        };
        answer == 0
    }
    #[cfg(not(target_os = "linux"))]
    {
        false
    }
}

/// Tiles of this thread, configured until this is dropped.
pub(crate) struct Configured(PhantomData<*const ()>);

/// The operand of LDTILECFG.
#[repr(C, align(64))]
struct Config {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

impl Configured {
    /// Tiles 0 to 3 for sums, 4 and 5 for rows of `depth` bytes, 6 and 7 for columns of as many.
    ///
    /// # Safety
    /// The CPU has tiles and the process may use them; `depth` is a multiple of 4 up to 64.
    pub(super) unsafe fn new(depth: usize) -> Self {
        let mut config = Config {
            palette: 1,
            start_row: 0,
            reserved: [0; 14],
            row_bytes: [0; 16],
            rows: [0; 16],
        };
        config.row_bytes[..8].fill(ROW_BYTES.into());
        config.rows[..8].fill(ROWS);
        config.row_bytes[4..6].fill(depth as u16);
        config.rows[6..8].fill((depth / 4) as u8);
        // SAFETY: promised by the caller; the operand has 64 bytes, all of which the assembly may
        // read as it is not said to leave memory alone.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const config, options(nostack)) };
        Self(PhantomData)
    }
}

impl Drop for Configured {
    fn drop(&mut self) {
        // SAFETY: the thread has configured tiles, so that there are some.
        unsafe { asm!("tilerelease", options(nostack)) };
    }
}

impl Tiles for Avx512 {
    type Configured = Configured;

    #[inline(always)]
    unsafe fn configure(depth: usize) -> Configured {
        // SAFETY: promised by the caller.
        unsafe { Configured::new(depth) }
    }

    #[inline(always)]
    unsafe fn multiply_twice(
        _: &Configured,
        (a, b): (*const i8, *const i8),
        a_step: usize,
        (n_a, n_steps): (usize, usize),
        c: *mut i32,
    ) {
        debug_assert!((1..=2).contains(&n_a) && n_steps > 0);
        // SAFETY: good pointers and tiles are promised by the caller.
        unsafe {
            asm!(
                "tilezero tmm0",
                "tilezero tmm1",
                "tilezero tmm2",
                "tilezero tmm3",
                "2:",
                "tileloadd tmm6, [{b} + {row}]",
                "tileloadd tmm4, [{a} + {row}]",
                "tileloadd tmm7, [{b} + {row} + 1024]",
                "tdpbssd tmm0, tmm4, tmm6",
                "tdpbssd tmm1, tmm4, tmm7",
                "cmp {n_a}, 2",
                "jb 3f",
                "tileloadd tmm5, [{a} + {row} + 1024]",
                "tdpbssd tmm2, tmm5, tmm6",
                "tdpbssd tmm3, tmm5, tmm7",
                "3:",
                "add {a}, {a_step}",
                "add {b}, 2048",
                "dec {n}",
                "jnz 2b",
                "tilestored [{c} + {row}], tmm0",
                "tilestored [{c} + {row} + 1024], tmm1",
                "cmp {n_a}, 2",
                "jb 4f",
                "tilestored [{c} + {row} + 2048], tmm2",
                "tilestored [{c} + {row} + 3072], tmm3",
                "4:",
                a = inout(reg) a => _,
                a_step = in(reg) a_step,
                n_a = in(reg) n_a,
                b = inout(reg) b => _,
                c = in(reg) c,
                n = inout(reg) n_steps => _,
                row = in(reg) usize::from(ROW_BYTES),
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack),
            );
        }
    }

    #[inline(always)]
    unsafe fn multiply_once(_: &Configured, a: *const i8, b: *const i8, c: *mut i32) {
        // SAFETY: good pointers and tiles are promised by the caller.
        unsafe {
            asm!(
                "tilezero tmm0",
                "tilezero tmm1",
                "tileloadd tmm6, [{b} + {row}]",
                "tileloadd tmm4, [{a} + {half}]",
                "tileloadd tmm5, [{a} + {half} + 512]",
                "tdpbssd tmm0, tmm4, tmm6",
                "tdpbssd tmm1, tmm5, tmm6",
                "tilestored [{c} + {row}], tmm0",
                "tilestored [{c} + {row} + 1024], tmm1",
                a = in(reg) a,
                b = in(reg) b,
                c = in(reg) c,
                row = in(reg) usize::from(ROW_BYTES),
                half = in(reg) usize::from(ROW_BYTES / 2),
                out("tmm0") _, out("tmm1") _, out("tmm4") _, out("tmm5") _, out("tmm6") _,
                options(nostack),
            );
        }
    }

    #[inline(always)]
    unsafe fn scaled(a: __m512i, scales: __m512i) -> [__m512i; 2] {
        // SAFETY: promised by the caller.
        unsafe {
            let low = _mm512_set1_epi16(0x00FF);
            let scales =
                _mm512_mask_blend_epi16(0xAAAA_AAAA, scales, _mm512_slli_epi32::<16>(scales));
            let even =
                _mm512_mullo_epi16(_mm512_srai_epi16::<8>(_mm512_slli_epi16::<8>(a)), scales);
            let odd = _mm512_mullo_epi16(_mm512_srai_epi16::<8>(a), scales);
            let low_bytes =
                _mm512_ternarylogic_epi32::<0xCA>(low, even, _mm512_slli_epi16::<8>(odd));
            // The low byte counts as signed: half of it goes into the high one.
            let half = _mm512_set1_epi16(128);
            let (even, odd) = (_mm512_add_epi16(even, half), _mm512_add_epi16(odd, half));
            let high_bytes =
                _mm512_ternarylogic_epi32::<0xCA>(low, _mm512_srli_epi16::<8>(even), odd);
            [high_bytes, low_bytes]
        }
    }
}

/// Sums of products of 16-bit integers `256 · high + low`, high bytes signed: `c` gets 16 rows of
/// `Σ high · high`, of `Σ high · low + low · high` and of `Σ low · low`, over `n_steps` of 64 columns,
/// at least one. For every step `a` has 16 rows of 64 high bytes, then those of low ones; `b` likewise 16 quads.
///
/// # Safety
/// The CPU has tiles that the process may use, and `tiles` were made for 64 columns on this thread; the
/// pointers are good for that much.
#[inline(always)]
pub(super) unsafe fn multiply_planes(
    _tiles: &Configured,
    a: *const u8,
    b: *const u8,
    n_steps: usize,
    c: *mut i32,
) {
    debug_assert!(n_steps > 0);
    // SAFETY: promised by the caller.
    unsafe {
        asm!(
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "2:",
            "tileloadd tmm6, [{b} + {row}]",
            "tileloadd tmm4, [{a} + {row}]",
            "tileloadd tmm7, [{b} + {row} + 1024]",
            "tileloadd tmm5, [{a} + {row} + 1024]",
            // The two that add to the same tile are as far apart as they can be.
            "tdpbsud tmm1, tmm4, tmm7",
            "tdpbssd tmm0, tmm4, tmm6",
            "tdpbuud tmm2, tmm5, tmm7",
            "tdpbusd tmm1, tmm5, tmm6",
            "add {a}, 2048",
            "add {b}, 2048",
            "dec {n}",
            "jnz 2b",
            "tilestored [{c} + {row}], tmm0",
            "tilestored [{c} + {row} + 1024], tmm1",
            "tilestored [{c} + {row} + 2048], tmm2",
            a = inout(reg) a => _,
            b = inout(reg) b => _,
            c = in(reg) c,
            n = inout(reg) n_steps => _,
            row = in(reg) usize::from(ROW_BYTES),
            out("tmm0") _, out("tmm1") _, out("tmm2") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        );
    }
}

/// Multiplies `rounds` times what is in the first-level cache, and returns how many products that
/// were.
///
/// # Safety
/// The CPU has tiles and the process may use them.
pub(crate) unsafe fn peak(rounds: usize) -> usize {
    /// As many as make storing the sums a small part.
    const N_STEPS: usize = 8;
    let a = Aligned([1; 2 * TILE]);
    let b = Aligned([1; N_STEPS * 2 * TILE]);
    let mut c = Aligned([0; TILE]);
    let (a, b, c) = (a.0.as_ptr(), b.0.as_ptr(), c.0.as_mut_ptr());
    // SAFETY: promised by the caller; `b` has all steps, and `a` is the same in each.
    unsafe {
        let tiles = Configured::new(ROW_BYTES.into());
        for _ in 0..rounds {
            Avx512::multiply_twice(&tiles, (a, b), 0, (2, N_STEPS), c);
        }
    }
    rounds * N_STEPS * 4 * 16 * 16 * 64
}

/// Whether small products of all kinds come out right: machines that claim to have tiles are few, and
/// each is asked once.
fn multiplies_right() -> bool {
    const QUARTER: usize = TILE / 4;
    let a: [u8; 2 * TILE] = std::array::from_fn(|i| (i * 7 % 251) as u8);
    let b: [u8; 2 * TILE] = std::array::from_fn(|i| (i * 11 % 241) as u8);
    let (mut twice, mut once) = ([0; 4 * QUARTER], [0; 4 * QUARTER]);
    let mut planes = [0; 3 * QUARTER];
    // SAFETY: the CPU has tiles and the process may use them, checked by the caller; the operands
    // are of one step.
    unsafe {
        let tiles = Configured::new(ROW_BYTES.into());
        let signed = (a.as_ptr().cast(), b.as_ptr().cast());
        Avx512::multiply_twice(&tiles, signed, 0, (2, 1), twice.as_mut_ptr());
        Avx512::multiply_twice(&tiles, signed, 0, (1, 1), once.as_mut_ptr());
        multiply_planes(&tiles, a.as_ptr(), b.as_ptr(), 1, planes.as_mut_ptr());
    }
    let signed = |byte: u8| i32::from(byte as i8);
    let unsigned = |byte: u8| i32::from(byte);
    // The sum at `at` of the product of a tile of each.
    let sum = |i: usize, j: usize, at: usize, of_a: fn(u8) -> i32, of_b: fn(u8) -> i32| -> i32 {
        let (m, n) = (at / 16, at % 16);
        let row = a[i * TILE + 64 * m..][..64].iter().enumerate();
        row.map(|(k, a)| of_a(*a) * of_b(b[j * TILE + k / 4 * 64 + 4 * n + k % 4]))
            .sum()
    };
    (0..QUARTER).all(|at| {
        let ss = |i, j| sum(i, j, at, signed, signed);
        let mixed = sum(0, 1, at, signed, unsigned) + sum(1, 0, at, unsigned, signed);
        let expected = [ss(0, 0), mixed, sum(1, 1, at, unsigned, unsigned)];
        (0..4).all(|product| twice[product * QUARTER + at] == ss(product / 2, product % 2))
            && (0..2).all(|product| once[product * QUARTER + at] == ss(0, product))
            && (2..4).all(|product| once[product * QUARTER + at] == 0)
            && (0..3).all(|kind| planes[kind * QUARTER + at] == expected[kind])
    })
}

#[cfg(all(test, target_os = "linux"))]
pub(crate) mod emulator;
