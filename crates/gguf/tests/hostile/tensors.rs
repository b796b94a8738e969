//! Tensor records that contradict each other or the file.

use perigee_gguf::Error;
use perigee_quant::QuantKind;

use crate::verdict::{model, read, refused, refused_when};

/// Names of tensors in the order of their offsets.
fn in_order() -> Vec<String> {
    let mut records = model().records;
    records.sort_by_key(|record| record.offset);
    let name = |name| String::from_utf8(name).expect("a plain name");
    records
        .into_iter()
        .map(|record| name(record.name))
        .collect()
}

#[test]
fn duplicate_tensors_are_refused_wherever_they_point() {
    for offset in [0, 32, 1 << 40] {
        let error = refused_when(
            |draft| {
                let mut twin = draft.records[3].clone();
                twin.offset = offset;
                draft.records.push(twin);
            },
            "the name occurs twice",
        );
        assert!(matches!(error, Error::DuplicateTensor { .. }), "{error}");
    }
}

#[test]
fn overlapping_tensors_are_refused_whatever_their_order() {
    let names = in_order();
    for pair in names.windows(2) {
        let mut draft = model();
        let at = draft.record(&pair[0]).offset;
        draft.record(&pair[1]).offset = at;
        let error = refused(&draft, "overlap");
        assert!(matches!(error, Error::Overlap { .. }), "{error}");
        draft.records.reverse();
        refused(&draft, "overlap");
    }
}

#[test]
fn unaligned_tensors_are_refused() {
    for shift in [1, 4, 16, 31] {
        let error = refused_when(
            |draft| draft.record("output_norm.weight").offset += shift,
            "not a multiple of the alignment 32",
        );
        assert!(matches!(error, Error::Unaligned { .. }), "{error}");
    }
    // Another alignment than the one that offsets were written for.
    refused_when(
        |draft| draft.set("general.alignment", 4, &4096_u32.to_le_bytes()),
        "not a multiple of the alignment 4096",
    );
}

#[test]
fn type_ids_in_gaps_and_removed_ones_are_refused() {
    for id in (0..512).filter(|&id| QuantKind::from_id(id).is_none()) {
        let error = refused_when(
            |draft| draft.record("output.weight").type_id = id,
            &format!("(id {id}) is not supported"),
        );
        assert!(matches!(error, Error::UnsupportedType { .. }), "{error}");
    }
}

#[test]
fn removed_and_interleaved_types_are_refused_by_name() {
    let named = [
        (4, "Q4_2"),
        (5, "Q4_3"),
        (31, "Q4_0_4_4"),
        (32, "Q4_0_4_8"),
        (33, "Q4_0_8_8"),
        (202, "Q4_0_R8"),
        (208, "Q8_0_R8"),
        (214, "Q6_K_R4"),
        (230, "BF16_R16"),
        (338, "IQ3_K_R4"),
        (339, "IQ4_K_R4"),
        (344, "IQ4_KS_R4"),
        (399, "Q8_K_R8"),
    ];
    for (id, name) in named {
        refused_when(
            |draft| draft.record("output.weight").type_id = id,
            &format!("tensor output.weight: type {name} (id {id})"),
        );
    }
}

#[test]
fn rows_that_are_no_whole_blocks_are_refused_though_the_count_is_whole() {
    // 16 × 4 weights are two blocks of 32, but no row is a whole one.
    let error = refused_when(
        |draft| {
            let record = draft.record("output.weight");
            (record.type_id, record.shape) = (8, vec![16, 4]);
        },
        "no whole number of Q8_0 blocks",
    );
    assert!(matches!(error, Error::PartialBlock { .. }), "{error}");
}

#[test]
fn names_that_would_be_cut_to_the_same_name_are_refused() {
    let long = "x".repeat(64);
    refused_when(
        |draft| draft.record("output.weight").name = long.into_bytes(),
        "a name of 64 bytes",
    );
}

#[test]
fn a_name_may_hold_any_character_but_stays_a_name() {
    // Nothing is ever done with a name but comparing and printing it.
    let mut draft = model();
    draft.record("output.weight").name = b"../../etc/passwd\0\x1b[31m".to_vec();
    let gguf = read(draft.to_bytes()).expect("a name is a name");
    assert!(gguf.tensor("../../etc/passwd\0\x1b[31m").is_some());
}
