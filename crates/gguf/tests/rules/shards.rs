//! Split models.

use std::fs;
use std::path::{Path, PathBuf};

use perigee_gguf::{Error, Gguf, Value, Writer};
use perigee_quant::QuantKind;
use tempfile::TempDir;

use crate::builder::{assert_names, assert_variant};
use crate::round_trip::pattern;

fn model() -> Writer {
    let mut writer = Writer::new();
    writer.metadata("general.name", Value::from("split"));
    for i in 0..5_u8 {
        writer.tensor(&format!("t{i}"), QuantKind::F32, &[8, 2], pattern(64, i));
    }
    writer
}

/// Five tensors in three shards.
fn three_shards() -> (TempDir, Vec<PathBuf>) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let first = model()
        .write_shards(folder.path(), "m", 2)
        .expect("the folder is writable");
    let paths: Vec<PathBuf> = (1..=3)
        .map(|number| folder.path().join(format!("m-{number:05}-of-00003.gguf")))
        .collect();
    assert_eq!(first, paths[0]);
    (folder, paths)
}

fn shard(no: u64, count: u64, total: Option<i32>, tensor: &str) -> Writer {
    let mut writer = Writer::new();
    writer
        .metadata("split.no", Value::U64(no))
        .metadata("split.count", Value::U64(count));
    if let Some(total) = total {
        writer.metadata("split.tensors.count", Value::I32(total));
    }
    writer.tensor(tensor, QuantKind::F32, &[8], vec![0; 32]);
    writer
}

fn refused(path: &Path) -> Error {
    match Gguf::open(path) {
        Ok(_) => panic!("{} was accepted", path.display()),
        Err(error) => error,
    }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

#[test]
fn a_split_model_opens_by_any_of_its_shards() {
    let (_folder, paths) = three_shards();
    for path in &paths {
        let gguf = Gguf::open(path).expect("all shards are there");
        assert_eq!(gguf.paths(), paths);
        let name = gguf.metadata().str("general.name").expect("a string");
        assert_eq!(
            name,
            Some("split"),
            "the metadata are those of the first shard"
        );
        let shards: Vec<usize> = gguf.tensors().iter().map(|tensor| tensor.shard).collect();
        assert_eq!(shards, [0, 0, 1, 1, 2]);
        for (i, tensor) in (0..).zip(gguf.tensors()) {
            assert_eq!(tensor.name, format!("t{i}"));
            assert_eq!(gguf.bytes(tensor), pattern(64, i));
        }
        let sizes = paths
            .iter()
            .map(|path| fs::metadata(path).expect("a file").len());
        assert_eq!(gguf.file_bytes(), sizes.sum::<u64>());
    }
}

#[test]
fn the_first_shard_may_hold_no_tensor() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let first = model()
        .write_shards_after_empty(folder.path(), "m", 3)
        .expect("the folder is writable");
    let gguf = Gguf::open(&first).expect("all shards are there");
    let shards: Vec<usize> = gguf.tensors().iter().map(|tensor| tensor.shard).collect();
    assert_eq!(shards, [1, 1, 1, 2, 2]);
    assert_eq!(gguf.bytes(&gguf.tensors()[4]), pattern(64, 4));
}

#[test]
fn a_split_count_of_one_is_a_single_file_under_any_name() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("any.gguf");
    shard(0, 1, Some(1), "w")
        .write(&path)
        .expect("the folder is writable");
    assert_eq!(Gguf::open(&path).expect("a whole model").tensors().len(), 1);
}

#[test]
fn a_missing_shard_is_named() {
    let (_folder, paths) = three_shards();
    fs::remove_file(&paths[1]).expect("it was there");
    for present in [&paths[0], &paths[2]] {
        let error = refused(present);
        assert_names(&error, &text(&paths[1]), "missing");
        assert_variant!(error, Error::ShardMissing { path } if *path == paths[1]);
    }
}

#[test]
fn shards_that_changed_their_names_are_refused() {
    let (folder, paths) = three_shards();
    let aside = folder.path().join("aside");
    fs::rename(&paths[1], &aside).expect("it is there");
    fs::rename(&paths[2], &paths[1]).expect("it is there");
    fs::rename(&aside, &paths[2]).expect("it is there");
    let error = refused(&paths[0]);
    assert_names(
        &error,
        &text(&paths[1]),
        "says it is shard 2, its name says 1",
    );
    assert_variant!(
        error,
        Error::ShardNumber {
            expected: 1,
            found: 2,
            ..
        }
    );
    let error = refused(&paths[1]);
    assert_names(&error, &text(&paths[1]), "-00003-of-00003.gguf");
    assert_variant!(
        error,
        Error::ShardName {
            number: 3,
            count: 3,
            ..
        }
    );
}

