//! Keys, values and the typed getters.

use perigee_gguf::{Error, Gguf, Metadata, Value, Writer};

use crate::builder::{FILE, RawFile, assert_names, assert_variant, put_string};

#[test]
fn an_empty_key_is_refused() {
    let file = RawFile::new().u32("first", 1).u32("", 2);
    let error = file.refused("entry 1 has an empty key");
    assert_variant!(error, Error::EmptyKey { index: 1, .. });
}

#[test]
fn a_key_that_is_not_utf_8_is_refused() {
    let file = RawFile::new().entry(b"\xFF\xFE", 4, &[0; 4]);
    let error = file.refused("entry 0 has a key that is not UTF-8");
    assert_variant!(error, Error::KeyNotUtf8 { index: 0, .. });
}

#[test]
fn a_key_that_occurs_twice_is_refused() {
    let file = RawFile::new().u32("twin", 1).u32("twin", 2);
    assert_variant!(file.refused("\"twin\""), Error::DuplicateKey { key, .. } if key == "twin");
}

#[test]
fn a_key_longer_than_the_format_allows_is_refused() {
    let file = RawFile::new().u32(&"k".repeat(65_536), 1);
    let error = file.refused("bytes in a string");
    assert_variant!(
        error,
        Error::TooMany {
            count: 65_536,
            limit: 65_535,
            ..
        }
    );
}

#[test]
fn a_string_of_more_than_16_mib_is_refused() {
    let mut text = Vec::new();
    put_string(&mut text, &vec![b'x'; (16 << 20) + 1]);
    let file = RawFile::new().entry(b"text", 8, &text);
    let error = file.refused("bytes in a string");
    assert_variant!(
        error,
        Error::TooMany {
            limit: 16_777_216,
            ..
        }
    );
}

#[test]
fn unknown_value_types_are_refused_in_scalars_and_in_arrays() {
    let scalar = RawFile::new().entry(b"odd", 13, &[0; 8]);
    assert_variant!(scalar.refused("\"odd\""), Error::ValueType { id: 13, .. });
    let mut array = 99_u32.to_le_bytes().to_vec();
    array.extend_from_slice(&1_u64.to_le_bytes());
    let array = RawFile::new().entry(b"odd", 9, &array);
    assert_variant!(array.refused("\"odd\""), Error::ValueType { id: 99, .. });
}

#[test]
fn an_array_of_arrays_is_refused() {
    let mut array = 9_u32.to_le_bytes().to_vec();
    array.extend_from_slice(&1_u64.to_le_bytes());
    let file = RawFile::new().entry(b"nest", 9, &array);
    assert_variant!(file.refused("\"nest\""), Error::NestedArray { key, .. } if key == "nest");
}

#[test]
fn an_array_longer_than_the_file_is_refused_before_anything_is_reserved() {
    let mut array = 12_u32.to_le_bytes().to_vec();
    array.extend_from_slice(&(u64::MAX / 8).to_le_bytes());
    let file = RawFile::new().entry(b"long", 9, &array);
    assert_variant!(file.refused("array elements"), Error::TooMany { .. });
}

#[test]
fn an_array_of_more_elements_than_any_vocabulary_is_refused() {
    let n = (1_u64 << 21) + 1;
    let mut array = 0_u32.to_le_bytes().to_vec();
    array.extend_from_slice(&n.to_le_bytes());
    array.resize(array.len() + n as usize, 0);
    let file = RawFile::new().entry(b"long", 9, &array);
    let error = file.refused("array elements");
    assert_variant!(
        error,
        Error::TooMany {
            limit: 2_097_152,
            ..
        }
    );
}

#[test]
fn an_alignment_must_be_a_power_of_two_up_to_2_mib() {
    for found in [0, 24, 33, 4 << 20] {
        let file = RawFile::new().u32("general.alignment", found);
        let error = file.refused("general.alignment");
        assert_variant!(error, Error::Alignment { found: f, .. } if *f == u64::from(found));
    }
    for fine in [1, 8, 32, 64, 2 << 20] {
        let file = RawFile::new().u32("general.alignment", fine);
        Gguf::from_vec(FILE, file.bytes()).expect("a power of two");
    }
}

