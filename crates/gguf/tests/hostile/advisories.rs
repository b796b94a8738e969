//! One test for each published vulnerability of a reader of this format.

use perigee_gguf::Error;
use perigee_testkit::hostile::{ARRAY, STRING, array, string};

use crate::verdict::{model, read, refused, refused_when};

/// Dimension counts that index beyond the four dimensions of a tensor.
#[test]
fn cve_2024_21802_dimension_counts_beyond_the_array() {
    for n_dims in [0, 5, 255, 1 << 31, u32::MAX] {
        let error = refused_when(
            |draft| draft.record("output.weight").n_dims = Some(n_dims),
            "tensor output.weight",
        );
        assert!(matches!(error, Error::Dimensions { n_dims: found, .. } if found == n_dims));
    }
    // The record really has five dimensions.
    refused_when(
        |draft| draft.record("output.weight").shape = vec![1; 5],
        "5 dimensions",
    );
}

/// Dimensions whose product wraps to the size of the data that is there.
#[test]
fn cve_2024_21802_dimensions_whose_product_wraps() {
    let shapes: [&[u64]; 6] = [
        &[32, 1 << 61],
        &[1 << 32, 1 << 32],
        &[32, (1 << 59) + 1, 1 << 5],
        &[1 << 63, 2],
        &[!31, 1],
        &[32, 1 << 20, 1 << 20, 1 << 20],
    ];
    for shape in shapes {
        let error = refused_when(
            |draft| draft.record("output.weight").shape = shape.to_vec(),
            "tensor output.weight",
        );
        let bounded = matches!(error, Error::Overflow { .. } | Error::OutOfBounds { .. });
        assert!(bounded, "{error}");
    }
}

/// Counts whose product with the size of any record wraps.
const WRAPPING: [u64; 7] = [
    u64::MAX,
    1 << 63,
    u64::MAX / 48 + 1,
    u64::MAX / 88 + 1,
    u64::MAX / 24 + 1,
    1 << 32,
    i64::MAX as u64,
];

/// Counts of tensors whose product with a record's size wraps.
#[test]
fn cve_2024_21836_tensor_count_times_record_size_wraps() {
    for n in WRAPPING {
        refused_when(|draft| draft.n_tensors = Some(n), "tensors");
    }
}

/// Counts of metadata entries whose product with a record's size wraps.
#[test]
fn cve_2024_23605_entry_count_times_record_size_wraps() {
    for n in WRAPPING {
        refused_when(|draft| draft.n_entries = Some(n), "metadata entries");
    }
}

/// Lengths of strings that wrap to 0 when a terminator is added.
#[test]
fn cve_2024_23496_string_length_plus_one_wraps() {
    for len in [u64::MAX, u64::MAX - 1, 1 << 63, i64::MAX as u64, 1 << 32] {
        refused_when(
            |draft| draft.entries[0].key_len = Some(len),
            "a metadata key",
        );
        refused_when(
            |draft| draft.records[0].name_len = Some(len),
            "a tensor name",
        );
        refused_when(
            |draft| draft.entry("general.name").value = len.to_le_bytes().to_vec(),
            "a metadata value",
        );
        refused_when(
            |draft| {
                let tokens = array(STRING, 290, &len.to_le_bytes());
                draft.set("tokenizer.ggml.tokens", ARRAY, &tokens);
            },
            "a metadata value",
        );
    }
}

/// Array counts whose product with the size of an element wraps.
#[test]
fn cve_2024_21825_array_count_times_size_wraps() {
    for element in [0, 1, 2, 3, 4, 5, 6, 7, STRING, 10, 11, 12] {
        for count in [
            u64::MAX,
            1 << 63,
            (1 << 62) + 1,
            (1 << 61) + 1,
            u64::MAX / 16 + 1,
            1 << 32,
        ] {
            refused_when(
                |draft| draft.set("list", ARRAY, &array(element, count, &[0; 64])),
                "array elements",
            );
        }
    }
}

/// Tensor sizes that are fine one by one, with a padded sum beyond 64 bits.
#[test]
fn cve_2025_53630_sum_of_padded_sizes_overflows() {
    for share in [2, 3, 4, 17] {
        let error = refused_when(
            |draft| {
                let n = u64::MAX / share / 4;
                let mut offset = 0_u64;
                for record in &mut draft.records {
                    (record.shape, record.type_id) = (vec![n], 0);
                    record.offset = offset;
                    offset = offset.wrapping_add((n * 4).next_multiple_of(32));
                }
            },
            "tensor",
        );
        let bounded = matches!(error, Error::Overflow { .. } | Error::OutOfBounds { .. });
        assert!(bounded, "{error}");
    }
}

/// Sums that overflow only after the start of the data section or the padding is added.
#[test]
fn cve_2026_27940_data_plus_overhead_overflows() {
    for offset in [u64::MAX - 31, (1 << 63) - 32, u64::MAX - 4095] {
        let error = refused_when(
            |draft| draft.record("output.weight").offset = offset,
            "tensor output.weight",
        );
        assert!(matches!(error, Error::OutOfBounds { .. }), "{error}");
    }
    // The last byte that a pointer can reach, less than one alignment below the wrap.
    for bytes in [i64::MAX as u64, i64::MAX as u64 - 31] {
        refused_when(
            |draft| {
                let record = draft.record("output.weight");
                (record.shape, record.type_id) = (vec![bytes / 4], 0);
            },
            "tensor output.weight",
        );
    }
}

