//! Files written piece by piece.

use std::fs;
use std::path::Path;

use perigee_gguf::{Declared, Stream, Value, Writer};
use perigee_quant::QuantKind;

use crate::round_trip::pattern;

fn declared() -> Vec<Declared> {
    let tensor = |name: &str, kind, shape: &[u64]| Declared {
        name: name.to_owned(),
        kind,
        shape: shape.to_vec(),
    };
    vec![
        tensor("a", QuantKind::F32, &[5]),
        tensor("b", QuantKind::Q4_0, &[64, 3, 2]),
        tensor("c", QuantKind::Q8_0, &[32]),
    ]
}

fn bytes(tensor: &Declared) -> Vec<u8> {
    pattern(
        tensor.n_bytes().unwrap() as usize,
        tensor.name.as_bytes()[0],
    )
}

fn entries() -> Vec<(String, Value)> {
    vec![("general.name".to_owned(), Value::from("streamed"))]
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[test]
fn pieces_add_up_to_the_file_that_the_writer_writes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.gguf");
    let mut stream = Stream::create(&path, &entries(), &declared()).unwrap();
    let mut writer = Writer::new();
    writer.metadata("general.name", Value::from("streamed"));
    for tensor in declared() {
        for piece in bytes(&tensor).chunks(7) {
            stream.write(piece).unwrap();
        }
        writer.tensor(&tensor.name, tensor.kind, &tensor.shape, bytes(&tensor));
    }
    assert_eq!(names(folder.path()), ["m.gguf.part"]);
    stream.finish().unwrap();
    assert_eq!(names(folder.path()), ["m.gguf"]);
    assert_eq!(fs::read(&path).unwrap(), writer.to_bytes());
}

#[test]
fn a_stream_that_is_not_finished_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.gguf");
    let mut stream = Stream::create(&path, &entries(), &declared()).unwrap();
    let error = stream.write(&[0; 21]).unwrap_err().to_string();
    assert_eq!(error, "21 bytes for tensor a, which lacks 20");
    stream.write(&[0; 20]).unwrap();
    let error = stream.finish().unwrap_err().to_string();
    assert_eq!(error, "tensor b lacks 216 bytes");
    assert!(names(folder.path()).is_empty());
}

#[test]
fn tensors_without_a_size_or_a_name_are_refused_before_a_file_exists() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.gguf");
    for (name, shape) in [
        ("a", vec![33]),
        ("a", vec![]),
        ("a", vec![32, u64::MAX, u64::MAX]),
        ("", vec![32]),
        (&"n".repeat(64), vec![32]),
    ] {
        let (name, kind) = (name.to_owned(), QuantKind::Q8_0);
        let tensors = [Declared { name, kind, shape }];
        assert!(Stream::create(&path, &[], &tensors).is_err());
    }
    assert!(names(folder.path()).is_empty());
}
