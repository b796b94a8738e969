use super::*;

fn layouts() -> impl Iterator<Item = (QuantKind, &'static Layout)> {
    QuantKind::ALL
        .iter()
        .filter_map(|kind| Some((*kind, kind.layout()?)))
}

/// Bytes of any kind, the same every time.
fn noise(n: usize, seed: u32) -> Vec<u8> {
    let mut state = seed;
    (0..n)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .collect()
}

#[test]
fn packing_keeps_every_bit() {
    for (kind, layout) in layouts() {
        for n_in in [256, 1024] {
            let row_bytes = kind.row_bytes(n_in).unwrap();
            let rows = noise(GROUP_ROWS * row_bytes, kind.id());
            let mut group = vec![0xA5; layout.group_bytes(n_in).unwrap()];
            layout.pack(kind, &rows, &mut group);
            let mut back = vec![0x5A; rows.len()];
            layout.unpack(kind, &group, &mut back);
            assert!(back == rows, "{}", kind.name());
            let (mut expected, mut values) = (vec![0.0; n_in], vec![0.0; GROUP_ROWS * n_in]);
            layout.dequantize(kind, &group, n_in, &mut values);
            for (row, values) in rows.chunks_exact(row_bytes).zip(values.chunks_exact(n_in)) {
                kind.dequantize_row(row, &mut expected);
                let same = |(a, b): (&f32, &f32)| a.to_bits() == b.to_bits();
                assert!(values.iter().zip(&expected).all(same), "{}", kind.name());
            }
        }
    }
}

#[test]
fn steps_are_the_high_bytes_of_words() {
    let grid = &grid::IQ1_S;
    let steps = grid.steps.unwrap();
    for (index, byte) in grid.bytes[1].iter().enumerate() {
        let (low, others) = (index % 256, index / 256);
        let second = usize::from(others >= usize::from(steps.at[low]));
        let place = usize::from(steps.first[low]) + second;
        assert_eq!(steps.bytes[place], *byte, "{index}");
    }
}

#[test]
fn packed_sizes_are_near_those_of_files() {
    for (kind, layout) in layouts() {
        let file = GROUP_ROWS * kind.row_bytes(2048).unwrap();
        let packed = layout.group_bytes(2048).unwrap();
        let most = match kind {
            // Scales and flags have bytes of their own.
            QuantKind::Iq4Kss => 108,
            // The eighth sign of a 7-bit code is stored.
            QuantKind::Iq2Xxs => 107,
            _ => 106,
        };
        assert!(
            packed >= file && packed * 100 <= file * most,
            "{}: {packed} for {file}",
            kind.name()
        );
    }
    assert_eq!(QuantKind::Q4_0.layout().unwrap().block_bytes(), 288);
    assert_eq!(QuantKind::Iq3K.layout().unwrap().block_bytes(), 1856);
}

/// A column of ones at a time finds the weight that the decoder finds.
#[test]
fn the_arithmetic_sees_the_weights_of_the_decoders() {
    for (kind, layout) in layouts() {
        let n_in = 256;
        let mut row = noise(kind.row_bytes(n_in).unwrap(), 7 + kind.id());
        tame(kind, &mut row);
        let mut weights = vec![0.0; n_in];
        kind.dequantize_row(&row, &mut weights);
        let form = layout.form();
        let mut x = vec![0; form.row_bytes(n_in)];
        for column in 0..n_in {
            let mut values = vec![0.0; n_in];
            values[column] = 127.0;
            form.quantize(&values, &mut x);
            let y = dot_row(kind, layout, &row, n_in, &x) / 127.0;
            let error = (y - weights[column]).abs();
            assert!(
                error <= 1e-5 * weights[column].abs().max(1.0),
                "{} column {column}: {y} for {}",
                kind.name(),
                weights[column]
            );
        }
    }
}

/// Makes the float scales ordinary numbers.
fn tame(kind: QuantKind, row: &mut [u8]) {
    let half = 0x2C00_u16.to_le_bytes();
    match kind.row_meta_bytes() {
        2 => row[..2].copy_from_slice(&half),
        4 => row[..4].copy_from_slice(&0.0625_f32.to_le_bytes()),
        _ => {}
    }
    let start = kind.row_meta_bytes();
    for block in row[start..].chunks_exact_mut(kind.block_bytes()) {
        match kind {
            QuantKind::Mxfp4 => block[0] = 124,
            QuantKind::Q2K => {
                block[80..82].copy_from_slice(&half);
                block[82..].copy_from_slice(&half);
            }
            QuantKind::Q3K => block[108..].copy_from_slice(&half),
            QuantKind::Q6K => block[208..].copy_from_slice(&half),
            QuantKind::Q4K | QuantKind::Q5K => {
                block[..2].copy_from_slice(&half);
                block[2..4].copy_from_slice(&half);
            }
            // Spread over the top nibbles of four scales.
            QuantKind::Iq1M => {
                for (i, digit) in [0, 0, 0xC, 2].into_iter().enumerate() {
                    let byte = &mut block[49 + 2 * i];
                    *byte = *byte & 15 | digit << 4;
                }
            }
            _ if start == 0 => block[..2].copy_from_slice(&half),
            _ => {}
        }
    }
}

#[test]
fn activations_are_rounded_block_by_block() {
    let form = QuantKind::Iq3K.layout().unwrap().form();
    let mut x = vec![0.0f32; 512];
    x[0] = -2.0;
    x[1] = 1.0;
    x[300] = f32::NAN;
    let mut out = vec![0; form.row_bytes(512)];
    form.quantize(&x, &mut out);
    let float = |at: usize| f32::from_le_bytes(out[at..at + 4].try_into().unwrap());
    let int = |at: usize| i32::from_le_bytes(out[at..at + 4].try_into().unwrap());
    assert_eq!((out[0] as i8, out[1] as i8), (-127, 64));
    assert_eq!(float(form.scales(512).start), 2.0 / 127.0);
    assert!(float(form.scales(512).start + 4).is_nan());
    assert_eq!(int(form.bases(512).start), -64 * (-127 + 64));
    assert_eq!(int(form.deltas(512).start), 4 * (-127 + 64));
    let total = form.totals(512);
    assert_eq!(out[total.start..][..2], (-127i16 + 64).to_le_bytes());
    assert_eq!((total.len(), total.end), (2 * 512 / 16, out.len()));
    assert_eq!(out[300], 0);
    let small = [1e-38; 256];
    let mut out = vec![1; form.row_bytes(256)];
    form.quantize(&small, &mut out);
    assert!(out.iter().all(|byte| *byte == 0));
}
