//! Paths that are no regular files: they must neither block nor be mapped.

use std::process::Command;

use perigee_gguf::Error;

use crate::verdict::refused_path;

#[test]
fn a_pipe_without_a_writer_does_not_block() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("model.gguf");
    let made = Command::new("mkfifo").arg(&path).status();
    assert!(made.expect("mkfifo runs").success());
    let error = refused_path(&path, "not a regular file");
    assert!(matches!(error, Error::NotAFile { .. }), "{error}");
}

#[test]
fn devices_are_refused() {
    for path in ["/dev/zero", "/dev/null"] {
        refused_path(path.as_ref(), "not a regular file");
    }
}

#[test]
fn an_empty_file_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("model.gguf");
    std::fs::write(&path, b"").expect("the folder is writable");
    let error = refused_path(&path, "0 bytes are too few");
    assert!(matches!(error, Error::TooShort { .. }), "{error}");
}
