//! Importances: collected, written, read.

use std::fs;
use std::path::Path;

use perigee_gguf::Gguf;
use perigee_quantize::{Activations, Imatrix, ImatrixError};

use crate::models::{names, noise};

const EXPERTS: &str = "blk.1.ffn_up_exps.weight";
const PLAIN: &str = "blk.0.attn_q_a.weight";

/// A plain matrix of 8 columns, and four experts of 4 of which number 2 is never reached.
fn activations() -> Activations {
    let mut activations = Activations::default();
    activations.add(PLAIN, 1, 0, 8, &noise(1, 24));
    for (expert, n) in [(0, 1), (1, 3), (3, 2)] {
        activations.add(EXPERTS, 4, expert, 4, &noise(expert as u64, 4 * n));
    }
    activations.add(EXPERTS, 4, 1, 4, &noise(77, 8));
    activations
}

fn mean(inputs: &[f32], columns: usize, column: usize) -> f64 {
    let of_column = inputs.iter().skip(column).step_by(columns);
    let squares = of_column.map(|&x| f64::from(x) * f64::from(x));
    squares.sum::<f64>() / (inputs.len() / columns) as f64
}

fn close(found: &[f32], wanted: &[f64]) {
    assert_eq!(found.len(), wanted.len());
    for (&found, &wanted) in found.iter().zip(wanted) {
        let error = (f64::from(found) - wanted).abs();
        assert!(
            error <= 4.0 * f64::from(f32::EPSILON) * wanted,
            "{found} {wanted}"
        );
    }
}

fn written(path: &Path, n_chunks: u32) -> Imatrix {
    activations()
        .write(path, "a text.txt", n_chunks, 512)
        .unwrap();
    Imatrix::read(path).unwrap()
}

#[test]
fn both_formats_give_back_the_mean_squares() {
    let folder = tempfile::tempdir().unwrap();
    let plain = noise(1, 24);
    let plain: Vec<f64> = (0..8).map(|column| mean(&plain, 8, column)).collect();
    let one = [noise(1, 12), noise(77, 8)].concat();
    let mut experts: Vec<f64> = (0..4).map(|column| mean(&noise(0, 4), 4, column)).collect();
    experts.extend((0..4).map(|column| mean(&one, 4, column)));
    // The one that was never reached counts all columns alike.
    experts.extend([1.0; 4]);
    experts.extend((0..4).map(|column| mean(&noise(3, 8), 4, column)));
    for name in ["m.dat", "m.gguf", "m"] {
        for n_chunks in [0, 1, 7, 1000] {
            let imatrix = written(&folder.path().join(name), n_chunks);
            assert_eq!(imatrix.names().collect::<Vec<_>>(), [PLAIN, EXPERTS]);
            assert_eq!(imatrix.n_chunks, n_chunks, "{name}");
            assert_eq!(imatrix.datasets, ["a text.txt"]);
            close(imatrix.columns(PLAIN, 1, 8).unwrap().unwrap(), &plain);
            close(imatrix.columns(EXPERTS, 4, 4).unwrap().unwrap(), &experts);
        }
    }
    assert_eq!(names(folder.path()), ["m", "m.dat", "m.gguf"]);
}

#[test]
fn the_gguf_has_the_names_and_shapes_of_other_programs() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.gguf");
    written(&path, 3);
    let gguf = Gguf::open(&path).unwrap();
    let shapes = [
        ("blk.0.attn_q_a.weight.in_sum2", vec![8, 1]),
        ("blk.0.attn_q_a.weight.counts", vec![1, 1]),
        ("blk.1.ffn_up_exps.weight.in_sum2", vec![4, 4]),
        ("blk.1.ffn_up_exps.weight.counts", vec![1, 4]),
    ];
    assert_eq!(gguf.tensors().len(), shapes.len());
    for (name, shape) in shapes {
        assert_eq!(gguf.tensor(name).unwrap().shape, shape, "{name}");
    }
    let counts = gguf.tensor("blk.1.ffn_up_exps.weight.counts").unwrap();
    let counts = gguf.bytes(counts).as_chunks::<4>().0.iter();
    let counts: Vec<f32> = counts.map(|word| f32::from_le_bytes(*word)).collect();
    assert_eq!(counts, [1.0, 5.0, 0.0, 2.0]);
    let metadata = gguf.metadata();
    assert_eq!(metadata.str("general.type").unwrap(), Some("imatrix"));
    assert_eq!(metadata.u32("imatrix.chunk_count").unwrap(), Some(3));
    assert_eq!(metadata.u32("imatrix.chunk_size").unwrap(), Some(512));
}

