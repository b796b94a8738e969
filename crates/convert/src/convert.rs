//! The pieces into a file.

use std::num::NonZeroUsize;
use std::path::Path;
use std::thread;

use perigee_gguf::{Declared, Stream};

use crate::blocks::{self, Piece};
use crate::int4::Tally;
use crate::{Error, Options, Plan};

/// What happens during a conversion.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// Something that a person should know, before the first tensor.
    Note(&'a str),
    /// Bytes of tensors written so far, of all.
    Progress {
        /// The tensor that the last bytes belong to.
        tensor: &'a str,
        /// Bytes written.
        done: u64,
        /// Bytes of all tensors.
        total: u64,
    },
}

/// What a conversion has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Tensors in the file.
    pub n_tensors: usize,
    /// Bytes of all tensors.
    pub n_bytes: u64,
    /// Notes of the plan.
    pub notes: Vec<String>,
    /// Groups of 32 packed integers with a scale that is no f16, kept exact by moving a factor
    /// between the integers and the scale.
    pub recovered_groups: u64,
    /// Groups whose scale was rounded, which [`Options::round_scales`] allows.
    pub rounded_groups: u64,
}

/// Converts the checkpoint in `folder` (`config.json`, safetensors files with their index,
/// `tiktoken.model`, `tokenizer_config.json`) to one GGUF file of architecture `deepseek2`.
///
/// The file grows as `OUT.part` and gets its name when it is whole and on the disk.
///
/// # Errors
/// As [`Plan::new`]; a weight that its type cannot hold; a file that cannot be read or written.
/// Nothing is left under either name then, unless a file was at `out` before.
pub fn convert(
    folder: &Path,
    out: &Path,
    options: &Options,
    on_event: &mut dyn FnMut(Event<'_>),
) -> Result<Report, Error> {
    let plan = Plan::new(folder, options)?;
    for note in &plan.notes {
        on_event(Event::Note(note));
    }
    let tally = write(&plan, out, options, on_event)?;
    Ok(Report {
        n_tensors: plan.tensors.len(),
        n_bytes: plan.n_bytes(),
        notes: plan.notes,
        recovered_groups: tally.recovered,
        rounded_groups: tally.rounded,
    })
}

type Encoded = Result<(Vec<u8>, Tally), Error>;

/// One wave of pieces, one a thread, is encoded while the wave before is written.
fn write(
    plan: &Plan,
    out: &Path,
    options: &Options,
    on_event: &mut dyn FnMut(Event<'_>),
) -> Result<Tally, Error> {
    let declared: Vec<Declared> = plan
        .tensors
        .iter()
        .map(|tensor| tensor.declared.clone())
        .collect();
    let mut stream = Stream::create(out, &plan.metadata, &declared).map_err(Error::io(out))?;
    let n_threads = match options.threads {
        0 => thread::available_parallelism().map_or(1, NonZeroUsize::get),
        n => n,
    };
    let (mut tally, mut done, total) = (Tally::default(), 0, plan.n_bytes());
    let mut put = |piece: &Piece, encoded: Encoded| -> Result<(), Error> {
        let (bytes, piece_tally) = encoded?;
        stream.write(&bytes).map_err(Error::io(out))?;
        tally.add(piece_tally);
        done += bytes.len() as u64;
        let tensor = &plan.tensors[piece.tensor].declared.name;
        on_event(Event::Progress {
            tensor,
            done,
            total,
        });
        Ok(())
    };
    let mut pieces = blocks::pieces(&plan.tensors);
    let mut ready: Vec<(Piece, Encoded)> = Vec::new();
    loop {
        let wave: Vec<Piece> = pieces.by_ref().take(n_threads).collect();
        if wave.is_empty() && ready.is_empty() {
            break;
        }
        ready = thread::scope(|scope| {
            let encode = |piece: Piece| {
                let planned = &plan.tensors[piece.tensor];
                move || blocks::encode(planned, piece, options.round_scales)
            };
            let workers: Vec<_> = wave
                .iter()
                .map(|&piece| (piece, scope.spawn(encode(piece))))
                .collect();
            for (piece, encoded) in ready.drain(..) {
                put(&piece, encoded)?;
            }
            Ok::<_, Error>(workers.into_iter().map(joined).collect())
        })?;
    }
    stream.finish().map_err(Error::io(out))?;
    Ok(tally)
}

fn joined((piece, worker): (Piece, thread::ScopedJoinHandle<'_, Encoded>)) -> (Piece, Encoded) {
    let encoded = worker
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    (piece, encoded)
}
