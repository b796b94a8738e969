//! Value tables of the non-linear types: a base table and the same plus a constant. A block's
//! `extra` bit selects one of the two for 16 weights at a time.
//! Source: `ggml/src/ggml-common.h` of ik_llama.cpp.

const fn with_shifted<const N: usize>(base: [i8; N], shift: i8) -> [[i8; N]; 2] {
    let mut shifted = base;
    let mut i = 0;
    while i < N {
        shifted[i] += shift;
        i += 1;
    }
    [base, shifted]
}

/// IQ3_K, IQ3_KS: 8 values, then the same plus 4.
pub(crate) const IQ3: [[i8; 8]; 2] = with_shifted([-63, -40, -23, -10, 1, 13, 28, 47], 4);

/// IQ4_K, IQ4_KS: 16 values, then the same plus 4.
pub(crate) const IQ4: [[i8; 16]; 2] = with_shifted(
    [
        -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113,
    ],
    4,
);

/// IQ6_K: 64 values, then the same plus 1.
#[rustfmt::skip]
pub(crate) const IQ6: [[i8; 64]; 2] = with_shifted([
    -127, -121, -115, -109, -104, -98, -93, -88, -84, -79, -74, -70, -66, -62, -58, -54,
    -51, -47, -44, -40, -37, -34, -31, -28, -25, -22, -19, -16, -13, -11, -8, -5,
    -2, 0, 3, 6, 9, 12, 14, 17, 20, 23, 27, 30, 33, 36, 40, 44,
    47, 51, 55, 59, 63, 68, 72, 77, 82, 87, 92, 98, 103, 109, 115, 121,
], 1);
