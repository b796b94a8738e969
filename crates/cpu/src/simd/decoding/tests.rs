use super::*;
use crate::noise::bits;

#[test]
fn rows_decode_to_the_bits_of_the_quantisation() {
    // Every binary16 number that is one, and an odd length.
    let words: Vec<u8> = (0..=u16::MAX)
        .filter(|word| word & 0x7fff <= 0x7c00)
        .chain([0x3c00])
        .flat_map(u16::to_le_bytes)
        .collect();
    // Every code, with scales from subnormal to large.
    let blocks: Vec<u8> = [0x0001u16, 0x03ff, 0x2e66, 0xb555, 0x7bff]
        .into_iter()
        .flat_map(|scale| (0..8u8).map(move |part| (scale, part)))
        .flat_map(|(scale, part)| {
            let codes = (0..32).map(move |code| 32 * part + code);
            scale.to_le_bytes().into_iter().chain(codes)
        })
        .collect();
    for (kind, bytes, n) in [
        (QuantKind::F16, &words, words.len() / 2),
        (QuantKind::Bf16, &words, words.len() / 2),
        (QuantKind::Q8_0, &blocks, blocks.len() / 34 * 32),
    ] {
        let mut want = vec![f32::NAN; n];
        kind.dequantize_row(bytes, &mut want);
        for isa in Isa::available() {
            let mut got = vec![f32::NAN; n];
            decode_row(isa, kind, bytes, &mut got);
            assert_eq!(bits(&got), bits(&want), "{kind:?} {isa:?}");
        }
    }
}

#[test]
fn what_is_no_number_stays_none() {
    let words: Vec<u8> = [0x7c01u16, 0x7fff, 0xfe00]
        .repeat(9)
        .into_iter()
        .flat_map(u16::to_le_bytes)
        .collect();
    for isa in Isa::available() {
        let mut got = vec![0.0; 27];
        decode_row(isa, QuantKind::F16, &words, &mut got);
        assert!(got.iter().all(|x| x.is_nan()), "{isa:?}");
    }
}
