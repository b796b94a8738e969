//! The run: tensor after tensor into one file, or into as many as the source has.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use perigee_gguf::{Declared, Gguf, Layout, Tensor, Value};
use perigee_quant::QuantKind;

use crate::output::{self, Output};
use crate::rows::{Encoding, NotFinite};
use crate::{Imatrix, Plan};

const ALIGNMENT: &str = "general.alignment";
const FILE_TYPE: &str = "general.file_type";
const QUANTIZATION_VERSION: &str = "general.quantization_version";

/// How to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Threads that encode.
    pub n_threads: usize,
    /// Write as many shards as the source has, with the same tensors in each.
    pub keep_split: bool,
    /// What the output depends on beyond plan and source, in words: an interrupted run goes on
    /// only if they are the same.
    pub fingerprint: String,
}

/// How far a run is.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// Bytes of source tensors that are done.
    pub done: u64,
    /// Bytes of all source tensors.
    pub total: u64,
    /// The tensor at hand.
    pub tensor: &'a str,
}

/// What was written.
#[derive(Clone, Debug)]
pub struct Report {
    /// The files, in order.
    pub paths: Vec<PathBuf>,
    /// Their bytes.
    pub n_bytes: u64,
    /// Tensors that an interrupted run had left.
    pub n_resumed: usize,
}

/// Why a run has ended early. What it has written stays, and the same run goes on after it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QuantizeError {
    /// The output cannot be written.
    #[error("{}: {source}; what is whole stays, and the same command goes on from there", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The output would replace a file of the source.
    #[error("{} is a file of the source: name another output", path.display())]
    Same {
        /// The file.
        path: PathBuf,
    },
    /// Shards are asked for under a name that has no place for their numbers.
    #[error("{}: with --keep-split the name must end in .gguf", path.display())]
    ShardName {
        /// The name.
        path: PathBuf,
    },
    /// A weight is infinite or no number, or the type that it is to have cannot hold it.
    #[error("{tensor}, row {row}: a weight is not a finite number or too large for the type")]
    NotFinite {
        /// The tensor.
        tensor: String,
        /// The row, over all its matrices.
        row: usize,
    },
}

enum Stop {
    Io(io::Error),
    NotFinite(usize),
}

