use perigee_quant::QuantKind;

use super::*;
use crate::noise::{bits, noise, nrmse, quantized_noise};

fn workers(n_threads: usize, n_in: usize) -> Workers {
    Workers::new(n_threads, scratch_len(n_in))
}

fn product(w: &[f32], x: &[f32], n_in: usize) -> Vec<f64> {
    let mut y = Vec::new();
    for x in x.chunks_exact(n_in) {
        for w in w.chunks_exact(n_in) {
            y.push(
                w.iter()
                    .zip(x)
                    .map(|(w, x)| f64::from(*w) * f64::from(*x))
                    .sum(),
            );
        }
    }
    y
}

fn check_matmul(kind: QuantKind, n_in: usize, n_out: usize, n_tokens: usize) {
    let (bytes, w) = quantized_noise(kind, n_in, n_out, 1);
    let matrix = Matrix::new(kind, n_in, n_out, &bytes);
    let x = noise(n_tokens * n_in, 2);
    let mut y = vec![f32::NAN; n_tokens * n_out];
    matmul(&workers(2, n_in), matrix, &x, &mut y);
    let error = nrmse(&y, &product(&w, &x, n_in));
    // A sum of a few hundred f32 products with one rounding each.
    assert!(error < 1e-6, "{} [{n_in}, {n_out}]: {error}", kind.name());
    for n_threads in [1, 3] {
        for (t, x) in x.chunks_exact(n_in).enumerate() {
            let mut alone = vec![f32::NAN; n_out];
            matmul(&workers(n_threads, n_in), matrix, x, &mut alone);
            assert_eq!(bits(&alone), bits(&y[t * n_out..][..n_out]));
        }
    }
}

#[test]
fn matmul_is_the_product_and_does_not_depend_on_batch_or_threads() {
    for kind in [
        QuantKind::F32,
        QuantKind::F16,
        QuantKind::Bf16,
        QuantKind::Q8_0,
    ] {
        for (n_in, n_out, n_tokens) in [(32, 1, 1), (96, 37, 5), (256, 64, 9), (512, 3, 2)] {
            check_matmul(kind, n_in, n_out, n_tokens);
        }
        // Enough memory for spans.
        check_matmul(kind, 1024, 37, 19);
    }
    check_matmul(QuantKind::F32, 37, 19, 6);
}

/// Heads of 24 in, 40 out, in a buffer with gaps, from the middle rows of a larger stack.
#[test]
fn stacked_products_read_and_write_strided_rows() {
    let (n_heads, n_in, n_out, n_tokens) = (3, 24, 40, 70);
    let (bytes, w) = quantized_noise(QuantKind::F32, n_in, n_heads * (n_out + 5), 3);
    let stack = Stack::new(QuantKind::F32, n_in, n_out + 5, n_heads, &bytes).narrow(5..n_out + 5);
    let x = noise(n_tokens * n_heads * n_in, 4);
    let x_at = At {
        start: 0,
        token: n_heads * n_in,
        item: n_in,
    };
    let y_at = At {
        start: 2,
        token: n_heads * (n_out + 3) + 1,
        item: n_out + 3,
    };
    let mut y = vec![f32::NAN; n_tokens * y_at.token + 2];
    let workers = workers(2, n_in);
    matmul_stack(&workers, stack, n_tokens, (&x, x_at), (&mut y, y_at));

    // The transposed product with the transposed weights is the same number.
    let mut transposed = Vec::new();
    for head in 0..n_heads {
        let rows = &w[(head * (n_out + 5) + 5) * n_in..][..n_out * n_in];
        for i in 0..n_in {
            transposed.extend((0..n_out).flat_map(|o| rows[o * n_in + i].to_le_bytes()));
        }
    }
    let other = Stack::new(QuantKind::F32, n_out, n_in, n_heads, &transposed);
    let mut z = vec![f32::NAN; y.len()];
    let workers = Workers::new(2, scratch_len(n_out));
    matmul_stack_transposed(&workers, other, n_tokens, (&x, x_at), (&mut z, y_at));

    for t in 0..n_tokens {
        for head in 0..n_heads {
            let rows = &w[(head * (n_out + 5) + 5) * n_in..][..n_out * n_in];
            let expected = product(rows, &x[x_at.row(t, head)..][..n_in], n_in);
            for got in [&y, &z] {
                let error = nrmse(&got[y_at.row(t, head)..][..n_out], &expected);
                assert!(error < 1e-6, "token {t} head {head}: {error}");
            }
            assert!(y[y_at.row(t, head) + n_out].is_nan(), "gaps are left alone");
        }
    }
}

