//! Opening by path.

use std::fs;
use std::path::Path;

use perigee_gguf::{Error, Gguf, Value, Writer};
use perigee_quant::QuantKind;

use crate::builder::{assert_names, assert_variant};

fn write(folder: &Path, name: &str) {
    Writer::new()
        .metadata("general.name", Value::from(name))
        .write(&folder.join(name))
        .expect("the folder is writable");
}

fn name_of(gguf: &Gguf) -> &str {
    let name = gguf.metadata().str("general.name").expect("a string");
    name.expect("every file here has a name")
}

fn refused(path: &Path) -> Error {
    match Gguf::open(path) {
        Ok(_) => panic!("{} was accepted", path.display()),
        Err(error) => error,
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let path = Path::new("/nowhere/model.gguf");
    let error = refused(path);
    assert_names(&error, "/nowhere/model.gguf", "No such file");
    assert_variant!(error, Error::Io { .. });
}

#[test]
fn an_empty_file_is_too_short() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("empty.gguf");
    fs::write(&path, b"").expect("the folder is writable");
    let error = refused(&path);
    assert_names(&error, "empty.gguf", "0 bytes");
    assert_variant!(error, Error::TooShort { len: 0, .. });
}

#[test]
fn a_folder_with_one_model_opens_beside_other_files() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for name in [
        "model.GGUF",
        "mmproj-F16.gguf",
        "readme.md",
        "model.gguf.part",
    ] {
        write(folder.path(), name);
    }
    let gguf = Gguf::open(folder.path()).expect("one model is there");
    assert_eq!(name_of(&gguf), "model.GGUF");
}

#[test]
fn a_folder_with_one_split_model_opens() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut writer = Writer::new();
    writer.metadata("general.name", Value::from("split"));
    for name in ["a", "b", "c"] {
        writer.tensor(name, QuantKind::F32, &[8], vec![0; 32]);
    }
    writer
        .write_shards(folder.path(), "m", 1)
        .expect("the folder is writable");
    let gguf = Gguf::open(folder.path()).expect("one model is there");
    assert_eq!((name_of(&gguf), gguf.tensors().len()), ("split", 3));
}

#[test]
fn a_folder_without_a_model_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    write(folder.path(), "mmproj.gguf");
    let error = refused(folder.path());
    assert_names(&error, &folder.path().display().to_string(), "no GGUF file");
    assert_variant!(error, Error::NoModel { .. });
}

#[test]
fn a_folder_with_several_models_lists_them() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    write(folder.path(), "b.gguf");
    write(folder.path(), "a-00001-of-00002.gguf");
    let error = refused(folder.path());
    let path = folder.path().display().to_string();
    assert_names(&error, &path, "a-00001-of-00002.gguf, b.gguf");
    assert_variant!(error, Error::SeveralModels { .. });
}
