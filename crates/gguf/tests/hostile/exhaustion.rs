//! Files that are true but too much: the reader's memory and time stay bounded whatever the
//! length of a file, also where a sparse file of gigabytes costs its sender nothing.

use std::fs::File;
use std::io::Write;

use perigee_gguf::{Error, Gguf};
use perigee_testkit::hostile::{ARRAY, Draft, STRING, array, string};
use tempfile::TempDir;

use crate::budget::measured;
use crate::verdict::{model, open, read, refused, refused_path};

/// `head`, then zeros up to `len` bytes, without room on the disk.
fn sparse(head: &[u8], len: u64) -> (TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("model.gguf");
    let mut file = File::create(&path).expect("the folder is writable");
    file.write_all(head).expect("a few bytes fit");
    file.set_len(len).expect("a sparse file");
    (folder, path)
}

fn empty() -> Draft {
    let mut draft = model();
    (draft.entries, draft.records, draft.data) = (Vec::new(), Vec::new(), [].into());
    draft
}

#[test]
fn a_sparse_terabyte_of_claimed_tensors_is_refused() {
    let mut draft = empty();
    for n in [65_536, 65_537, 1 << 32, u64::MAX] {
        draft.n_tensors = Some(n);
        let (_folder, path) = sparse(&draft.to_bytes(), 1 << 40);
        refused_path(&path, "tensor");
    }
}

#[test]
fn a_sparse_terabyte_of_claimed_entries_is_refused() {
    let mut draft = empty();
    for n in [65_536, 65_537, 1 << 32, u64::MAX] {
        draft.n_entries = Some(n);
        let (_folder, path) = sparse(&draft.to_bytes(), 1 << 40);
        refused_path(&path, "metadata");
    }
}

#[test]
fn arrays_of_zeros_in_a_sparse_file_stay_within_the_budget() {
    const COUNT: u64 = 1 << 21;
    for element in [0, 7, STRING, 4, 12] {
        let mut draft = empty();
        draft.n_entries = Some(1000);
        draft.add("list", ARRAY, &array(element, COUNT, &[]));
        // Behind the header the file is all zeros: elements, then an empty key.
        let (_folder, path) = sparse(&draft.to_bytes(), 1 << 40);
        refused_path(&path, "empty key");
    }
}

#[test]
fn arrays_take_no_more_memory_than_in_the_file() {
    const COUNT: usize = 1 << 21;
    let strings: Vec<u8> = (0..160_000_u32)
        .flat_map(|i| string(format!("{i}").as_bytes()))
        .collect();
    for (element, count, elements) in [
        (0, COUNT, vec![0; COUNT]),
        (7, COUNT, vec![1; COUNT]),
        (5, COUNT / 4, vec![0; COUNT]),
        (12, COUNT / 8, vec![0; COUNT]),
        (STRING, COUNT / 8, vec![0; COUNT]),
        (STRING, 160_000, strings),
    ] {
        let mut draft = empty();
        draft.add("list", ARRAY, &array(element, count as u64, &elements));
        let bytes = draft.to_bytes();
        let len = bytes.len() as isize;
        let (gguf, peak, _) = measured(|| Gguf::from_vec("model.gguf", bytes));
        gguf.expect("a long list is a list");
        assert!(peak < len + 4096, "type {element}: {peak} bytes for {len}");
    }
}

#[test]
fn many_large_arrays_are_refused_before_they_fill_memory() {
    const COUNT: usize = 1 << 21;
    for (element, size) in [(0, 1), (STRING, 8), (4, 4), (10, 8)] {
        let mut draft = empty();
        let list = array(element, COUNT as u64, &vec![0; COUNT * size]);
        for i in 0..(160 << 20) / list.len() {
            draft.add(&format!("list.{i}"), ARRAY, &list);
        }
        let error = refused(&draft, "metadata");
        assert!(matches!(error, Error::TooMany { .. }), "{error}");
    }
}

#[test]
fn many_long_strings_are_refused_before_they_fill_memory() {
    let mut draft = empty();
    let text = string(&vec![b'x'; 16 << 20]);
    for i in 0..8 {
        draft.add(&format!("text.{i}"), STRING, &text);
    }
    refused(&draft, "metadata");
}

#[test]
fn more_entries_than_any_file_has_are_refused() {
    let mut draft = empty();
    for i in 0..1_000_000 {
        draft.add(&format!("{i:x}"), 0, &[1]);
    }
    refused(&draft, "metadata entries");
}

#[test]
fn as_many_entries_and_tensors_as_allowed_are_read_in_time() {
    let mut draft = empty();
    for i in 0..4096 {
        draft.add(&format!("key.{i}"), 0, &[1]);
    }
    many_tensors(&mut draft, 65_536, "");
    let gguf = read(draft.to_bytes()).expect("at the limits, but true");
    assert_eq!(gguf.tensors().len(), 65_536);
}

#[test]
fn metadata_and_tensors_at_their_limits_fit_the_budget_together() {
    let mut draft = empty();
    for i in 0..31 {
        let text = string(&vec![b'x'; 1 << 20]);
        draft.add(&format!("text.{i}"), STRING, &text);
    }
    many_tensors(&mut draft, 65_536, "");
    read(draft.to_bytes()).expect("at the limits, but true");
}

#[test]
fn shards_may_not_hold_more_tensors_together_than_one_file_may() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for number in 0..3_u16 {
        let mut draft = empty();
        draft.add("split.no", 2, &number.to_le_bytes());
        draft.add("split.count", 2, &3_u16.to_le_bytes());
        many_tensors(&mut draft, 30_000, &format!("{number}"));
        let path = folder
            .path()
            .join(format!("m-{:05}-of-00003.gguf", number + 1));
        std::fs::write(path, draft.to_bytes()).expect("the folder is writable");
    }
    let first = folder.path().join("m-00001-of-00003.gguf");
    let error = refused_path(&first, "90000 tensors in all shards");
    assert!(matches!(error, Error::TooMany { .. }), "{error}");
}

/// Adds tensors with the longest names and the most dimensions.
fn many_tensors(draft: &mut Draft, n: u64, prefix: &str) {
    let record = model().records[0].clone();
    for i in 0..n {
        let mut record = record.clone();
        record.name = format!("{prefix}{i:0>62}").into_bytes();
        (record.shape, record.type_id, record.offset) = (vec![1; 4], 0, i * 32);
        draft.records.push(record);
    }
    draft.data = vec![0; n as usize * 32].into();
}

#[test]
fn a_sparse_terabyte_that_is_true_opens_at_once() {
    let mut draft = empty();
    let mut record = model().records[0].clone();
    (record.shape, record.type_id, record.offset) = (vec![1 << 30, 1 << 7], 0, 0);
    draft.records.push(record);
    let (_folder, path) = sparse(&draft.to_bytes(), 1 << 40);
    open(&path).expect("nothing in it is wrong");
}
