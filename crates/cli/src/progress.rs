//! The bar of long work on files: bytes, rate and time left, on a terminal; sparse lines elsewhere.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Shows how far long work on files has come. Callable from several threads.
pub(crate) struct LoadProgress {
    bar: ProgressBar,
    what: &'static str,
    /// Without a terminal: when the last line was printed.
    lines: Option<Mutex<Instant>>,
}

impl LoadProgress {
    /// A bar on standard error, or lines if that is not a terminal.
    pub(crate) fn new(what: &'static str) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        bar.set_style(
            ProgressStyle::with_template(
                "{prefix} {wide_bar} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta}",
            )
            .expect("a constant template"),
        );
        let lines = bar.is_hidden().then(|| Mutex::new(Instant::now()));
        bar.set_prefix(what);
        Self { bar, what, lines }
    }

    /// Takes the bytes so far and in all.
    pub(crate) fn set(&self, done: u64, total: u64) {
        self.bar.set_length(total);
        self.bar.set_position(done);
        let Some(last) = &self.lines else { return };
        // A poisoned lock only means that another thread failed while printing.
        let mut last = last.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if last.elapsed() >= Duration::from_secs(5) {
            *last = Instant::now();
            let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
            let what = self.what;
            tracing::info!("{what}: {:.1} of {:.1} GiB", gib(done), gib(total));
        }
    }

    /// Removes the bar.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
