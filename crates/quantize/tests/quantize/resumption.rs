//! Runs that end early, and those that go on after them.

use std::fs::{self, File};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use perigee_gguf::{Gguf, Writer};
use perigee_quant::QuantKind;
use perigee_quantize::{Options, QuantizeError, Recipe, Report, quantize};

use crate::models::{check, f32_bytes, keep_split, names, noise, options, plan, run};

const N: usize = 8;

/// Eight matrices; tensor `bad` has a NaN in row 3.
fn matrices(bad: Option<usize>) -> Writer {
    let mut writer = Writer::new();
    for i in 0..N {
        let mut values = noise(i as u64, 256 * 5);
        if bad == Some(i) {
            values[3 * 256 + 17] = f32::NAN;
        }
        let name = format!("blk.{i}.ffn_up.weight");
        writer.tensor(&name, QuantKind::F32, &[256, 5], f32_bytes(&values));
    }
    writer
}

/// In memory, always under one name: a file that was damaged and is repaired.
fn source(bad: Option<usize>) -> Gguf {
    Gguf::from_vec("source.gguf", matrices(bad).to_bytes()).unwrap()
}

fn recipe() -> Recipe {
    Recipe::pure(QuantKind::Q4K)
}

/// Leaves a run that has ended at tensor 5.
fn interrupt(out: &Path, options: &Options) {
    let error = run(&source(Some(5)), &recipe(), out, options).unwrap_err();
    match &error {
        QuantizeError::NotFinite { tensor, row: 3 } => assert_eq!(tensor, "blk.5.ffn_up.weight"),
        _ => panic!("{error}"),
    }
    assert!(!out.exists());
    assert_eq!(
        names(out.parent().unwrap()),
        ["out.gguf.part", "out.gguf.resume"]
    );
}

/// Runs to the end and checks that the output is that of an undisturbed run.
fn finish(out: &Path, recipe: &Recipe, options: &Options) -> usize {
    let source = source(None);
    let report = run(&source, recipe, out, options).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let undisturbed = folder.path().join("out.gguf");
    run(&source, recipe, &undisturbed, options).unwrap();
    assert!(fs::read(out).unwrap() == fs::read(undisturbed).unwrap());
    assert_eq!(names(out.parent().unwrap()), ["out.gguf"]);
    report.n_resumed
}

#[test]
fn a_run_goes_on_after_the_last_whole_tensor() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.gguf");
    interrupt(&out, &options());
    assert_eq!(finish(&out, &recipe(), &options()), 5);
}

#[test]
fn it_can_be_interrupted_again() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.gguf");
    interrupt(&out, &options());
    run(&source(Some(5)), &recipe(), &out, &options()).unwrap_err();
    run(&source(Some(7)), &recipe(), &out, &options()).unwrap_err();
    assert_eq!(finish(&out, &recipe(), &options()), 7);
}

#[test]
fn bytes_after_the_last_whole_tensor_do_not_matter() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.gguf");
    interrupt(&out, &options());
    let partial = folder.path().join("out.gguf.part");
    let mut bytes = fs::read(&partial).unwrap();
    bytes.extend([0xaa; 5000]);
    fs::write(&partial, bytes).unwrap();
    assert_eq!(finish(&out, &recipe(), &options()), 5);
}

#[test]
fn another_number_of_threads_is_no_other_run() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.gguf");
    interrupt(&out, &options());
    let threads = Options {
        n_threads: 1,
        ..options()
    };
    assert_eq!(finish(&out, &recipe(), &threads), 5);
}

#[test]
fn another_recipe_starts_anew() {
    // IQ4_XS has other bytes; Q5_K and IQ5_K as many as each other.
    for (first, second) in [("q4_k", "iq4_xs"), ("q5_k", "iq5_k"), ("q4_k", "iq4_k")] {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out.gguf");
        let first = Recipe::named(first).unwrap();
        run(&source(Some(5)), &first, &out, &options()).unwrap_err();
        let second = Recipe::named(second).unwrap();
        assert_eq!(finish(&out, &second, &options()), 0);
    }
}

#[test]
fn symmetry_starts_anew() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.gguf");
    let plain = Recipe::pure(QuantKind::Q4_0);
    run(&source(Some(5)), &plain, &out, &options()).unwrap_err();
    let symmetric = Recipe {
        symmetric_q4_0: true,
        ..plain
    };
    assert_eq!(finish(&out, &symmetric, &options()), 0);
}