#[test]
fn the_dat_has_the_layout_of_other_programs() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.dat");
    let mut activations = Activations::default();
    activations.add("a", 1, 0, 2, &[1.0, 2.0, 3.0, 0.0]);
    activations.write(&path, "text", 3, 512).unwrap();
    let ints = |values: &[i32]| values.iter().copied().flat_map(i32::to_le_bytes).collect();
    let floats: Vec<u8> = [15.0_f32, 6.0]
        .into_iter()
        .flat_map(f32::to_le_bytes)
        .collect();
    let wanted: [Vec<u8>; 7] = [
        ints(&[1, 1]),
        b"a".to_vec(),
        ints(&[3, 2]),
        floats,
        ints(&[3]),
        ints(&[4]),
        b"text".to_vec(),
    ];
    assert_eq!(fs::read(&path).unwrap(), wanted.concat());
}

#[test]
fn older_dat_files_end_after_the_entries() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.dat");
    let whole = written(&path, 5);
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() - 8 - "a text.txt".len()]).unwrap();
    let old = Imatrix::read(&path).unwrap();
    assert_eq!((old.n_chunks, old.datasets.len()), (0, 0));
    assert_eq!(
        old.columns(PLAIN, 1, 8).unwrap(),
        whole.columns(PLAIN, 1, 8).unwrap()
    );
}

#[test]
fn sizes_that_do_not_fit_the_tensor_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["m.dat", "m.gguf"] {
        let imatrix = written(&folder.path().join(name), 3);
        assert_eq!(imatrix.columns("output.weight", 1, 8).unwrap(), None);
        assert_eq!(imatrix.columns(PLAIN, 384, 8).unwrap().unwrap().len(), 8);
        for (tensor, n_matrices, n_columns) in [
            (PLAIN, 1, 16),
            (PLAIN, 2, 2),
            (PLAIN, u64::MAX, 4),
            (PLAIN, 0, 0),
            (EXPERTS, 3, 4),
            (EXPERTS, 4, 8),
        ] {
            let error = imatrix.columns(tensor, n_matrices, n_columns).unwrap_err();
            assert!(matches!(error, ImatrixError::Size { .. }), "{error}");
            assert!(error.to_string().contains(tensor), "{error}");
        }
    }
}

#[test]
fn experts_without_inputs_are_counted() {
    let activations = activations();
    assert_eq!((activations.len(), activations.is_empty()), (2, false));
    assert_eq!(activations.unreached(), (1, 5));
    assert_eq!(Activations::default().unreached(), (0, 0));
    assert!(Activations::default().is_empty());
}

#[test]
fn inputs_may_come_in_any_pieces() {
    let folder = tempfile::tempdir().unwrap();
    let inputs = noise(5, 64 * 9);
    let of = |rows: usize| {
        let mut activations = Activations::default();
        for piece in inputs.chunks(64 * rows) {
            activations.add("a", 1, 0, 64, piece);
        }
        let path = folder.path().join(format!("{rows}.gguf"));
        activations.write(&path, "t", 1, 9).unwrap();
        fs::read(path).unwrap()
    };
    assert_eq!(of(1), of(9));
    assert_eq!(of(4), of(9));
}

#[test]
fn files_that_cannot_be_written_leave_nothing_and_keep_the_old_ones() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["m.dat", "m.gguf"] {
        let path = folder.path().join("none").join(name);
        let error = activations().write(&path, "t", 1, 512).unwrap_err();
        assert!(
            matches!(&error, ImatrixError::Io { path: found, .. } if *found == path),
            "{error}"
        );

        // Only the full disk shows itself after the file was made.
        let path = folder.path().join(name);
        fs::write(&path, "the old file").unwrap();
        let partial = folder.path().join(format!("{name}.part"));
        std::os::unix::fs::symlink("/dev/full", &partial).unwrap();
        let error = activations().write(&path, "t", 1, 512).unwrap_err();
        assert!(matches!(error, ImatrixError::Io { .. }), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"the old file");
        assert!(!partial.exists());
    }
    assert_eq!(names(folder.path()), ["m.dat", "m.gguf"]);
}

#[test]
#[should_panic(expected = "columns of a")]
fn other_dimensions_are_a_mistake_of_the_program() {
    let mut activations = Activations::default();
    activations.add("a", 1, 0, 8, &noise(1, 8));
    activations.add("a", 1, 0, 4, &noise(1, 8));
}
