//! Whether all weights are numbers.

use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Result, ensure};
use perigee_gguf::Gguf;
use perigee_topology::Machine;

use crate::progress::LoadProgress;

/// A tensor with a weight that is infinite or no number.
pub(super) struct Fault {
    tensor: String,
    row: usize,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tensor, row } = self;
        write!(f, "{tensor}, row {row}: a weight is not a finite number")
    }
}

/// Decodes all tensors on all cores; the faults come in file order.
pub(super) fn faults(gguf: &Gguf) -> Vec<Fault> {
    let tensors = gguf.tensors();
    let total = tensors.iter().map(|tensor| tensor.n_bytes as u64).sum();
    let progress = LoadProgress::new("checking");
    let (next, found) = (AtomicUsize::new(0), Mutex::new((0, Vec::new())));
    let worker = || {
        while let Some(tensor) = tensors.get(next.fetch_add(1, Ordering::Relaxed)) {
            let row = gguf.row_not_finite(tensor);
            // Poisoned only if another thread has panicked, which the scope reports.
            let mut found = found
                .lock()
                .unwrap_or_else(|poisoned| poisoned.into_inner());
            found.0 += tensor.n_bytes as u64;
            progress.set(found.0, total);
            if let Some(row) = row {
                let tensor = tensor.name.clone();
                found.1.push(Fault { tensor, row });
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..Machine::available_cores() {
            scope.spawn(worker);
        }
        worker();
    });
    progress.finish();
    let (_, mut faults) = found
        .into_inner()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    let place = |fault: &Fault| {
        tensors
            .iter()
            .position(|tensor| tensor.name == fault.tensor)
    };
    faults.sort_by_key(place);
    faults
}

/// An error when there are faults.
pub(super) fn verdict(faults: &[Fault]) -> Result<()> {
    let n = faults.len();
    ensure!(
        n == 0,
        "{n} tensors hold weights that are not finite numbers"
    );
    Ok(())
}