impl From<NotFinite> for Stop {
    fn from(error: NotFinite) -> Self {
        Self::NotFinite(error.row)
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Makes `out` of `source` by `plan`.
///
/// Files grow in `NAME.part` and get their names when they are whole.
///
/// # Errors
/// A file cannot be written, a weight is not finite. What is whole by then stays in
/// `NAME.part`, and a run with the same source, plan and fingerprint goes on after it.
///
/// # Panics
/// If `plan` is of another source.
pub fn quantize(
    source: &Gguf,
    plan: &Plan,
    imatrix: Option<&Imatrix>,
    out: &Path,
    options: &Options,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Report, QuantizeError> {
    let of_source = source.tensors().iter().map(|tensor| &tensor.name);
    let of_plan = plan.tensors.iter().map(|planned| &planned.declared.name);
    assert!(of_source.eq(of_plan), "the plan is of another source");
    let files = files(source, out, options.keep_split)?;
    let total = source.tensors().iter().map(|tensor| tensor.n_bytes as u64);
    let mut run = Run {
        source,
        plan,
        imatrix,
        options,
        progress,
        done: 0,
        total: total.sum(),
    };
    let mut report = Report {
        paths: Vec::new(),
        n_bytes: 0,
        n_resumed: 0,
    };
    for file in &files {
        let (n_bytes, n_resumed) = run.file(file)?;
        report.n_bytes += n_bytes;
        report.n_resumed += n_resumed;
        report.paths.push(file.path.clone());
    }
    for file in &files {
        // Best effort: a mark that stays is only clutter.
        let _ = fs::remove_file(done_mark(&file.path));
    }
    Ok(report)
}

/// One file of the output.
struct OutFile {
    path: PathBuf,
    /// Indices of its tensors.
    tensors: Vec<usize>,
    /// Number and count, when there are several.
    split: Option<(u16, u16)>,
}

fn files(source: &Gguf, out: &Path, keep_split: bool) -> Result<Vec<OutFile>, QuantizeError> {
    let n_shards = source.paths().len();
    let of = |shard: usize| {
        let tensors = source.tensors().iter().enumerate();
        let of_shard = tensors.filter(move |(_, tensor)| tensor.shard == shard);
        of_shard.map(|(i, _)| i).collect::<Vec<_>>()
    };
    let files = if keep_split && n_shards > 1 {
        let name = out.file_name().map(|name| name.to_string_lossy());
        let prefix = name.as_deref().and_then(|name| name.strip_suffix(".gguf"));
        let prefix = prefix.ok_or_else(|| QuantizeError::ShardName {
            path: out.to_owned(),
        })?;
        // A source has at most as many shards as a u16 counts.
        let count = n_shards as u16;
        (0..count)
            .map(|number| OutFile {
                path: out.with_file_name(format!(
                    "{prefix}-{:05}-of-{count:05}.gguf",
                    u32::from(number) + 1
                )),
                tensors: of(number.into()),
                split: Some((number, count)),
            })
            .collect()
    } else {
        vec![OutFile {
            path: out.to_owned(),
            tensors: (0..source.tensors().len()).collect(),
            split: None,
        }]
    };
    for file in &files {
        check_name(source, &file.path)?;
    }
    Ok(files)
}

/// That nothing which is written for `path` replaces a file of the source, or anything that is
/// no file: found here, not after hours of encoding.
fn check_name(source: &Gguf, path: &Path) -> Result<(), QuantizeError> {
    let sources = source.paths().into_iter().map(fs::canonicalize);
    let sources: Vec<PathBuf> = sources.filter_map(Result::ok).collect();
    let written = [
        path.to_owned(),
        output::part(path),
        output::resume(path),
        done_mark(path),
    ];
    for path in written {
        if fs::canonicalize(&path).is_ok_and(|path| sources.contains(&path)) {
            return Err(QuantizeError::Same { path });
        }
    }
    match fs::metadata(path) {
        Ok(metadata) if !metadata.is_file() => Err(QuantizeError::Io {
            path: path.to_owned(),
            source: io::Error::other("it is there and no file"),
        }),
        _ => Ok(()),
    }
}

struct Run<'a> {
    source: &'a Gguf,
    plan: &'a Plan,
    imatrix: Option<&'a Imatrix>,
    options: &'a Options,
    progress: &'a mut dyn FnMut(Progress<'_>),
    done: u64,
    total: u64,
}

impl<'a> Run<'a> {
    /// Writes one file: its bytes, and how many tensors were there already.
    fn file(&mut self, file: &OutFile) -> Result<(u64, usize), QuantizeError> {
        let io = |source| QuantizeError::Io {
            path: file.path.clone(),
            source,
        };
        let declared: Vec<&Declared> = file
            .tensors
            .iter()
            .map(|&i| &self.plan.tensors[i].declared)
            .collect();
        let layout = Layout::new(&self.entries(file), declared.into_iter()).map_err(io)?;
        let n_bytes = layout.file_bytes();
        let fingerprint = self.fingerprint();
        if is_done(&file.path, &layout, &fingerprint) {
            self.done += self.source_bytes(&file.tensors);
            return Ok((n_bytes, file.tensors.len()));
        }
        let mut output = Output::open(&file.path, layout, &fingerprint).map_err(io)?;
        let n_resumed = output.n_whole();
        self.done += self.source_bytes(&file.tensors[..n_resumed]);
        for &i in &file.tensors[n_resumed..] {
            if let Err(stop) = self.tensor(i, &mut output) {
                // Best effort: the error that matters is the first one.
                let _ = output.sync();
                return Err(match stop {
                    Stop::Io(source) => io(source),
                    Stop::NotFinite(row) => QuantizeError::NotFinite {
                        tensor: self.source.tensors()[i].name.clone(),
                        row,
                    },
                });
            }
        }
        // A mark of an earlier run is not of the file that gets the name now.
        remove_if_there(&done_mark(&file.path)).map_err(io)?;
        output.finish().map_err(io)?;
        if file.split.is_some() {
            // Later shards may be interrupted: then this one is not made again.
            fs::write(done_mark(&file.path), &fingerprint).map_err(io)?;
        }
        Ok((n_bytes, n_resumed))
    }

    fn source_bytes(&self, tensors: &[usize]) -> u64 {
        let bytes = |&i: &usize| self.source.tensors()[i].n_bytes as u64;
        tensors.iter().map(bytes).sum()
    }

    /// What the bytes of the output depend on.
    fn fingerprint(&self) -> String {
        let sources = self.source.paths().into_iter().map(|path| {
            let metadata = fs::metadata(path).ok();
            let len = metadata.as_ref().map_or(0, fs::Metadata::len);
            let modified = metadata.and_then(|metadata| metadata.modified().ok());
            format!("{} {len} {modified:?}", path.display())
        });
        let sources: Vec<String> = sources.collect();
        let weighted = self.plan.tensors.iter().map(|planned| planned.weighted);
        let weighted: String = weighted.map(|w| if w { '1' } else { '0' }).collect();
        format!(
            "perigee {} symmetric={} {} weighted={weighted} {}",
            env!("CARGO_PKG_VERSION"),
            self.plan.symmetric_q4_0,
            sources.join(" "),
            self.options.fingerprint,
        )
        .replace('\n', " ")
    }