/// Element counts that are representable with sizes in bytes that are not.
#[test]
fn cve_2026_33298_bytes_are_not_representable() {
    // (type, block length): F32, F16, Q4_0, Q8_0, Q6_K, IQ3_K.
    for (type_id, block) in [(0, 1), (1, 1), (2, 32), (8, 32), (14, 256), (138, 256)] {
        for rows in [1_u64, 3, 1 << 20, 1 << 40] {
            let row_len = ((1 << 63) / rows / block * block).max(block);
            refused_when(
                |draft| {
                    let record = draft.record("output.weight");
                    (record.type_id, record.shape) = (type_id, vec![row_len, rows]);
                },
                "tensor output.weight",
            );
        }
    }
}

/// Declared dimensions larger than the stored data: what lies behind would be read out.
#[test]
fn cve_2026_7482_declared_dimensions_exceed_the_data() {
    let last = {
        let mut draft = model();
        draft.records.sort_by_key(|record| record.offset);
        draft.records.pop().expect("a model has tensors")
    };
    let name = String::from_utf8(last.name).expect("a plain name");
    for factor in [2, 1000, 1 << 30] {
        let error = refused_when(
            |draft| draft.record(&name).shape[0] *= factor,
            &format!("tensor {name}"),
        );
        assert!(matches!(error, Error::OutOfBounds { .. }), "{error}");
    }
    // Inside the file a larger tensor reaches into its neighbour.
    let error = refused_when(
        |draft| draft.record("token_embd.weight").shape[1] += 1,
        "overlap",
    );
    assert!(matches!(error, Error::Overlap { .. }), "{error}");
    // The data section ends early, by a byte or altogether.
    for missing in [1, 4096, usize::MAX] {
        refused_when(
            |draft| {
                let kept = draft.data.len().saturating_sub(missing);
                draft.data = draft.data[..kept].into();
            },
            "it is truncated or lies",
        );
    }
}

/// Token texts whose length is cut to 31 bits by their reader, and long ones that are real.
#[test]
fn cve_2025_49847_token_text_longer_than_31_bits() {
    for len in [1_u64 << 31, (1 << 31) + 5, (1 << 32) + 5, 1 << 33, u64::MAX] {
        refused_when(
            |draft| {
                let mut token = len.to_le_bytes().to_vec();
                token.extend_from_slice(b"token");
                let tokens = array(STRING, 1, &token);
                draft.set("tokenizer.ggml.tokens", ARRAY, &tokens);
            },
            "a metadata value",
        );
    }
    let text = vec![b'x'; 1 << 20];
    let mut draft = model();
    draft.set(
        "tokenizer.ggml.tokens",
        ARRAY,
        &array(STRING, 1, &string(&text)),
    );
    let gguf = read(draft.to_bytes()).expect("a token of a megabyte is odd, but there");
    let tokens = gguf.metadata().byte_strings("tokenizer.ggml.tokens");
    assert_eq!(tokens.expect("strings").expect("there"), [&text[..]]);
}

/// The classes of llama.cpp's hardening (pull request 19856).
#[test]
fn pr_19856_negative_types_zero_alignment_and_duplicate_keys() {
    for type_id in [u32::MAX, 1 << 31, 15, 255] {
        let error = refused_when(|draft| draft.entries[3].type_id = type_id, "value type");
        assert!(matches!(error, Error::ValueType { id, .. } if id == type_id));
        refused_when(
            |draft| draft.set("list", ARRAY, &array(type_id, 1, &[0; 8])),
            "value type",
        );
        refused_when(
            |draft| draft.records[0].type_id = type_id,
            "is not supported",
        );
    }
    refused_when(
        |draft| draft.set("general.alignment", 4, &0_u32.to_le_bytes()),
        "general.alignment is 0",
    );
    refused_when(
        |draft| draft.add("general.name", STRING, &string(b"twin")),
        "occurs twice",
    );
    refused_when(
        |draft| {
            let twin = draft.records[0].clone();
            draft.records.push(twin);
        },
        "the name occurs twice",
    );
}

/// Strings and arrays that would exhaust memory before anything is compared with the file.
#[test]
fn pr_19856_string_and_array_exhaustion() {
    // A gigabyte is what llama.cpp allows; the bound here is what the file has.
    for len in [1_u64 << 30, 1 << 20] {
        refused_when(
            |draft| {
                draft.entries.truncate(2);
                draft.records.clear();
                draft.entries[1].value = len.to_le_bytes().to_vec();
            },
            "a metadata value",
        );
        refused_when(
            |draft| draft.set("list", ARRAY, &array(4, len, &[0; 16])),
            "array elements",
        );
    }
}

/// Zero where a reader divides (the family of CVE-2024-397xx).
#[test]
fn cve_2024_39720_zero_and_missing_fields() {
    refused_when(
        |draft| draft.set("general.alignment", 10, &0_u64.to_le_bytes()),
        "general.alignment is 0",
    );
    // A type without a block size: in gaps between ids, removed, or beyond the last.
    for type_id in [4, 5, 31, 37, 38, 50, 100, 200, 400, 65_536] {
        refused_when(
            |draft| draft.records[0].type_id = type_id,
            "is not supported",
        );
    }
    for d in 0..2 {
        refused_when(|draft| draft.records[0].shape[d] = 0, "zero dimension");
    }
    // Nothing but a magic number and a version.
    let mut bare = model();
    (bare.entries, bare.records, bare.data) = (Vec::new(), Vec::new(), [].into());
    read(bare.to_bytes()).expect("an empty container is valid");
    for n in 1..4 {
        bare.n_tensors = Some(n);
        refused(&bare, "tensors");
    }
}
