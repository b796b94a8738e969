//! Files that are damaged at random or by intent: an error or a model, never a panic.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::time::{Duration, Instant};

use perigee_gguf::{Gguf, Value, Writer};
use perigee_quant::QuantKind;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::allocation::requested;
use crate::builder::{F32, FILE, RawFile};
use crate::round_trip::{pattern, values};

/// A small file with every value type and several tensors.
fn small() -> Vec<u8> {
    let mut writer = Writer::new();
    for (key, value) in values() {
        writer.metadata(&key, value);
    }
    writer
        .metadata("general.alignment", Value::U32(32))
        .tensor("a", QuantKind::F32, &[8, 2], pattern(64, 1))
        .tensor("b", QuantKind::Q8_0, &[32, 2, 2], pattern(136, 2))
        .tensor("c", QuantKind::F16, &[4], pattern(8, 3));
    writer.to_bytes()
}

/// Opens and touches everything that the file describes.
fn exercise(bytes: Vec<u8>) {
    let len = bytes.len();
    let n = requested(|| {
        let Ok(gguf) = Gguf::from_vec(FILE, bytes) else {
            return;
        };
        for tensor in gguf.tensors() {
            assert_eq!(gguf.bytes(tensor).len(), tensor.n_bytes);
        }
        for (key, _) in gguf.metadata().iter() {
            // Whether a value has the type is for its reader to decide; asking must not panic.
            let _ = gguf.metadata().u32s(key);
            let _ = gguf.metadata().byte_strings(key);
            let _ = gguf.metadata().f32(key);
        }
    });
    assert!(n < 128 * len + 65_536, "{n} bytes for a file of {len}");
}

#[test]
fn a_file_cut_at_any_byte_is_refused_without_a_panic() {
    let bytes = small();
    // The last tensor is padded to the alignment; only padding may be missing.
    let end = bytes.len() - 24;
    Gguf::from_vec(FILE, bytes[..end].to_vec()).expect("only padding is missing");
    for len in 0..end {
        let cut = bytes[..len].to_vec();
        assert!(
            Gguf::from_vec(FILE, cut).is_err(),
            "{len} bytes were enough"
        );
    }
}

#[test]
fn a_file_with_any_byte_replaced_is_read_or_refused() {
    let bytes = small();
    for i in 0..bytes.len() {
        for value in [0x00, 0x01, 0x7F, 0x80, 0xFF] {
            let mut damaged = bytes.clone();
            damaged[i] = value;
            exercise(damaged);
        }
    }
}

#[derive(Clone, Debug)]
enum Mutation {
    Replace(Index, u8),
    Number(Index, u64),
    Remove(Index, usize),
    Insert(Index, Vec<u8>),
    Duplicate(Index, Index),
    Cut(Index),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let number = prop_oneof![
        any::<u64>(),
        0_u64..64,
        Just(u64::MAX),
        Just(1 << 32),
        Just(i64::MAX as u64)
    ];
    prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(i, byte)| Mutation::Replace(i, byte)),
        (any::<Index>(), number).prop_map(|(i, n)| Mutation::Number(i, n)),
        (any::<Index>(), 1_usize..16).prop_map(|(i, n)| Mutation::Remove(i, n)),
        (any::<Index>(), vec(any::<u8>(), 1..16)).prop_map(|(i, bytes)| Mutation::Insert(i, bytes)),
        (any::<Index>(), any::<Index>()).prop_map(|(i, j)| Mutation::Duplicate(i, j)),
        any::<Index>().prop_map(Mutation::Cut),
    ]
}

fn apply(bytes: &mut Vec<u8>, mutation: &Mutation) {
    if bytes.is_empty() {
        return;
    }
    let at = |i: &Index| i.index(bytes.len());
    match mutation {
        Mutation::Replace(i, byte) => {
            let i = at(i);
            bytes[i] = *byte;
        }
        Mutation::Number(i, n) => {
            let i = at(i);
            let end = bytes.len().min(i + 8);
            bytes[i..end].copy_from_slice(&n.to_le_bytes()[..end - i]);
        }
        Mutation::Remove(i, n) => {
            let i = at(i);
            let end = bytes.len().min(i + n);
            bytes.drain(i..end);
        }
        Mutation::Insert(i, inserted) => {
            let i = at(i);
            bytes.splice(i..i, inserted.iter().copied());
        }
        Mutation::Duplicate(i, j) => {
            let (i, j) = (at(i).min(at(j)), at(i).max(at(j)));
            let part = bytes[i..j].to_vec();
            bytes.splice(j..j, part);
        }
        Mutation::Cut(i) => {
            let i = at(i);
            bytes.truncate(i);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_damage_neither_panics_nor_reserves_absurd_memory(mutations in vec(mutation(), 1..6)) {
        let mut bytes = small();
        for mutation in &mutations {
            apply(&mut bytes, mutation);
        }
        exercise(bytes);
    }

    #[test]
    fn random_bytes_after_a_header_neither_panic_nor_reserve_absurd_memory(
        n_tensors in 0_u64..4, n_entries in 0_u64..4, tail in vec(any::<u8>(), 0..256)
    ) {
        let mut bytes = b"GGUF\x03\0\0\0".to_vec();
        bytes.extend_from_slice(&n_tensors.to_le_bytes());
        bytes.extend_from_slice(&n_entries.to_le_bytes());
        bytes.extend_from_slice(&tail);
        exercise(bytes);
    }
}

#[test]
fn a_sparse_file_of_a_gigabyte_opens_at_once() {
    const DATA: u64 = 1 << 30;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("sparse.gguf");
    let header = RawFile::new().tensor(b"w", &[DATA / 4], F32, 0).bytes();
    let mut file = File::create(&path).expect("the folder is writable");
    file.write_all(&header).expect("a few bytes fit");
    file.seek(SeekFrom::Start(header.len() as u64 + DATA - 1))
        .expect("a sparse file");
    file.write_all(&[0x5A]).expect("one byte fits");
    drop(file);

    let started = Instant::now();
    let gguf = Gguf::open(&path).expect("the file is valid");
    assert!(started.elapsed() < Duration::from_secs(1));
    let bytes = gguf.bytes(&gguf.tensors()[0]);
    assert_eq!(bytes.len() as u64, DATA);
    assert_eq!(bytes.last(), Some(&0x5A));
}
