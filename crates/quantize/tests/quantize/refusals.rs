//! Outputs that cannot be written, or must not be.

use std::fs;
use std::os::unix::fs::symlink;

use perigee_gguf::Gguf;
use perigee_quant::QuantKind;
use perigee_quantize::{QuantizeError, Recipe, quantize};

use crate::models::{check, kimi, mixed, names, noisy, options, plan, run};

#[test]
fn no_file_of_the_source_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.gguf");
    kimi().write_to(&path).unwrap();
    let before = fs::read(&path).unwrap();
    let link = folder.path().join("link.gguf");
    symlink(&path, &link).unwrap();
    let roundabout = folder.path().join(".").join("m.gguf");
    let source = Gguf::open(&path).unwrap();
    for out in [&path, &link, &roundabout] {
        let error = run(&source, &mixed(), out, &options()).unwrap_err();
        assert!(matches!(error, QuantizeError::Same { .. }), "{error}");
    }
    assert!(fs::read(&path).unwrap() == before);
    assert_eq!(names(folder.path()), ["link.gguf", "m.gguf"]);
}

#[test]
fn a_source_is_not_taken_for_the_partial_file_of_its_output() {
    for end in ["part", "resume", "done"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(format!("m.gguf.{end}"));
        kimi().write_to(&path).unwrap();
        let before = fs::read(&path).unwrap();
        let source = Gguf::open(&path).unwrap();
        let out = folder.path().join("m.gguf");
        let error = run(&source, &mixed(), &out, &options()).unwrap_err();
        assert!(matches!(error, QuantizeError::Same { .. }), "{error}");
        assert!(fs::read(&path).unwrap() == before);
    }
}

#[test]
fn a_folder_that_is_not_there_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("none/out.gguf");
    let error = run(&kimi().gguf(), &mixed(), &out, &options()).unwrap_err();
    assert!(
        matches!(&error, QuantizeError::Io { path, .. } if *path == out),
        "{error}"
    );
}

#[test]
fn what_is_no_file_is_not_replaced_and_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let source = kimi().gguf();
    let plan = plan(&source, &mixed());
    let device = folder.path().join("device.gguf");
    symlink("/dev/full", &device).unwrap();
    for out in [folder.path(), &device] {
        let mut never = |_: perigee_quantize::Progress<'_>| panic!("encoding has begun");
        let error = quantize(&source, &plan, None, out, &options(), &mut never).unwrap_err();
        assert!(matches!(error, QuantizeError::Io { .. }), "{error}");
    }
    assert_eq!(names(folder.path()), ["device.gguf"]);
}

#[test]
fn files_that_cannot_be_made_leave_the_old_output() {
    for end in ["part", "resume"] {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out.gguf");
        fs::write(&out, "the old file").unwrap();
        // A folder of that name stands in for a place that cannot be written: to the
        // superuser, permissions mean nothing.
        fs::create_dir(folder.path().join(format!("out.gguf.{end}"))).unwrap();
        let error = run(&kimi().gguf(), &mixed(), &out, &options()).unwrap_err();
        assert!(matches!(error, QuantizeError::Io { .. }), "{error}");
        assert_eq!(fs::read(&out).unwrap(), b"the old file");
    }
}

#[test]
fn a_full_disk_leaves_the_old_output_and_the_next_run_makes_the_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.gguf");
    fs::write(&out, "the old file").unwrap();
    let partial = folder.path().join("out.gguf.part");
    symlink("/dev/full", &partial).unwrap();
    let source = kimi().gguf();
    for _ in 0..2 {
        let error = run(&source, &mixed(), &out, &options()).unwrap_err();
        let QuantizeError::Io { source, .. } = &error else {
            panic!("{error}");
        };
        assert_eq!(source.kind(), std::io::ErrorKind::StorageFull, "{error}");
        assert_eq!(fs::read(&out).unwrap(), b"the old file");
    }
    fs::remove_file(partial).unwrap();
    run(&source, &mixed(), &out, &options()).unwrap();
    check(
        &source,
        &Gguf::open(&out).unwrap(),
        &plan(&source, &mixed()),
        None,
    );
    assert_eq!(names(folder.path()), ["out.gguf"]);
}

#[test]
fn an_old_output_is_replaced_by_a_whole_one() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.gguf");
    fs::write(&out, "the old file").unwrap();
    let source = kimi().gguf();
    run(&source, &mixed(), &out, &options()).unwrap();
    check(
        &source,
        &Gguf::open(&out).unwrap(),
        &plan(&source, &mixed()),
        None,
    );
    assert_eq!(names(folder.path()), ["out.gguf"]);
}

#[test]
#[should_panic(expected = "the plan is of another source")]
fn a_plan_of_another_source_is_a_mistake_of_the_program() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = Recipe::pure(QuantKind::Q8_0);
    let other = plan(&noisy("a.gguf", &[("a.weight", &[32, 2])]), &recipe);
    let source = noisy("b.gguf", &[("b.weight", &[32, 2])]);
    let out = folder.path().join("out.gguf");
    let _ = quantize(&source, &other, None, &out, &options(), &mut |_| {});
}
