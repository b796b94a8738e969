//! Where each encoding has its scales, and what else of a row must not be random.

use half::{bf16, f16};
use perigee_quant::QuantKind;

/// The fields of a row that set the size of its weights.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Scales {
    /// f16 fields of every block: offset, and factor on the scale (minima make codes symmetric).
    Halves(&'static [(usize, f32)]),
    /// An f16 before the blocks.
    RowHalf,
    /// An f32 before the blocks.
    RowFloat,
    /// The top nibbles of four u16 from an offset on are an f16.
    Nibbles(usize),
    /// An exponent, y = 2^(e−128) · value.
    Exponent,
    /// Unsigned E4M3 floats at the start of the block, halved.
    Minifloats(usize),
    /// Every weight is an f16 on its own: sign and fraction are random.
    F16,
    /// Likewise.
    Bf16,
}

fn scales(kind: QuantKind) -> Scales {
    use QuantKind as K;
    match kind {
        // F32 is drawn number by number, never from here.
        K::F32 | K::F16 => Scales::F16,
        K::Bf16 => Scales::Bf16,
        K::Q4_1 => Scales::Halves(&[(0, 1.0), (2, -7.5)]),
        K::Q5_1 => Scales::Halves(&[(0, 1.0), (2, -15.5)]),
        K::Q2K => Scales::Halves(&[(80, 1.0), (82, 1.5)]),
        K::Q4K => Scales::Halves(&[(0, 1.0), (2, 7.5)]),
        K::Q5K => Scales::Halves(&[(0, 1.0), (2, 15.5)]),
        K::Q3K => Scales::Halves(&[(108, 1.0)]),
        K::Q6K => Scales::Halves(&[(208, 1.0)]),
        K::Tq1_0 => Scales::Halves(&[(52, 1.0)]),
        K::Tq2_0 => Scales::Halves(&[(64, 1.0)]),
        K::Q4_0 | K::Q5_0 | K::Q6_0 | K::Q8_0 => Scales::Halves(&[(0, 1.0)]),
        K::Iq1S | K::Iq2Xxs | K::Iq2Xs | K::Iq2S => Scales::Halves(&[(0, 1.0)]),
        K::Iq3Xxs | K::Iq3S | K::Iq4Nl | K::Iq4Xs => Scales::Halves(&[(0, 1.0)]),
        K::Iq2K | K::Iq3K | K::Iq4K | K::Iq5K | K::Iq6K => Scales::Halves(&[(0, 1.0)]),
        K::Iq1M => Scales::Nibbles(48),
        K::Mxfp4 => Scales::Exponent,
        K::Nvfp4 => Scales::Minifloats(4),
        K::Iq2Ks | K::Iq2Kl | K::Iq3Ks => Scales::RowHalf,
        K::Iq4Ks | K::Iq4Kss | K::Iq5Ks => Scales::RowFloat,
        K::Iq1Kt | K::Iq2Kt | K::Iq3Kt | K::Iq4Kt => Scales::RowFloat,
    }
}

/// A row in which bits are random or fixed: a row is `random & mask | fixed`.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    /// Set where bits are random.
    pub(crate) mask: Vec<u8>,
    /// The other bits.
    pub(crate) fixed: Vec<u8>,
}

impl Template {
    /// A row of `row_bytes` of `kind` whose scales are `d`, or the nearest that the encoding has.
    pub(crate) fn new(kind: QuantKind, row_bytes: usize, d: f32) -> Self {
        let mut row = Self {
            mask: vec![0xff; row_bytes],
            fixed: vec![0; row_bytes],
        };
        let scales = scales(kind);
        match scales {
            Scales::RowHalf => row.put(0, &f16::from_f32(d).to_le_bytes()),
            Scales::RowFloat => row.put(0, &d.to_le_bytes()),
            _ => (),
        }
        let first = kind.row_meta_bytes();
        for block in (first..row_bytes).step_by(kind.block_bytes()) {
            row.put_in_block(block, scales, d);
        }
        row
    }

    fn put_in_block(&mut self, block: usize, scales: Scales, d: f32) {
        match scales {
            Scales::RowHalf | Scales::RowFloat => (),
            Scales::Halves(fields) => {
                for (offset, factor) in fields {
                    let half = f16::from_f32(d * factor);
                    self.put(block + offset, &half.to_le_bytes());
                }
            }
            Scales::Nibbles(offset) => {
                let bits = f16::from_f32(d).to_bits();
                for i in 0..4 {
                    // The upper byte of each u16.
                    let at = block + offset + 2 * i + 1;
                    self.mask[at] = 0x0f;
                    self.fixed[at] = ((bits >> (4 * i) & 15) as u8) << 4;
                }
            }
            Scales::Exponent => {
                let exponent = (d.log2().round() + 128.0).clamp(1.0, 254.0);
                self.put(block, &[exponent as u8]);
            }
            Scales::Minifloats(n) => self.put(block, &vec![half_e4m3(d); n]),
            Scales::F16 => {
                let exponent = f16::from_f32(d).to_bits() & 0x7c00;
                self.put_bits(block, 0x83ff, exponent);
            }
            Scales::Bf16 => {
                let exponent = bf16::from_f32(d).to_bits() & 0x7f80;
                self.put_bits(block, 0x807f, exponent);
            }
        }
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.mask[at..at + bytes.len()].fill(0);
        self.fixed[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn put_bits(&mut self, at: usize, mask: u16, fixed: u16) {
        self.mask[at..at + 2].copy_from_slice(&mask.to_le_bytes());
        self.fixed[at..at + 2].copy_from_slice(&fixed.to_le_bytes());
    }
}

/// The byte whose unsigned E4M3 float (exponent bias 7) is nearest below `2 · d`, at least the
/// smallest above zero.
fn half_e4m3(d: f32) -> u8 {
    let value = |byte: u8| {
        let (exponent, fraction) = (i32::from(byte >> 3), f32::from(byte & 7) / 8.0);
        match exponent {
            0 => fraction * 0.015_625,
            _ => (1.0 + fraction) * 2.0_f32.powi(exponent - 7),
        }
    };
    (1..0x7f)
        .rev()
        .find(|&byte| value(byte) <= 2.0 * d)
        .unwrap_or(1)
}