#[test]
fn another_fingerprint_starts_anew() {
    for other in ["", "te", "test2", "test 2", "other"] {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out.gguf");
        interrupt(&out, &options());
        let other = Options {
            fingerprint: other.to_owned(),
            ..options()
        };
        assert_eq!(
            finish(&out, &recipe(), &other),
            0,
            "{:?}",
            other.fingerprint
        );
    }
    // Nor are the notes of a run taken for the end of another's fingerprint.
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.gguf");
    let of = |fingerprint: &str| Options {
        fingerprint: fingerprint.to_owned(),
        ..options()
    };
    run(&source(Some(2)), &recipe(), &out, &of("run 14")).unwrap_err();
    assert_eq!(finish(&out, &recipe(), &of("run 1")), 0);
}

#[test]
fn another_source_starts_anew() {
    let folder = tempfile::tempdir().unwrap();
    let work = tempfile::tempdir().unwrap();
    let out = work.path().join("out.gguf");
    let path = folder.path().join("source.gguf");
    let write = |bad| {
        matrices(bad).write(&path).unwrap();
        let later = std::time::SystemTime::now() + std::time::Duration::from_secs(60);
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_modified(later)
            .unwrap();
        Gguf::open(&path).unwrap()
    };
    run(&write(Some(5)), &recipe(), &out, &options()).unwrap_err();
    let repaired = write(None);
    assert_eq!(
        run(&repaired, &recipe(), &out, &options())
            .unwrap()
            .n_resumed,
        0
    );
    check(
        &repaired,
        &Gguf::open(&out).unwrap(),
        &plan(&repaired, &recipe()),
        None,
    );
}

#[test]
fn damaged_leftovers_start_anew_or_go_on_correctly() {
    type Damage = fn(&Path, &Path);
    let cut = |path: &Path, keep: u64| {
        File::options()
            .write(true)
            .open(path)
            .unwrap()
            .set_len(keep)
            .unwrap();
    };
    let cases: &[(&str, Damage, usize)] = &[
        (
            "no partial file",
            |part, _| fs::remove_file(part).unwrap(),
            0,
        ),
        (
            "no journal",
            |_, resume| fs::remove_file(resume).unwrap(),
            0,
        ),
        (
            "an empty journal",
            |_, resume| fs::write(resume, "").unwrap(),
            0,
        ),
        (
            "a journal that is no text",
            |_, resume| fs::write(resume, [0xff; 99]).unwrap(),
            0,
        ),
        (
            "another header",
            |part, _| edit(part, |bytes| bytes[9] ^= 1),
            0,
        ),
        (
            "a half line",
            |_, resume| edit(resume, |bytes| bytes.push(b'7')),
            5,
        ),
        (
            "a line that is no number",
            |_, resume| edit(resume, |bytes| bytes.extend(b"x\n-3\n")),
            5,
        ),
        (
            "more tensors than the file has",
            |_, resume| edit(resume, |b| b.extend(b"99\n")),
            0,
        ),
        (
            "more than is there",
            |_, resume| edit(resume, |bytes| bytes.extend(b"7\n")),
            0,
        ),
        (
            "a number beyond numbers",
            |_, resume| edit(resume, |b| b.extend([b'9'; 40])),
            5,
        ),
    ];
    for (what, damage, n_resumed) in cases {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out.gguf");
        interrupt(&out, &options());
        damage(
            &folder.path().join("out.gguf.part"),
            &folder.path().join("out.gguf.resume"),
        );
        assert_eq!(finish(&out, &recipe(), &options()), *n_resumed, "{what}");
    }
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.gguf");
    let partial = folder.path().join("out.gguf.part");
    for keep in [0, 3, 100, 1000, 3000] {
        interrupt(&out, &options());
        assert!(keep < partial.metadata().unwrap().len());
        cut(&partial, keep);
        assert_eq!(finish(&out, &recipe(), &options()), 0, "{keep}");
        fs::remove_file(&out).unwrap();
    }
}

