//! Magic, version and counts.

use perigee_gguf::{Error, Gguf};

use crate::builder::{F32, FILE, RawFile, assert_variant, refused};

#[test]
fn a_file_shorter_than_a_header_is_refused() {
    assert_variant!(
        refused(Vec::new(), "0 bytes"),
        Error::TooShort { len: 0, .. }
    );
    let bytes = RawFile::new().bytes()[..23].to_vec();
    assert_variant!(refused(bytes, "23 bytes"), Error::TooShort { len: 23, .. });
}

#[test]
fn a_file_that_does_not_begin_with_gguf_is_refused() {
    let file = RawFile {
        magic: *b"GGML",
        ..RawFile::new()
    };
    assert_variant!(file.refused("not a GGUF file"), Error::BadMagic { .. });
}

#[test]
fn a_big_endian_file_is_named_as_such() {
    for version in [2_u32, 3] {
        let file = RawFile {
            version: version.swap_bytes(),
            ..RawFile::new()
        };
        assert_variant!(file.refused("big-endian"), Error::BigEndian { .. });
    }
}

#[test]
fn other_versions_are_refused() {
    for version in [0, 1, 4, u32::MAX] {
        let file = RawFile {
            version,
            ..RawFile::new()
        };
        let error = file.refused(&version.to_string());
        assert_variant!(error, Error::Version { version: found, .. } if *found == version);
    }
}

#[test]
fn version_2_is_read_like_version_3() {
    let file = RawFile {
        version: 2,
        ..RawFile::new()
    };
    let file = file.u32("key", 7).tensor(b"weight", &[4], F32, 0).data(16);
    let gguf = Gguf::from_vec(FILE, file.bytes()).expect("version 2 is supported");
    assert_eq!(
        gguf.metadata().u32("key").expect("it is an integer"),
        Some(7)
    );
    assert_eq!(gguf.tensors().len(), 1);
}

#[test]
fn an_empty_model_is_a_valid_file() {
    let gguf = Gguf::from_vec(FILE, RawFile::new().bytes()).expect("nothing in it is wrong");
    assert!(gguf.tensors().is_empty());
    assert_eq!(gguf.metadata().iter().count(), 0);
}

#[test]
fn more_metadata_entries_than_the_file_can_hold_are_refused() {
    let file = RawFile {
        n_entries: Some(u64::MAX),
        ..RawFile::new().u32("key", 7)
    };
    let error = file.refused("metadata entries");
    assert_variant!(
        error,
        Error::TooMany {
            count: u64::MAX,
            ..
        }
    );
}

#[test]
fn more_tensors_than_the_file_can_hold_are_refused() {
    for n in [2, u64::MAX] {
        let file = RawFile {
            n_tensors: Some(n),
            ..RawFile::new().tensor(b"w", &[1], F32, 0)
        };
        assert_variant!(file.refused("tensors"), Error::TooMany { count, .. } if *count == n);
    }
}

#[test]
fn more_tensors_than_any_model_has_are_refused_however_long_the_file() {
    let file = RawFile {
        n_tensors: Some(65_537),
        ..RawFile::new().data(65_537 * 24)
    };
    let error = file.refused("65537 tensors");
    assert_variant!(error, Error::TooMany { limit: 65_536, .. });
}

#[test]
fn one_metadata_entry_more_than_there_are_is_a_truncation() {
    let file = RawFile {
        n_entries: Some(2),
        ..RawFile::new()
            .u32("first", 1)
            .entry(b"second", 8, &u64::MAX.to_le_bytes())
    };
    let error = file.refused("a metadata value");
    assert_variant!(
        error,
        Error::Truncated {
            needed: u64::MAX,
            ..
        }
    );
}
