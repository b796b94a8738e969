//! Importance files that are cut short, lie, or are something else: errors within bounded
//! memory, never a panic.

use std::fs;
use std::path::{Path, PathBuf};

use perigee_gguf::{Value, Writer};
use perigee_quant::QuantKind;
use perigee_quantize::{Activations, Imatrix, ImatrixError};
use proptest::prelude::*;

use crate::budget::within_budget;
use crate::models::{f32_bytes, noise};

fn read(folder: &Path, bytes: &[u8]) -> Result<Imatrix, ImatrixError> {
    let path = folder.join("damaged");
    fs::write(&path, bytes).unwrap();
    within_budget(|| Imatrix::read(&path))
}

fn whole(folder: &Path, name: &str) -> Vec<u8> {
    let mut activations = Activations::default();
    activations.add("blk.0.attn_q_a.weight", 1, 0, 8, &noise(1, 24));
    activations.add("blk.1.ffn_up_exps.weight", 3, 1, 4, &noise(2, 8));
    let path = folder.join(name);
    activations.write(&path, "a text.txt", 3, 512).unwrap();
    fs::read(path).unwrap()
}

#[test]
fn files_cut_short_at_any_byte_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["m.dat", "m.gguf"] {
        let bytes = whole(folder.path(), name);
        assert!(read(folder.path(), &bytes).is_ok());
        // An older file without the chunks and the text is whole as well; the padding after
        // the last tensor of a GGUF says nothing.
        let (old, padding) = match name {
            "m.dat" => (Some(bytes.len() - 8 - "a text.txt".len()), 0),
            _ => (None, 32 - 4 * 3),
        };
        for len in 0..bytes.len() - padding {
            let result = read(folder.path(), &bytes[..len]);
            assert_eq!(result.is_ok(), old == Some(len), "{name} cut to {len}");
        }
    }
}

#[test]
fn counts_that_lie_are_errors_without_large_allocations() {
    let folder = tempfile::tempdir().unwrap();
    let int = |value: i32| value.to_le_bytes().to_vec();
    let (name, rest) = (|| b"a".to_vec(), || vec![0; 4096]);
    let valid = [int(1), int(1), name(), int(1), int(1), int(0)].concat();
    assert!(read(folder.path(), &valid).is_ok());
    for lie in [i32::MAX, i32::MAX / 4, i32::MIN, -1, 1 << 20] {
        for bytes in [
            [int(lie), rest()].concat(),
            [int(1), int(lie), rest()].concat(),
            [int(1), int(1), name(), int(1), int(lie), rest()].concat(),
            [
                int(1),
                int(1),
                name(),
                int(1),
                int(1),
                int(0),
                int(1),
                int(lie),
                rest(),
            ]
            .concat(),
        ] {
            let error = read(folder.path(), &bytes).unwrap_err();
            assert!(
                matches!(error, ImatrixError::Malformed { .. }),
                "{lie}: {error}"
            );
            assert!(error.to_string().contains("damaged"), "{error}");
        }
    }
    for negative in [i32::MIN, -1] {
        let bytes = [int(1), int(1), name(), int(negative), int(1), int(0)].concat();
        assert!(read(folder.path(), &bytes).is_err(), "calls {negative}");
        let bytes = [
            int(1),
            int(1),
            name(),
            int(1),
            int(1),
            int(0),
            int(negative),
            int(0),
        ]
        .concat();
        assert!(read(folder.path(), &bytes).is_err(), "chunks {negative}");
    }
    // A name longer than any.
    let bytes = [int(1), int(2000), rest()].concat();
    assert!(read(folder.path(), &bytes).is_err());
    // No entries, and a file that holds nothing else.
    assert!(read(folder.path(), &[int(0)].concat()).is_err());
}

#[test]
fn what_is_no_importance_file_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    for bytes in [
        &b""[..],
        b"G",
        b"GGUF",
        b"GGUF\x03\0\0\0",
        b"# a text\nof several lines, as if someone had mixed up the arguments\n",
        &[0; 64],
        &[0xff; 64],
    ] {
        assert!(read(folder.path(), bytes).is_err(), "{bytes:?}");
    }
    for path in [
        folder.path().to_owned(),
        folder.path().join("none"),
        PathBuf::from("/dev/null"),
    ] {
        let error = Imatrix::read(&path).unwrap_err();
        assert!(
            error.to_string().contains(&path.display().to_string()),
            "{error}"
        );
    }
}

