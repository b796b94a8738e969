//! Tensor records.

use perigee_gguf::{Error, Gguf, Writer};
use perigee_quant::QuantKind;

use crate::builder::{F32, FILE, Q8_0, RawFile, assert_variant, patch, refused};

#[test]
fn a_tensor_name_has_1_to_63_bytes() {
    let empty = RawFile::new().tensor(b"", &[1], F32, 0).data(4);
    let error = empty.refused("tensor 0 has a name of 0 bytes");
    assert_variant!(error, Error::TensorNameLength { len: 0, .. });
    let long = RawFile::new().tensor(&[b'w'; 64], &[1], F32, 0).data(4);
    let error = long.refused("tensor 0 has a name of 64 bytes");
    assert_variant!(error, Error::TensorNameLength { len: 64, .. });
    let longest = RawFile::new().tensor(&[b'w'; 63], &[1], F32, 0).data(4);
    Gguf::from_vec(FILE, longest.bytes()).expect("63 bytes are allowed");
}

#[test]
fn a_tensor_name_that_is_not_utf_8_is_refused() {
    let file = RawFile::new().tensor(b"w\xFF", &[1], F32, 0).data(4);
    let error = file.refused("tensor 0");
    assert_variant!(error, Error::TensorNameNotUtf8 { index: 0, .. });
}

#[test]
fn a_tensor_name_that_occurs_twice_is_refused() {
    let mut writer = Writer::new();
    writer
        .tensor("blk.0.a", QuantKind::F32, &[8], vec![0; 32])
        .tensor("blk.0.b", QuantKind::F32, &[8], vec![0; 32]);
    let mut bytes = writer.to_bytes();
    patch(&mut bytes, b"blk.0.b", b"blk.0.a");
    let error = refused(bytes, "tensor blk.0.a");
    assert_variant!(error, Error::DuplicateTensor { .. });
}

#[test]
fn a_tensor_has_1_to_4_dimensions() {
    for shape in [&[][..], &[1, 1, 1, 1, 1]] {
        let file = RawFile::new().tensor(b"w", shape, F32, 0).data(4);
        let error = file.refused("tensor w");
        assert_variant!(error, Error::Dimensions { n_dims, .. } if *n_dims as usize == shape.len());
    }
}

#[test]
fn a_dimension_of_zero_is_refused() {
    let file = RawFile::new().tensor(b"w", &[4, 0], F32, 0);
    assert_variant!(
        file.refused("tensor w: shape [4, 0]"),
        Error::ZeroDimension { .. }
    );
}

#[test]
fn a_tensor_larger_than_any_memory_is_refused() {
    let shapes: [&[u64]; 5] = [
        &[1 << 63],
        &[1 << 62, 1],
        &[1 << 32, 1 << 32],
        &[1, 1 << 32, 1 << 32],
        &[1 << 20, 1 << 20, 1 << 21, 1],
    ];
    for shape in shapes {
        let file = RawFile::new().tensor(b"w", shape, F32, 0);
        assert_variant!(file.refused("tensor w"), Error::Overflow { .. });
    }
}

#[test]
fn a_type_that_this_build_cannot_decode_is_named() {
    let file = RawFile::new().tensor(b"w", &[256], 15, 0).data(256);
    let error = file.refused("tensor w: type Q8_K (id 15)");
    assert_variant!(error, Error::UnsupportedType { id: 15, .. });
    let file = RawFile::new().tensor(b"w", &[256], 54_321, 0).data(256);
    let error = file.refused("tensor w: type unknown (id 54321)");
    assert_variant!(error, Error::UnsupportedType { id: 54_321, .. });
}

#[test]
fn rows_that_are_no_whole_number_of_blocks_are_refused() {
    let file = RawFile::new().tensor(b"w", &[33, 2], Q8_0, 0).data(136);
    let error = file.refused("tensor w: rows of 33 weights");
    assert_variant!(
        error,
        Error::PartialBlock {
            row_len: 33,
            block_len: 32,
            ..
        }
    );
}

#[test]
fn an_offset_that_is_not_a_multiple_of_the_alignment_is_refused() {
    let file = RawFile::new().tensor(b"w", &[1], F32, 16).data(64);
    let error = file.refused("tensor w: offset 16");
    assert_variant!(
        error,
        Error::Unaligned {
            offset: 16,
            alignment: 32,
            ..
        }
    );
}

#[test]
fn the_alignment_of_the_file_is_what_offsets_are_checked_against() {
    let file = RawFile::new().u32("general.alignment", 64);
    let file = file.tensor(b"w", &[1], F32, 32).data(128);
    assert_variant!(
        file.refused("tensor w"),
        Error::Unaligned { alignment: 64, .. }
    );
}

#[test]
fn a_tensor_that_ends_beyond_the_file_is_refused() {
    let fits = RawFile::new().tensor(b"w", &[8], F32, 32).data(64);
    Gguf::from_vec(FILE, fits.bytes()).expect("it ends where the file ends");
    let short = RawFile::new().tensor(b"w", &[8], F32, 32).data(63);
    assert_variant!(short.refused("tensor w"), Error::OutOfBounds { .. });
    let far = RawFile::new()
        .tensor(b"w", &[8], F32, u64::MAX - 31)
        .data(63);
    assert_variant!(far.refused("tensor w"), Error::OutOfBounds { .. });
}

#[test]
fn a_file_without_its_data_section_is_refused() {
    let mut writer = Writer::new();
    writer.tensor("w", QuantKind::F32, &[8, 2], vec![0; 64]);
    let mut bytes = writer.to_bytes();
    bytes.truncate(bytes.len() - 1);
    assert_variant!(refused(bytes, "tensor w"), Error::OutOfBounds { .. });
}

#[test]
fn tensors_that_share_bytes_are_refused() {
    let file = RawFile::new()
        .tensor(b"low", &[9], F32, 0)
        .tensor(b"high", &[8], F32, 32)
        .data(96);
    let error = file.refused("tensors low and high overlap");
    assert_variant!(error, Error::Overlap { .. });
}

#[test]
fn tensors_may_lie_in_another_order_and_leave_gaps() {
    let file = RawFile::new()
        .tensor(b"high", &[8], F32, 96)
        .tensor(b"low", &[8], F32, 0)
        .data(128);
    let gguf = Gguf::from_vec(FILE, file.bytes()).expect("nothing overlaps");
    let names: Vec<&str> = gguf.tensors().iter().map(|t| t.name.as_str()).collect();
    assert_eq!(names, ["high", "low"]);
    assert!(gguf.tensors()[0].offset > gguf.tensors()[1].offset);
}