    fn entries(&self, file: &OutFile) -> Vec<(String, Value)> {
        // A source may store it in any width; the layout reads what the format prescribes.
        let alignment = self.source.metadata().u32(ALIGNMENT).ok().flatten();
        let alignment = alignment.map(|bytes| (ALIGNMENT.to_owned(), Value::U32(bytes)));
        let mut entries: Vec<(String, Value)> = alignment.into_iter().collect();
        if file.split.is_none_or(|(number, _)| number == 0) {
            let kept = self.source.metadata().iter();
            let kept = kept.filter(|(key, _)| {
                !key.starts_with("split.")
                    && !matches!(*key, FILE_TYPE | QUANTIZATION_VERSION | ALIGNMENT)
            });
            entries.extend(kept.map(|(key, value)| (key.to_owned(), value.clone())));
            entries.push((QUANTIZATION_VERSION.to_owned(), Value::U32(2)));
            if let Some(file_type) = self.file_type() {
                entries.push((FILE_TYPE.to_owned(), Value::U32(file_type)));
            }
        }
        if let Some((number, count)) = file.split {
            entries.push(("split.no".to_owned(), Value::U16(number)));
            entries.push(("split.count".to_owned(), Value::U16(count)));
            let n_tensors = self.source.tensors().len() as i32;
            entries.push(("split.tensors.count".to_owned(), Value::I32(n_tensors)));
        }
        entries
    }

    /// The number that other programs show for the type of most bytes, where they agree on one.
    fn file_type(&self) -> Option<u32> {
        let by_kind = self.plan.by_kind();
        let (name, _) = by_kind.iter().max_by_key(|(_, (_, bytes))| *bytes)?;
        Some(match QuantKind::from_name(name)? {
            QuantKind::F32 => 0,
            QuantKind::F16 => 1,
            QuantKind::Q4_0 => 2,
            QuantKind::Q4_1 => 3,
            QuantKind::Q8_0 => 7,
            QuantKind::Q5_0 => 8,
            QuantKind::Q5_1 => 9,
            QuantKind::Q2K => 10,
            QuantKind::Q3K => 12,
            QuantKind::Q4K => 15,
            QuantKind::Q5K => 17,
            QuantKind::Q6K => 18,
            QuantKind::Iq4Nl => 25,
            QuantKind::Iq4Xs => 30,
            QuantKind::Bf16 => 32,
            _ => return None,
        })
    }

    fn tensor(&mut self, i: usize, output: &mut Output) -> Result<(), Stop> {
        let (tensor, planned) = (&self.source.tensors()[i], &self.plan.tensors[i]);
        (self.progress)(Progress {
            done: self.done,
            total: self.total,
            tensor: &tensor.name,
        });
        let bytes = self.source.bytes(tensor);
        if planned.declared.kind == tensor.kind {
            output.write(bytes)?;
        } else {
            let encoding = self.encoding(tensor, i);
            let from = tensor.kind.row_bytes(encoding.row_len).unwrap_or(0);
            let to = encoding.to.row_bytes(encoding.row_len).unwrap_or(1);
            let mut written = 0;
            encoding.run(bytes, self.options.n_threads, |piece| -> Result<(), Stop> {
                output.write(piece)?;
                written += piece.len() as u64;
                (self.progress)(Progress {
                    done: self.done + written / to as u64 * from as u64,
                    total: self.total,
                    tensor: &tensor.name,
                });
                Ok(())
            })?;
        }
        output.end_tensor()?;
        self.done += tensor.n_bytes as u64;
        Ok(())
    }

    fn encoding(&self, tensor: &Tensor, i: usize) -> Encoding<'a> {
        let planned = &self.plan.tensors[i];
        let n_matrices: u64 = tensor.shape[2..].iter().product();
        let importance = self.imatrix.filter(|_| planned.weighted);
        let columns = importance.and_then(|imatrix| {
            // The plan has checked the size.
            let found = imatrix.columns(&tensor.name, n_matrices, tensor.shape[0]);
            found.ok().flatten()
        });
        let to = planned.declared.kind;
        Encoding {
            from: tensor.kind,
            to,
            row_len: tensor.shape[0] as usize,
            rows_per_matrix: tensor.shape[1] as usize,
            importance: columns,
            symmetric: self.plan.symmetric_q4_0 && to == QuantKind::Q4_0,
        }
    }
}

fn done_mark(path: &Path) -> PathBuf {
    path.with_added_extension("done")
}

/// Whether an interrupted run has finished this shard.
fn is_done(path: &Path, layout: &Layout, fingerprint: &str) -> bool {
    let same = fs::read_to_string(done_mark(path)).is_ok_and(|mark| mark == fingerprint);
    let whole = || fs::metadata(path).is_ok_and(|found| found.len() == layout.file_bytes());
    // Types are in the header only: other types can have as many bytes.
    same && whole() && output::begins_with(path, layout.header()).unwrap_or(false)
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