type Given<'a> = (&'a str, QuantKind, &'a [u64], Vec<u8>);

fn gguf(folder: &Path, tensors: &[Given<'_>], datasets: Value) -> Result<Imatrix, ImatrixError> {
    let mut writer = Writer::new();
    writer.metadata("imatrix.datasets", datasets);
    for (name, kind, shape, bytes) in tensors {
        writer.tensor(name, *kind, shape, bytes.clone());
    }
    read(folder, &writer.to_bytes())
}

#[test]
fn ggufs_that_hold_something_else_are_errors() {
    use QuantKind::{F16, F32};
    let folder = tempfile::tempdir().unwrap();
    let texts = || Value::strings(["a"]);
    let sums: Given<'_> = ("a.in_sum2", F32, &[4, 2], f32_bytes(&noise(1, 8)));
    let counts: Given<'_> = ("a.counts", F32, &[1, 2], f32_bytes(&[1.0, 2.0]));
    assert!(gguf(folder.path(), &[sums.clone(), counts.clone()], texts()).is_ok());
    let refused: [&[Given<'_>]; 7] = [
        &[],
        &[("a.weight", F32, &[4], vec![0; 16])],
        std::slice::from_ref(&counts),
        std::slice::from_ref(&sums),
        &[sums.clone(), ("a.counts", F16, &[1, 2], vec![0; 4])],
        &[("a.in_sum2", F16, &[4, 2], vec![0; 16]), counts.clone()],
        &[sums.clone(), ("a.counts", F32, &[1, 3], vec![0; 12])],
    ];
    for tensors in refused {
        let error = gguf(folder.path(), tensors, texts()).unwrap_err();
        assert!(matches!(error, ImatrixError::Malformed { .. }), "{error}");
    }
    let many: Given<'_> = ("a.counts", F32, &[1, 16], vec![0; 64]);
    assert!(gguf(folder.path(), &[sums.clone(), many], texts()).is_err());
    let error = gguf(folder.path(), &[sums, counts], Value::U32(1)).unwrap_err();
    assert!(matches!(error, ImatrixError::Gguf(_)), "{error}");
}

#[test]
fn counts_that_are_no_counts_weigh_all_columns_alike() {
    let folder = tempfile::tempdir().unwrap();
    for count in [0.0, -0.0, -3.0, f32::NAN, f32::NEG_INFINITY] {
        let tensors: [Given<'_>; 2] = [
            ("a.in_sum2", QuantKind::F32, &[4, 2], f32_bytes(&[8.0; 8])),
            (
                "a.counts",
                QuantKind::F32,
                &[1, 2],
                f32_bytes(&[count, 2.0]),
            ),
        ];
        let imatrix = gguf(folder.path(), &tensors, Value::strings(["a"])).unwrap();
        let found = imatrix.columns("a", 2, 4).unwrap().unwrap();
        assert_eq!(found, [1.0, 1.0, 1.0, 1.0, 4.0, 4.0, 4.0, 4.0], "{count}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_a_file_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let folder = tempfile::tempdir().unwrap();
        let _ = read(folder.path(), &bytes);
    }

    #[test]
    fn any_small_integers_are_a_file_or_an_error(
        ints in prop::collection::vec(prop_oneof![-2..20_i32, any::<i32>()], 0..60)
    ) {
        let folder = tempfile::tempdir().unwrap();
        let bytes: Vec<u8> = ints.into_iter().flat_map(i32::to_le_bytes).collect();
        let _ = read(folder.path(), &bytes);
    }

    #[test]
    fn any_changed_bytes_are_a_file_or_an_error(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        dat in any::<bool>(),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let mut bytes = whole(folder.path(), if dat { "m.dat" } else { "m.gguf" });
        for (at, byte) in changes {
            *at.get_mut(&mut bytes) = byte;
        }
        if let Ok(imatrix) = read(folder.path(), &bytes) {
            for name in imatrix.names() {
                let _ = imatrix.columns(name, 3, 4);
            }
        }
    }
}
