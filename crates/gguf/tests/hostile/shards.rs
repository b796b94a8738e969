//! Split models whose parts are missing, exchanged, linked or of another model.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use perigee_gguf::Error;
use perigee_testkit::Synthetic;
use perigee_testkit::hostile::{Draft, small};
use tempfile::TempDir;

use crate::verdict::{open, refused_path};

/// A model in `n` shards or so, under `prefix`.
fn split_into(folder: &Path, prefix: &str, per_shard: usize) -> Vec<PathBuf> {
    let writer = Synthetic::new(small()).writer();
    let first = writer
        .write_shards(folder, prefix, per_shard)
        .expect("the folder is writable");
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)
        .expect("the folder is there")
        .map(|entry| entry.expect("a file").path())
        .filter(|path| {
            let name = path.file_name().expect("files have names");
            name.to_string_lossy().starts_with(prefix)
        })
        .collect();
    paths.sort();
    assert_eq!(paths[0], first);
    paths
}

fn split() -> (TempDir, Vec<PathBuf>) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let paths = split_into(folder.path(), "m", 8);
    assert!(paths.len() > 3, "{paths:?}");
    open(&paths[0]).expect("whole, the model is valid");
    (folder, paths)
}

/// Rewrites a shard.
fn alter(path: &Path, change: impl FnOnce(&mut Draft)) {
    let mut draft = Draft::of(&fs::read(path).expect("the shard is there"));
    change(&mut draft);
    fs::write(path, draft.to_bytes()).expect("the folder is writable");
}

fn set_u64(path: &Path, key: &str, value: u64) {
    alter(path, |draft| draft.set(key, 10, &value.to_le_bytes()));
}

#[test]
fn a_missing_shard_is_named() {
    for missing in 1..4 {
        let (_folder, paths) = split();
        fs::remove_file(&paths[missing]).expect("it is there");
        let name = paths[missing].display().to_string();
        let error = refused_path(&paths[0], &name);
        assert!(matches!(error, Error::ShardMissing { .. }), "{error}");
    }
}

#[test]
fn shards_behind_links_are_read_where_the_links_lie() {
    // As download caches keep them: names in one folder, contents elsewhere.
    let (_folder, paths) = split();
    let links = tempfile::tempdir().expect("a temporary folder");
    for path in &paths {
        let link = links.path().join(path.file_name().expect("a name"));
        symlink(path, link).expect("the folder is writable");
    }
    let first = links.path().join(paths[0].file_name().expect("a name"));
    open(&first).expect("links are as good as files");
}

#[test]
fn links_that_lead_nowhere_or_in_circles_are_refused() {
    let (_folder, paths) = split();
    fs::remove_file(&paths[1]).expect("it is there");
    symlink("/nonexistent/shard", &paths[1]).expect("the folder is writable");
    refused_path(&paths[0], &paths[1].display().to_string());
    fs::remove_file(&paths[1]).expect("it is there");
    symlink(&paths[1], &paths[1]).expect("the folder is writable");
    refused_path(&paths[0], &paths[1].display().to_string());
}

#[test]
fn the_same_shard_twice_is_refused() {
    let (_folder, paths) = split();
    fs::remove_file(&paths[2]).expect("it is there");
    symlink(&paths[1], &paths[2]).expect("the folder is writable");
    let error = refused_path(&paths[0], "says it is shard 1, its name says 2");
    assert!(matches!(error, Error::ShardNumber { .. }), "{error}");
    // With a forged number its tensors are there twice.
    fs::remove_file(&paths[2]).expect("it is there");
    fs::copy(&paths[1], &paths[2]).expect("the folder is writable");
    set_u64(&paths[2], "split.no", 2);
    refused_path(&paths[0], "");
    alter(&paths[0], |draft| {
        draft
            .entries
            .retain(|entry| entry.key != b"split.tensors.count");
    });
    let error = refused_path(&paths[0], "the name occurs twice");
    assert!(matches!(error, Error::DuplicateTensor { .. }), "{error}");
}

#[test]
fn the_first_shard_in_the_place_of_another_is_refused() {
    let (_folder, paths) = split();
    fs::copy(&paths[0], &paths[3]).expect("the folder is writable");
    refused_path(&paths[0], "says it is shard 0, its name says 3");
}

#[test]
fn wrong_numbers_counts_and_totals_are_refused() {
    for (shard, key, value) in [
        (0, "split.no", 1),
        (0, "split.no", u64::MAX),
        (1, "split.no", 0),
        (1, "split.no", 2),
        (1, "split.no", 65_537),
        (0, "split.count", 3),
        (0, "split.count", 513),
        (0, "split.count", u64::MAX),
        (1, "split.count", 0),
        (1, "split.count", 1),
        (1, "split.count", 3),
        (1, "split.count", 65_536),
        (0, "split.tensors.count", 0),
        (0, "split.tensors.count", 1),
        (0, "split.tensors.count", u64::MAX),
        (1, "split.tensors.count", 1),
    ] {
        let (_folder, paths) = split();
        set_u64(&paths[shard], key, value);
        refused_path(&paths[0], &paths[shard].display().to_string());
    }
}

#[test]
fn negative_counts_are_refused() {
    for (shard, key) in [
        (0, "split.count"),
        (0, "split.no"),
        (0, "split.tensors.count"),
        (2, "split.no"),
        (2, "split.count"),
    ] {
        let (_folder, paths) = split();
        alter(&paths[shard], |draft| {
            draft.set(key, 5, &(-1_i32).to_le_bytes())
        });
        refused_path(&paths[0], "-1");
    }
}

#[test]
fn a_shard_of_another_model_is_refused() {
    let (folder, paths) = split();
    // As many shards, cut elsewhere: the total is another one or tensors are there twice.
    let others = split_into(folder.path(), "other", 9);
    fs::copy(&others[1], &paths[1]).expect("the folder is writable");
    refused_path(&paths[0], "");
    // The same total, the same count, one tensor more here and one less there.
    let (_folder, paths) = split();
    alter(&paths[2], |draft| {
        draft.records[0].name = b"blk.0.attn_norm.weight".to_vec();
    });
    refused_path(&paths[0], "the name occurs twice");
}

#[test]
fn shards_that_are_no_model_files_are_refused() {
    for contents in [&b""[..], b"GGUF", &[0; 4096]] {
        let (_folder, paths) = split();
        fs::write(&paths[1], contents).expect("the folder is writable");
        refused_path(&paths[0], &paths[1].display().to_string());
    }
    let (_folder, paths) = split();
    fs::remove_file(&paths[1]).expect("it is there");
    fs::create_dir(&paths[1]).expect("the folder is writable");
    refused_path(&paths[0], &paths[1].display().to_string());
}

#[test]
fn each_shard_is_measured_by_its_own_length_and_alignment() {
    let (_folder, paths) = split();
    let whole = fs::read(&paths[1]).expect("it is there");
    // The other shards have bytes enough at these offsets.
    fs::write(&paths[1], &whole[..whole.len() - 64]).expect("the folder is writable");
    let error = refused_path(&paths[0], &paths[1].display().to_string());
    assert!(matches!(error, Error::OutOfBounds { .. }), "{error}");
    fs::write(&paths[1], &whole).expect("the folder is writable");
    set_u64(&paths[1], "general.alignment", 4096);
    refused_path(&paths[0], "alignment 4096");
}