fn edit(path: &Path, change: impl Fn(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_line_that_was_cut_short_does_not_run_into_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.gguf");
    interrupt(&out, &options());
    edit(&folder.path().join("out.gguf.resume"), |bytes| {
        bytes.push(b'7')
    });
    run(&source(Some(6)), &recipe(), &out, &options()).unwrap_err();
    assert_eq!(finish(&out, &recipe(), &options()), 6);
}

#[test]
fn a_panic_at_any_moment_leaves_something_to_go_on_with_or_to_replace() {
    let source = source(None);
    let plan = plan(&source, &recipe());
    for calls in 1..=2 * N {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out.gguf");
        let mut left = calls;
        let mut stop = |_: perigee_quantize::Progress<'_>| {
            left -= 1;
            assert!(left > 0, "stop here");
        };
        let run = || quantize(&source, &plan, None, &out, &options(), &mut stop);
        assert!(catch_unwind(AssertUnwindSafe(run)).is_err());
        assert!(!out.exists());
        finish(&out, &recipe(), &options());
    }
}

/// Eight matrices in three files, and how many are in the first two.
fn split(folder: &Path) -> (Gguf, usize) {
    let first = matrices(None).write_shards(folder, "source", 3).unwrap();
    (Gguf::open(&first).unwrap(), 6)
}

/// Runs with `--keep-split` up to the tensor of number `stop`.
fn run_until(source: &Gguf, recipe: &Recipe, out: &Path, stop: usize) {
    let plan = plan(source, recipe);
    let stop = &source.tensors()[stop].name;
    let run = || {
        quantize(source, &plan, None, out, &keep_split(), &mut |at| {
            assert_ne!(at.tensor, stop, "stop here");
        })
    };
    assert!(catch_unwind(AssertUnwindSafe(run)).is_err());
}

fn modified(report: &Report) -> Vec<std::time::SystemTime> {
    let times = report
        .paths
        .iter()
        .map(|path| path.metadata().unwrap().modified().unwrap());
    times.collect()
}

#[test]
fn finished_shards_are_not_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let (source, n) = split(folder.path());
    let target = tempfile::tempdir().unwrap();
    let out = target.path().join("out.gguf");
    let recipe = Recipe::pure(QuantKind::Q8_0);
    run_until(&source, &recipe, &out, n + 1);
    let first = names(target.path()).remove(0);
    let first = target.path().join(first);
    let long_ago = std::time::SystemTime::UNIX_EPOCH;
    File::options()
        .write(true)
        .open(&first)
        .unwrap()
        .set_modified(long_ago)
        .unwrap();

    let report = run(&source, &recipe, &out, &keep_split()).unwrap();
    assert_eq!(report.n_resumed, n);
    assert_eq!(modified(&report)[0], long_ago);
    check(
        &source,
        &Gguf::open(&first).unwrap(),
        &plan(&source, &recipe),
        None,
    );
    assert_eq!(names(target.path()).len(), source.paths().len());

    // The run is over: the same command makes everything once more.
    let report = run(&source, &recipe, &out, &keep_split()).unwrap();
    assert_eq!(report.n_resumed, 0);
    assert_ne!(modified(&report)[0], long_ago);
}

#[test]
fn finished_shards_of_another_recipe_are_made_again() {
    // As many bytes, other types.
    for (first, second) in [("q5_k", "iq5_k"), ("q8_0", "q4_0"), ("f16", "bf16")] {
        let folder = tempfile::tempdir().unwrap();
        let (source, n) = split(folder.path());
        let target = tempfile::tempdir().unwrap();
        let out = target.path().join("out.gguf");
        run_until(&source, &Recipe::named(first).unwrap(), &out, n + 1);
        let second = Recipe::named(second).unwrap();
        let report = run(&source, &second, &out, &keep_split()).unwrap();
        assert_eq!(report.n_resumed, 0);
        check(
            &source,
            &Gguf::open(&report.paths[0]).unwrap(),
            &plan(&source, &second),
            None,
        );
        assert_eq!(names(target.path()).len(), source.paths().len());
    }
}

#[test]
fn a_finished_shard_that_was_damaged_is_made_again() {
    for keep in [0, 50, 4000] {
        let folder = tempfile::tempdir().unwrap();
        let (source, n) = split(folder.path());
        let target = tempfile::tempdir().unwrap();
        let out = target.path().join("out.gguf");
        let recipe = Recipe::pure(QuantKind::Q8_0);
        run_until(&source, &recipe, &out, n + 1);
        let first = target.path().join(names(target.path()).remove(0));
        File::options()
            .write(true)
            .open(&first)
            .unwrap()
            .set_len(keep)
            .unwrap();
        run(&source, &recipe, &out, &keep_split()).unwrap();
        check(
            &source,
            &Gguf::open(&first).unwrap(),
            &plan(&source, &recipe),
            None,
        );
    }
}
