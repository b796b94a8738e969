//! Fields of the container that lie, and files that end early.

use perigee_gguf::Error;
use perigee_testkit::hostile::{ARRAY, FieldKind, STRING, array, bases, string};

use crate::verdict::{read, refused_bytes, refused_when};

#[test]
fn a_file_cut_at_any_boundary_is_refused() {
    for base in bases() {
        let (bytes, fields) = base.assemble();
        let mut cuts = 0;
        for field in &fields {
            // Within the field as well: lengths and texts end in the middle.
            for at in [field.at, field.at + field.len / 2] {
                refused_bytes(bytes[..at].to_vec(), "model.gguf");
                cuts += 1;
            }
        }
        assert!(cuts > 100, "{cuts} cuts");
    }
}

#[test]
fn a_data_section_cut_at_any_tensor_is_refused() {
    for base in bases() {
        let (bytes, fields) = base.assemble();
        let data = fields
            .iter()
            .find(|field| field.kind == FieldKind::Data)
            .expect("there is data");
        for record in &base.records {
            let at = data.at + record.offset as usize;
            refused_bytes(bytes[..at].to_vec(), "it is truncated or lies");
            refused_bytes(bytes[..at + 1].to_vec(), "it is truncated or lies");
        }
    }
}

#[test]
fn nested_arrays_end_at_the_first_level() {
    // A reader that recurses would overflow its stack: 12 bytes a level.
    let mut nested = Vec::new();
    for _ in 0..100_000 {
        nested.extend_from_slice(&array(ARRAY, 1, &[]));
    }
    let error = refused_when(|draft| draft.set("nest", ARRAY, &nested), "array of arrays");
    assert!(matches!(error, Error::NestedArray { .. }), "{error}");
    // An empty one is refused as well.
    refused_when(
        |draft| draft.set("nest", ARRAY, &array(ARRAY, 0, &[])),
        "array of arrays",
    );
}

#[test]
fn alignments_that_are_absurd_are_refused() {
    for alignment in [0_u64, 3, 33, 4 << 20, 1 << 31, 1 << 32, 1 << 63, u64::MAX] {
        let error = refused_when(
            |draft| draft.set("general.alignment", 10, &alignment.to_le_bytes()),
            "general.alignment",
        );
        assert!(matches!(error, Error::Alignment { found, .. } if found == alignment));
    }
    // The same in 32 bits with a sign, as a float, as text, in a list.
    refused_when(
        |draft| draft.set("general.alignment", 5, &(-32_i32).to_le_bytes()),
        "-32",
    );
    refused_when(
        |draft| draft.set("general.alignment", 6, &32_f32.to_le_bytes()),
        "expected an integer",
    );
    refused_when(
        |draft| draft.set("general.alignment", STRING, &string(b"32")),
        "expected an integer",
    );
    let list = array(4, 1, &32_u32.to_le_bytes());
    refused_when(
        |draft| draft.set("general.alignment", ARRAY, &list),
        "expected an integer",
    );
}

#[test]
fn keys_that_are_empty_long_or_no_text_are_refused() {
    refused_when(|draft| draft.add("", 0, &[1]), "empty key");
    refused_when(
        |draft| draft.add(&"k".repeat(65_536), 0, &[1]),
        "bytes in a string",
    );
    refused_when(
        |draft| {
            draft.add("x", 0, &[1]);
            draft.entry("x").key = vec![0xC0, 0x80];
        },
        "not UTF-8",
    );
}

#[test]
fn counts_that_disagree_with_the_records_are_refused() {
    for (entries, tensors) in [(1, 0), (-1, 0), (0, 1), (1, 1), (-1, -1), (3, -3)] {
        refused_when(
            |draft| {
                let (n, m) = (draft.entries.len() as i64, draft.records.len() as i64);
                draft.n_entries = Some((n + entries) as u64);
                draft.n_tensors = Some((m + tensors) as u64);
                // Nothing behind the header that could pass for a record.
                draft.data = [].into();
            },
            "model.gguf",
        );
    }
}

#[test]
fn other_magics_versions_and_byte_orders_are_refused() {
    for magic in [*b"FUGG", *b"GGML", *b"ggjt", *b"PK\x03\x04", [0; 4]] {
        refused_when(|draft| draft.magic = magic, "not a GGUF file");
    }
    for version in [0, 1, 4, 255, u32::MAX] {
        refused_when(|draft| draft.version = version, "is not supported");
    }
    for version in [2_u32, 3] {
        refused_when(|draft| draft.version = version.swap_bytes(), "big-endian");
    }
}

#[test]
fn bytes_behind_the_last_tensor_are_harmless() {
    for base in bases() {
        let mut bytes = base.to_bytes();
        bytes.extend_from_slice(&[0xA5; 1000]);
        read(bytes).expect("nobody looks there");
    }
}
