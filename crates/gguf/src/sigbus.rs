//! What happens when a mapped file loses its end: the kernel raises SIGBUS at the first read of
//! a page that is not there any more, and nothing can be returned to the reader. A message that
//! names the file and an exit code are what remains possible.
//!
//! The handler may run between any two instructions of any thread: it takes no lock, allocates
//! nothing, and calls nothing but `write`, `_exit` and `sigaction`. It judges only faults in
//! ranges that are watched here; all others go to whoever handled the signal before.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};

/// Twice the shards of the largest model. A range that finds no place is not watched.
const MAX_RANGES: usize = 1024;
/// Of longer paths the end is kept.
const MAX_NAME_BYTES: usize = 256;

/// A watched range. `begin` is 0 while it is not: 0 is no address of a mapping.
struct Range {
    taken: AtomicBool,
    begin: AtomicUsize,
    end: AtomicUsize,
    name_len: AtomicUsize,
    name: [AtomicU8; MAX_NAME_BYTES],
}

impl Range {
    const fn free() -> Self {
        Self {
            taken: AtomicBool::new(false),
            begin: AtomicUsize::new(0),
            end: AtomicUsize::new(0),
            name_len: AtomicUsize::new(0),
            name: [const { AtomicU8::new(0) }; MAX_NAME_BYTES],
        }
    }
}

static RANGES: [Range; MAX_RANGES] = [const { Range::free() }; MAX_RANGES];

/// What handled the signal before.
static PREVIOUS: OnceLock<libc::sigaction> = OnceLock::new();

/// A mapping is watched as long as this lives.
pub(crate) struct Watch {
    range: Option<&'static Range>,
}

impl Watch {
    /// Watches the mapping of the file `path` at `bytes`. The first call installs the handler.
    pub(crate) fn new(path: &Path, bytes: &[u8]) -> Self {
        install();
        let free = |range: &&Range| {
            let taken = &range.taken;
            taken
                .compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed)
                .is_ok()
        };
        let range = RANGES.iter().find(free);
        if let Some(range) = range {
            let name = path.as_os_str().as_bytes();
            let name = &name[name.len().saturating_sub(MAX_NAME_BYTES)..];
            for (place, &byte) in range.name.iter().zip(name) {
                place.store(byte, Ordering::Relaxed);
            }
            range.name_len.store(name.len(), Ordering::Relaxed);
            let begin = bytes.as_ptr().addr();
            range.end.store(begin + bytes.len(), Ordering::Relaxed);
            // Whoever sees the beginning sees all that was stored before it.
            range.begin.store(begin, Ordering::Release);
        }
        Self { range }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(range) = self.range {
            range.begin.store(0, Ordering::Release);
            range.taken.store(false, Ordering::Release);
        }
    }
}

/// The range that holds an address. Between its two loads a range may pass from one mapping to
/// another; then the name may be that of the wrong file, for a fault that is ours all the same.
fn watching(address: usize) -> Option<&'static Range> {
    RANGES.iter().find(|range| {
        let begin = range.begin.load(Ordering::Acquire);
        begin != 0 && (begin..range.end.load(Ordering::Relaxed)).contains(&address)
    })
}

fn install() {
    static INSTALLED: OnceLock<()> = OnceLock::new();
    INSTALLED.get_or_init(|| {
        // SAFETY: all zeros is a valid `sigaction`: no flags, an empty mask, the default action.
        let mut previous: libc::sigaction = unsafe { std::mem::zeroed() };
        // SAFETY: without a new action the call only fills `previous`, which is ours to write.
        let known = unsafe { libc::sigaction(libc::SIGBUS, std::ptr::null(), &mut previous) };
        if known != 0 {
            return;
        }
        // Stored before the handler can run for the first time.
        PREVIOUS.get_or_init(|| previous);
        // SAFETY: as above.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) = handle;
        action.sa_sigaction = handler as usize;
        // On the alternative stack, as the standard library's own handler: it must get there
        // where the stack itself is what faulted.
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        // SAFETY: the action is complete and its handler has the signature that SA_SIGINFO
        // demands; where the call fails, the signal keeps its previous action.
        unsafe { libc::sigaction(libc::SIGBUS, &action, std::ptr::null_mut()) };
    });
}

