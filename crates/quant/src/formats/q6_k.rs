//! Q6_K: 256 weights; low nibbles ql\[128\], high bits qh\[64\], i8 scales\[16\], f16 d;
//! y = (d·scale)·(q − 32).

use super::f16_at;

const BLOCK: usize = 210;

pub(crate) fn dequantize(bytes: &[u8], out: &mut [f32]) {
    for (block, out) in bytes.chunks_exact(BLOCK).zip(out.chunks_exact_mut(256)) {
        let d = f16_at(block, 208);
        for (h, out) in out.chunks_exact_mut(128).enumerate() {
            let (ql, qh) = (&block[64 * h..64 * h + 64], &block[128 + 32 * h..160 + 32 * h]);
            let scales = &block[192 + 8 * h..200 + 8 * h];
            for (g, out) in out.chunks_exact_mut(32).enumerate() {
                let low = &ql[32 * (g % 2)..32 * (g % 2) + 32];
                for (half, out) in out.chunks_exact_mut(16).enumerate() {
                    let dl = d * f32::from(scales[2 * g + half] as i8);
                    for (j, y) in out.iter_mut().enumerate() {
                        let l = 16 * half + j;
                        let q = low[l] >> (4 * (g / 2)) & 15 | (qh[l] >> (2 * g) & 3) << 4;
                        *y = dl * (i32::from(q) - 32) as f32;
                    }
                }
            }
        }
    }
}
