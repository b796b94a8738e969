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

/// IQ2_K, IQ2_KS: 4 values, then the same plus 5.
pub(crate) const IQ2: [[i8; 4]; 2] = with_shifted([-31, -13, 1, 17], 5);

/// IQ3_K, IQ3_KS: 8 values, then the same plus 4.
pub(crate) const IQ3: [[i8; 8]; 2] = with_shifted([-63, -40, -23, -10, 1, 13, 28, 47], 4);

/// IQ4_K, IQ4_KS, IQ4_KSS: 16 values, then the same plus 4.
pub(crate) const IQ4: [[i8; 16]; 2] = with_shifted(
    [
        -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113,
    ],
    4,
);

/// IQ5_K, IQ5_KS: 32 values, then the same plus 2.
#[rustfmt::skip]
pub(crate) const IQ5: [[i8; 32]; 2] = with_shifted([
    -126, -114, -103, -92, -83, -74, -65, -57, -50, -43, -36, -30, -24, -18, -12, -6,
    -1, 5, 11, 17, 23, 29, 36, 43, 51, 59, 68, 77, 87, 97, 109, 121,
], 2);

/// IQ6_K: 64 values, then the same plus 1.
#[rustfmt::skip]
pub(crate) const IQ6: [[i8; 64]; 2] = with_shifted([
    -127, -121, -115, -109, -104, -98, -93, -88, -84, -79, -74, -70, -66, -62, -58, -54,
    -51, -47, -44, -40, -37, -34, -31, -28, -25, -22, -19, -16, -13, -11, -8, -5,
    -2, 0, 3, 6, 9, 12, 14, 17, 20, 23, 27, 30, 33, 36, 40, 44,
    47, 51, 55, 59, 63, 68, 72, 77, 82, 87, 92, 98, 103, 109, 115, 121,
], 1);

/// IQ2_KL: values of two neighbours, both from the first table of IQ3_K.
#[rustfmt::skip]
pub(crate) const IQ2_PAIRS: [[i8; 2]; 32] = [
    [-63, -23], [-63, 13], [-40, -63], [-40, -10], [-40, 13], [-40, 47], [-23, -40], [-23, -23],
    [-23, 1], [-23, 13], [-23, 28], [-10, -63], [-10, 1], [-10, 13], [-10, 47], [1, -23],
    [1, -10], [1, 1], [1, 13], [1, 28], [13, -40], [13, -23], [13, -10], [13, 1],
    [13, 13], [28, -63], [28, -23], [28, 1], [28, 28], [28, 47], [47, -23], [47, 13],
];

/// MXFP4, NVFP4: twice the values of E2M1.
pub(crate) const E2M1: [i8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];
