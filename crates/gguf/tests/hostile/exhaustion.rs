//! Files that are true but too much: the reader's memory and time stay bounded whatever the
//! length of a file, also where a sparse file of gigabytes costs its sender nothing.

use std::fs::File;
use std::io::Write;

use perigee_gguf::Error;
use perigee_testkit::hostile::{ARRAY, Draft, STRING, array};
use tempfile::TempDir;

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
    let text = perigee_testkit::hostile::string(&vec![b'x'; 16 << 20]);
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
    let record = model().records[0].clone();
    for i in 0..4096 {
        draft.add(&format!("key.{i}"), 0, &[1]);
    }
    for i in 0..65_536 {
        let mut record = record.clone();
        record.name = format!("tensor.{i}").into_bytes();
        (record.shape, record.type_id, record.offset) = (vec![1], 0, i * 32);
        draft.records.push(record);
    }
    draft.data = vec![0; 65_536 * 32].into();
    let gguf = read(draft.to_bytes()).expect("at the limits, but true");
    assert_eq!(gguf.tensors().len(), 65_536);
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
