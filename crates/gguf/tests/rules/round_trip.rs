//! What the writer writes, the reader reads.

use perigee_gguf::{Gguf, Value, Writer};
use perigee_quant::QuantKind;

use crate::builder::FILE;

/// Bytes that differ from place to place.
pub(crate) fn pattern(n: usize, seed: u8) -> Vec<u8> {
    (0..n)
        .map(|i| (i as u8).wrapping_mul(31).wrapping_add(seed))
        .collect()
}

/// One key of every value type, alone and in arrays.
pub(crate) fn values() -> Vec<(String, Value)> {
    let scalars = [
        ("u8", Value::U8(u8::MAX)),
        ("i8", Value::I8(i8::MIN)),
        ("u16", Value::U16(u16::MAX)),
        ("i16", Value::I16(i16::MIN)),
        ("u32", Value::U32(u32::MAX)),
        ("i32", Value::I32(i32::MIN)),
        ("u64", Value::U64(u64::MAX)),
        ("i64", Value::I64(i64::MIN)),
        ("f32", Value::F32(-1.5e-42)),
        ("f64", Value::F64(f64::MAX)),
        ("bool", Value::Bool(true)),
        ("str", Value::Str(b"not \xFF UTF-8".to_vec())),
    ];
    let mut values = Vec::new();
    for (name, value) in scalars {
        let list = Value::array([value.clone(), value.clone(), value.clone()]);
        values.push((format!("scalar.{name}"), value));
        values.push((format!("array.{name}"), list));
    }
    values.push(("array.empty".to_owned(), Value::array([])));
    values.push(("str.empty".to_owned(), Value::from("")));
    values.push(("f32.infinite".to_owned(), Value::F32(f32::INFINITY)));
    values
}

#[test]
fn every_value_type_survives_alone_and_in_arrays() {
    let mut writer = Writer::new();
    for (key, value) in values() {
        writer.metadata(&key, value);
    }
    let gguf = Gguf::from_vec(FILE, writer.to_bytes()).expect("the writer's own file is valid");
    let read: Vec<(String, Value)> = gguf
        .metadata()
        .iter()
        .map(|(key, value)| (key.to_owned(), value.clone()))
        .collect();
    assert_eq!(read, values());
}

#[test]
fn tensors_of_every_kind_and_rank_survive() {
    let shapes: [&[u64]; 4] = [&[256], &[512, 3], &[256, 2, 5], &[256, 1, 2, 3]];
    let mut writer = Writer::new();
    let mut written = Vec::new();
    for &kind in QuantKind::ALL {
        for (rank, shape) in (1..).zip(shapes) {
            let row = kind.row_bytes(shape[0] as usize).expect("whole blocks");
            let rows: u64 = shape[1..].iter().product();
            let bytes = pattern(row * rows as usize, rank);
            let name = format!("{}.{rank}", kind.name());
            writer.tensor(&name, kind, shape, bytes.clone());
            written.push((name, kind, shape.to_vec(), bytes));
        }
    }
    let gguf = Gguf::from_vec(FILE, writer.to_bytes()).expect("the writer's own file is valid");
    assert_eq!(gguf.tensors().len(), written.len());
    for (tensor, (name, kind, shape, bytes)) in gguf.tensors().iter().zip(&written) {
        assert_eq!(
            (&tensor.name, tensor.kind, &tensor.shape, tensor.shard),
            (name, *kind, shape, 0)
        );
        assert_eq!(gguf.bytes(tensor), bytes);
        assert_eq!(tensor.offset % 32, 0);
        assert_eq!(gguf.tensor(name).expect("by name").offset, tensor.offset);
    }
    assert!(gguf.tensor("absent").is_none());
}

#[test]
fn a_large_alignment_is_written_and_read() {
    for alignment in [1_u32, 64, 4096, 2 << 20] {
        let mut writer = Writer::new();
        writer
            .metadata("general.alignment", Value::U32(alignment))
            .tensor("a", QuantKind::F32, &[3], pattern(12, 1))
            .tensor("b", QuantKind::Q8_0, &[32], pattern(34, 2));
        let gguf = Gguf::from_vec(FILE, writer.to_bytes()).expect("a valid alignment");
        for (tensor, bytes) in gguf.tensors().iter().zip([pattern(12, 1), pattern(34, 2)]) {
            assert_eq!(tensor.offset % u64::from(alignment), 0);
            assert_eq!(gguf.bytes(tensor), bytes);
        }
    }
}

#[test]
fn a_file_on_disk_equals_the_file_in_memory() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("model.gguf");
    let mut writer = Writer::new();
    writer
        .metadata("key", Value::U32(7))
        .tensor("w", QuantKind::F32, &[4, 2], pattern(32, 3));
    writer.write(&path).expect("the folder is writable");
    assert_eq!(
        std::fs::read(&path).expect("it was written"),
        writer.to_bytes()
    );
    let left: Vec<_> = std::fs::read_dir(folder.path())
        .expect("it is there")
        .collect();
    assert_eq!(left.len(), 1, "the temporary name is gone");

    let gguf = Gguf::open(&path).expect("the writer's own file is valid");
    assert_eq!(gguf.paths(), [path.as_path()]);
    assert_eq!(gguf.file_bytes(), writer.to_bytes().len() as u64);
    assert_eq!(gguf.bytes(&gguf.tensors()[0]), pattern(32, 3));
    assert_eq!(gguf.metadata().file(), path.display().to_string());
}

#[test]
fn a_file_that_cannot_be_written_leaves_nothing_behind() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("model.gguf");
    // A folder of that name makes the last step, the renaming, fail.
    std::fs::create_dir_all(path.join("occupied")).expect("the folder is writable");
    Writer::new().write(&path).expect_err("the name is taken");
    let left: Vec<_> = std::fs::read_dir(folder.path())
        .expect("it is there")
        .collect();
    assert_eq!(left.len(), 1, "only the folder is there");
}

#[test]
fn static_bytes_are_read_in_place() {
    let mut writer = Writer::new();
    writer.tensor("w", QuantKind::F32, &[4], pattern(16, 5));
    let bytes: &'static [u8] = writer.to_bytes().leak();
    let gguf = Gguf::from_bytes(FILE, bytes).expect("the writer's own file is valid");
    assert!(
        bytes
            .as_ptr_range()
            .contains(&gguf.bytes(&gguf.tensors()[0]).as_ptr())
    );
}