#[test]
fn an_alignment_that_is_no_integer_is_refused() {
    let mut text = Vec::new();
    put_string(&mut text, b"32");
    let file = RawFile::new().entry(b"general.alignment", 8, &text);
    assert_variant!(file.refused("general.alignment"), Error::WrongType { .. });
}

fn sample() -> Gguf {
    let mut writer = Writer::new();
    writer
        .metadata("number", Value::U32(7))
        .metadata("negative", Value::I8(-1))
        .metadata("large", Value::U64(1 << 40))
        .metadata("half", Value::F64(0.5))
        .metadata("text", Value::from("words"))
        .metadata("broken", Value::Str(vec![0xFF]))
        .metadata("flag", Value::Bool(true))
        .metadata("list", Value::array([Value::U16(1), Value::U16(2)]))
        .metadata("names", Value::strings(["a", "b"]));
    Gguf::from_vec(FILE, writer.to_bytes()).expect("the writer's own file is valid")
}

#[test]
fn a_getter_names_key_and_both_types_when_the_type_is_another() {
    type Getter = fn(&Metadata, &str) -> Option<Error>;
    let cases: [(Getter, &str, &str); 10] = [
        (
            |m, key| m.u32(key).err(),
            "text",
            "is a string, expected an integer",
        ),
        (
            |m, key| m.u64(key).err(),
            "half",
            "is a float, expected an integer",
        ),
        (
            |m, key| m.f32(key).err(),
            "flag",
            "is a bool, expected a float",
        ),
        (
            |m, key| m.bool(key).err(),
            "number",
            "is an integer, expected a bool",
        ),
        (
            |m, key| m.str(key).err(),
            "list",
            "is an array, expected a string",
        ),
        (
            |m, key| m.str(key).err(),
            "broken",
            "expected a UTF-8 string",
        ),
        (
            |m, key| m.byte_strings(key).err(),
            "text",
            "expected an array of strings",
        ),
        (
            |m, key| m.byte_strings(key).err(),
            "list",
            "expected an array of strings",
        ),
        (|m, key| m.u32s(key).err(), "names", "expected an integer"),
        (|m, key| m.u32s(key).err(), "flag", "expected an integer"),
    ];
    let gguf = sample();
    for (getter, key, expected) in cases {
        let error = getter(gguf.metadata(), key).expect("the type is wrong");
        assert_names(&error, FILE, key);
        assert_names(&error, FILE, expected);
        assert_variant!(error, Error::WrongType { .. });
    }
}

#[test]
fn an_integer_that_does_not_fit_is_refused() {
    let gguf = sample();
    for (key, value) in [("negative", "-1"), ("large", "1099511627776")] {
        let error = gguf.metadata().u32(key).expect_err("it does not fit u32");
        assert_names(&error, FILE, key);
        assert_names(&error, FILE, value);
        assert_variant!(
            error,
            Error::OutOfRange {
                expected: "u32",
                ..
            }
        );
    }
}

#[test]
fn absent_keys_are_none_in_every_getter() {
    let gguf = sample();
    let metadata = gguf.metadata();
    assert_eq!(metadata.get("absent"), None);
    assert_eq!(metadata.u32("absent").expect("absence is fine"), None);
    assert_eq!(metadata.u64("absent").expect("absence is fine"), None);
    assert_eq!(metadata.f32("absent").expect("absence is fine"), None);
    assert_eq!(metadata.bool("absent").expect("absence is fine"), None);
    assert_eq!(metadata.str("absent").expect("absence is fine"), None);
    assert_eq!(metadata.u32s("absent").expect("absence is fine"), None);
    assert_eq!(
        metadata.byte_strings("absent").expect("absence is fine"),
        None
    );
}

#[test]
fn integers_read_as_floats_and_scalars_as_lists_of_one() {
    let gguf = sample();
    let metadata = gguf.metadata();
    assert_eq!(metadata.f32("number").expect("a number"), Some(7.0));
    assert_eq!(metadata.f32("half").expect("a number"), Some(0.5));
    assert_eq!(metadata.u32s("number").expect("a number"), Some(vec![7]));
    assert_eq!(metadata.u32s("list").expect("numbers"), Some(vec![1, 2]));
    assert_eq!(metadata.u64("large").expect("a number"), Some(1 << 40));
}