#[test]
#[should_panic(expected = "rows of")]
fn overlapping_output_rows_are_refused() {
    let stack = Stack::new(QuantKind::F32, 1, 4, 2, &[0; 32]);
    let at = |item| At {
        start: 0,
        token: 8,
        item,
    };
    let (x, mut y) = ([0.0; 8], [0.0; 8]);
    matmul_stack(&workers(1, 1), stack, 1, (&x, at(1)), (&mut y, at(3)));
}

/// `n_items` matrices of noise, in the order of the file and packed.
fn packed_noise(kind: QuantKind, (n_in, n_rows, n_items): (usize, usize, usize)) -> [Vec<u8>; 2] {
    let (rows, _) = quantized_noise(kind, n_in, n_rows * n_items, 5);
    let layout = kind.layout().unwrap();
    let group_bytes = layout.group_bytes(n_in).unwrap();
    let mut packed = vec![0; Stack::packed_bytes(kind, n_in, n_rows, n_items).unwrap()];
    let groups = packed.chunks_exact_mut(group_bytes);
    for (rows, group) in rows
        .chunks_exact(16 * kind.row_bytes(n_in).unwrap())
        .zip(groups)
    {
        layout.pack(kind, rows, group);
    }
    [rows, packed]
}

#[test]
fn packed_products_have_the_canonical_bits_for_any_batch_and_threads() {
    for (kind, n_in) in [
        (QuantKind::Q8_0, 96),
        (QuantKind::Iq3K, 512),
        (QuantKind::Q4K, 256),
    ] {
        let (n_rows, n_items, n_tokens) = (64, 3, 21);
        let [rows, packed] = packed_noise(kind, (n_in, n_rows, n_items));
        let stack = Stack::packed(kind, n_in, n_rows, n_items, &packed).unwrap();
        let stack = stack.narrow(16..64);
        let x = noise(n_tokens * n_items * n_in, 6);
        let x_at = At {
            start: 0,
            token: n_items * n_in,
            item: n_in,
        };
        let y_at = At {
            start: 0,
            token: n_items * 48,
            item: 48,
        };
        let layout = kind.layout().unwrap();
        let form = layout.form();
        let mut expected = vec![0.0; n_tokens * n_items * 48];
        let mut rounded = vec![0; form.row_bytes(n_in)];
        let row_bytes = kind.row_bytes(n_in).unwrap();
        for (i, x) in x.chunks_exact(n_in).enumerate() {
            form.quantize(x, &mut rounded);
            let first = (i % n_items) * n_rows + 16;
            for o in 0..48 {
                let row = &rows[(first + o) * row_bytes..][..row_bytes];
                let y = perigee_quant::packed::dot_row(kind, layout, row, n_in, &rounded);
                expected[i * 48 + o] = y;
            }
        }
        for n_threads in [1, 3] {
            let workers = Workers::new(n_threads, 0);
            let mut y = vec![f32::NAN; expected.len()];
            matmul_stack(&workers, stack, n_tokens, (&x, x_at), (&mut y, y_at));
            assert_eq!(bits(&y), bits(&expected), "{}", kind.name());
            let mut alone = vec![f32::NAN; n_items * 48];
            let last = &x[(n_tokens - 1) * n_items * n_in..];
            matmul_stack(&workers, stack, 1, (last, x_at), (&mut alone, y_at));
            assert_eq!(
                bits(&alone),
                bits(&expected[(n_tokens - 1) * n_items * 48..])
            );
        }
    }
}

/// What reads packed weights as floats sees what the file holds.
#[test]
fn transposed_products_of_packed_and_plain_rows_are_equal() {
    let (n_in, n_rows, n_items) = (64, 32, 2);
    let [rows, packed] = packed_noise(QuantKind::Q8_0, (n_in, n_rows, n_items));
    let plain = Stack::new(QuantKind::Q8_0, n_in, n_rows, n_items, &rows);
    let packed = Stack::packed(QuantKind::Q8_0, n_in, n_rows, n_items, &packed).unwrap();
    let x = noise(5 * n_items * n_rows, 7);
    let at = |len| At {
        start: 0,
        token: n_items * len,
        item: len,
    };
    let product = |stack| {
        let mut y = vec![f32::NAN; 5 * n_items * n_in];
        let x = (&x[..], at(n_rows));
        matmul_stack_transposed(&workers(2, n_in), stack, 5, x, (&mut y, at(n_in)));
        bits(&y)
    };
    assert_eq!(product(plain), product(packed));
}

#[test]
fn odd_shapes_and_types_without_a_layout_stay_unpacked() {
    assert_eq!(Stack::packed_bytes(QuantKind::Q8_0, 64, 17, 1), None);
    assert_eq!(Stack::packed_bytes(QuantKind::F32, 64, 16, 1), None);
    assert_eq!(Stack::packed_bytes(QuantKind::Iq3K, 128, 16, 1), None);
    assert_eq!(
        Stack::packed_bytes(QuantKind::Iq3K, 256, 32, 3),
        Some(6 * 1856)
    );
}