#[test]
fn a_shard_under_another_name_is_refused() {
    let (folder, paths) = three_shards();
    let renamed = folder.path().join("model.gguf");
    fs::rename(&paths[0], &renamed).expect("it is there");
    let error = refused(&renamed);
    assert_names(&error, &text(&renamed), "-00001-of-00003.gguf");
    assert_variant!(
        error,
        Error::ShardName {
            number: 1,
            count: 3,
            ..
        }
    );
}

#[test]
fn a_shard_of_another_model_is_refused() {
    let (_folder, paths) = three_shards();
    shard(1, 4, None, "x")
        .write(&paths[1])
        .expect("the folder is writable");
    let error = refused(&paths[0]);
    assert_names(&error, &text(&paths[1]), "a model of 4 shards");
    assert_variant!(
        error,
        Error::ShardCountDiffers {
            expected: 3,
            found: 4,
            ..
        }
    );
}

#[test]
fn a_whole_model_in_the_place_of_a_shard_is_refused() {
    let (_folder, paths) = three_shards();
    model().write(&paths[2]).expect("the folder is writable");
    let error = refused(&paths[0]);
    assert_names(&error, &text(&paths[2]), "a model of 1 shards");
    assert_variant!(
        error,
        Error::ShardCountDiffers {
            expected: 3,
            found: 1,
            ..
        }
    );
}

#[test]
fn shards_must_add_up_to_the_stated_number_of_tensors() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let paths = [1, 2].map(|i| folder.path().join(format!("m-{i:05}-of-00002.gguf")));
    shard(0, 2, Some(3), "a")
        .write(&paths[0])
        .expect("the folder is writable");
    shard(1, 2, None, "b")
        .write(&paths[1])
        .expect("the folder is writable");
    let error = refused(&paths[1]);
    assert_names(
        &error,
        &text(&paths[0]),
        "says 3 tensors, the shards hold 2",
    );
    assert_variant!(
        error,
        Error::TensorCount {
            expected: 3,
            found: 2,
            ..
        }
    );
    shard(0, 2, None, "a")
        .write(&paths[0])
        .expect("the folder is writable");
    Gguf::open(&paths[0]).expect("without a stated number there is nothing to contradict");
}

#[test]
fn a_tensor_in_two_shards_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let paths = [1, 2].map(|i| folder.path().join(format!("m-{i:05}-of-00002.gguf")));
    shard(0, 2, Some(2), "twin")
        .write(&paths[0])
        .expect("the folder is writable");
    shard(1, 2, None, "twin")
        .write(&paths[1])
        .expect("the folder is writable");
    let error = refused(&paths[0]);
    assert_names(&error, &text(&paths[1]), "tensor twin");
    assert_variant!(error, Error::DuplicateTensor { .. });
}

#[test]
fn more_than_512_shards_are_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("m-00001-of-00513.gguf");
    for count in [513, u64::from(u16::MAX) + 3, u64::MAX] {
        shard(0, count, None, "w")
            .write(&path)
            .expect("the folder is writable");
        let error = refused(&path);
        assert_names(&error, &text(&path), &format!("split.count is {count}"));
        assert_variant!(error, Error::ShardCount { found, .. } if *found == count);
    }
}

#[test]
fn a_shard_number_beyond_the_count_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("m-00001-of-00002.gguf");
    for number in [2, u64::MAX] {
        shard(number, 2, None, "w")
            .write(&path)
            .expect("the folder is writable");
        let error = refused(&path);
        assert_names(&error, &text(&path), &format!("\"split.no\" is {number}"));
        assert_variant!(error, Error::OutOfRange { .. });
    }
}

#[test]
fn a_broken_shard_is_named_by_its_own_path() {
    let (_folder, paths) = three_shards();
    let bytes = fs::read(&paths[2]).expect("it is there");
    fs::write(&paths[2], &bytes[..bytes.len() - 1]).expect("the folder is writable");
    let error = refused(&paths[0]);
    assert_names(&error, &text(&paths[2]), "tensor t4");
    assert_variant!(error, Error::OutOfBounds { .. });
}