extern "C" fn handle(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel passes a valid record to a handler installed with SA_SIGINFO.
    let (address, code) = unsafe { ((*info).si_addr().addr(), (*info).si_code) };
    // Codes up to 0 are of signals that a process sent; those have no address.
    if code > 0
        && let Some(range) = watching(address)
    {
        report(range);
        // SAFETY: `_exit` runs nothing of this process and does not return.
        unsafe { libc::_exit(1) };
    }
    pass_on(signal, info, context);
}

/// Writes the message to standard error in one piece.
fn report(range: &Range) {
    const BEFORE: &[u8] = b"perigee: ";
    const AFTER: &[u8] =
        b": the file was cut short while it was in use, or its disk failed: its weights cannot be read\n";
    let mut message = [0_u8; BEFORE.len() + MAX_NAME_BYTES + AFTER.len()];
    let name_len = range.name_len.load(Ordering::Relaxed).min(MAX_NAME_BYTES);
    let name = range.name[..name_len].iter();
    let name = name.map(|byte| byte.load(Ordering::Relaxed));
    let text = BEFORE
        .iter()
        .copied()
        .chain(name)
        .chain(AFTER.iter().copied());
    let mut len = 0;
    for (place, byte) in message.iter_mut().zip(text) {
        *place = byte;
        len += 1;
    }
    // SAFETY: `message` holds at least `len` bytes. There is nobody to report a failure to.
    unsafe { libc::write(libc::STDERR_FILENO, message.as_ptr().cast(), len) };
}

/// Does what would have been done without this module.
fn pass_on(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let previous = PREVIOUS.get();
    let action = previous.map_or(libc::SIG_DFL, |previous| previous.sa_sigaction);
    let flags = previous.map_or(0, |previous| previous.sa_flags);
    // SAFETY: the kernel passed the record to this handler.
    let sent = unsafe { (*info).si_code } <= 0;
    match action {
        // The kernel does not let a process ignore its own fault.
        libc::SIG_IGN if sent => (),
        libc::SIG_DFL | libc::SIG_IGN => {
            // SAFETY: all zeros is the default action, which takes no handler. A fault comes
            // again when this handler returns; a signal that was sent must be sent again, and
            // is delivered then as well.
            unsafe {
                let default: libc::sigaction = std::mem::zeroed();
                libc::sigaction(signal, &default, std::ptr::null_mut());
                if sent {
                    libc::raise(signal);
                }
            }
        }
        handler if flags & libc::SA_SIGINFO != 0 => {
            // SAFETY: whoever installed this address with SA_SIGINFO promised the kernel a
            // function of this signature; it gets what the kernel passed.
            unsafe {
                let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) =
                    std::mem::transmute(handler);
                handler(signal, info, context);
            }
        }
        handler => {
            // SAFETY: as above, for the signature without SA_SIGINFO.
            unsafe {
                let handler: extern "C" fn(libc::c_int) = std::mem::transmute(handler);
                handler(signal);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Watch, watching};

    #[test]
    fn a_range_is_watched_from_its_first_byte_to_its_last_until_it_is_dropped() {
        let (bytes, others) = (vec![0_u8; 4096], vec![0_u8; 4096]);
        let begin = bytes.as_ptr().addr();
        let watch = Watch::new(Path::new("a"), &bytes);
        let other = Watch::new(&Path::new("folder").join("x".repeat(1000)), &others);
        assert!(watching(begin).is_some() && watching(begin + 4095).is_some());
        let name_len = |address| {
            let range = watching(address).expect("watched");
            range.name_len.load(std::sync::atomic::Ordering::Relaxed)
        };
        assert_eq!(
            (name_len(begin), name_len(others.as_ptr().addr())),
            (1, 256)
        );
        drop(watch);
        assert!(watching(begin).is_none() && watching(begin + 4095).is_none());
        drop(other);
        assert!(watching(others.as_ptr().addr()).is_none());
    }

    #[test]
    fn places_are_used_again() {
        let bytes = vec![0_u8; 64];
        for _ in 0..3000 {
            let watch = Watch::new(Path::new("a"), &bytes);
            assert!(watch.range.is_some());
        }
    }
}
