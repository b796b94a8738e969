//! How long a thread polls before it sleeps.

use std::time::Duration;

/// Polls between looks at the clock: a look costs as much as several polls.
#[cfg(not(loom))]
const POLLS_PER_LOOK: u32 = 64;

/// A time to poll for.
#[derive(Clone, Copy)]
pub(crate) struct Patience {
    #[cfg_attr(loom, expect(dead_code, reason = "models have no clock"))]
    limit: Duration,
}

impl Patience {
    pub(crate) const fn new(limit: Duration) -> Self {
        Self { limit }
    }

    /// Begins to wait.
    #[cfg(not(loom))]
    pub(crate) fn begin(self) -> impl FnMut() -> bool {
        let mut n_polls = 0u32;
        let mut began = None;
        // True: poll again.
        move || {
            std::hint::spin_loop();
            n_polls = n_polls.wrapping_add(1);
            if !n_polls.is_multiple_of(POLLS_PER_LOOK) {
                return true;
            }
            let now = std::time::Instant::now();
            now.duration_since(*began.get_or_insert(now)) < self.limit
        }
    }

    /// Models poll once: polling again is nothing new, and time is not modelled.
    #[cfg(loom)]
    pub(crate) fn begin(self) -> impl FnMut() -> bool {
        || false
    }
}
