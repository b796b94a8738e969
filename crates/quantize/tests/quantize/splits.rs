//! Sources of several files, and outputs of as many.

use std::fs;
use std::path::Path;

use perigee_gguf::Gguf;
use perigee_quantize::{QuantizeError, Recipe};

use crate::models::{check, description, keep_split, kimi, mixed, names, options, plan, run};

fn split_source(folder: &Path, empty_first: bool) -> Gguf {
    let writer = kimi().writer();
    let first = match empty_first {
        true => writer.write_shards_after_empty(folder, "source", 17),
        false => writer.write_shards(folder, "source", 17),
    };
    Gguf::open(&first.unwrap()).unwrap()
}

fn shards(gguf: &Gguf) -> Vec<(&str, usize)> {
    let tensors = gguf.tensors().iter();
    tensors
        .map(|tensor| (tensor.name.as_str(), tensor.shard))
        .collect()
}

#[test]
fn kept_splits_have_the_same_tensors_in_each_shard() {
    for empty_first in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let source = split_source(folder.path(), empty_first);
        let n_shards = source.paths().len();
        assert!(n_shards > 2);
        let target = tempfile::tempdir().unwrap();
        let out = target.path().join("out.gguf");
        let report = run(&source, &mixed(), &out, &keep_split()).unwrap();
        let wanted: Vec<String> = (1..=n_shards)
            .map(|number| format!("out-{number:05}-of-{n_shards:05}.gguf"))
            .collect();
        assert_eq!(names(target.path()), wanted);
        let sizes = report
            .paths
            .iter()
            .map(|path| path.metadata().unwrap().len());
        assert_eq!(report.n_bytes, sizes.sum::<u64>());
        for shard in [0, n_shards - 1] {
            let opened = Gguf::open(&report.paths[shard]).unwrap();
            assert_eq!(shards(&opened), shards(&source));
            assert_eq!(description(&opened), description(&source));
            check(&source, &opened, &plan(&source, &mixed()), None);
        }
    }
}

#[test]
fn without_keep_split_the_output_is_one_file() {
    let folder = tempfile::tempdir().unwrap();
    let source = split_source(folder.path(), true);
    let out = folder.path().join("out.gguf");
    let report = run(&source, &mixed(), &out, &options()).unwrap();
    assert_eq!(report.paths, std::slice::from_ref(&out));
    let opened = Gguf::open(&out).unwrap();
    assert_eq!(opened.paths().len(), 1);
    assert!(
        opened
            .metadata()
            .iter()
            .all(|(key, _)| !key.starts_with("split."))
    );
    assert_eq!(description(&opened), description(&source));
    check(&source, &opened, &plan(&source, &mixed()), None);

    let whole = folder.path().join("whole.gguf");
    run(&kimi().gguf(), &mixed(), &whole, &options()).unwrap();
    assert!(fs::read(out).unwrap() == fs::read(whole).unwrap());
}

#[test]
fn a_whole_source_stays_whole() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.gguf");
    let report = run(&kimi().gguf(), &mixed(), &out, &keep_split()).unwrap();
    assert_eq!(report.paths, [out]);
    assert_eq!(names(folder.path()), ["out.gguf"]);
}

#[test]
fn shards_need_a_name_with_room_for_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let source = split_source(folder.path(), false);
    for name in ["out", "out.bin", ".."] {
        let out = folder.path().join(name);
        let error = run(&source, &mixed(), &out, &keep_split()).unwrap_err();
        assert!(
            matches!(error, QuantizeError::ShardName { .. }),
            "{name}: {error}"
        );
    }
}

#[test]
fn shards_of_the_source_are_not_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let source = split_source(folder.path(), false);
    let before: Vec<_> = source
        .paths()
        .iter()
        .map(|path| fs::read(path).unwrap())
        .collect();
    let out = folder.path().join("source.gguf");
    let error = run(&source, &mixed(), &out, &keep_split()).unwrap_err();
    assert!(matches!(error, QuantizeError::Same { .. }), "{error}");
    let last = source.paths()[1].to_owned();
    let error = run(&source, &Recipe::named("q8_0").unwrap(), &last, &options()).unwrap_err();
    assert!(matches!(error, QuantizeError::Same { .. }), "{error}");
    for (path, before) in source.paths().iter().zip(before) {
        assert!(fs::read(path).unwrap() == before);
    }
}
