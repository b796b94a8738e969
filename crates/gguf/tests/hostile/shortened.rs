//! Files that lose their end while they are mapped. Each case runs in a process of its own: this
//! very test program, told by a variable which one.

use std::fs::{self, OpenOptions};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use perigee_gguf::Gguf;
use perigee_testkit::Synthetic;
use perigee_testkit::hostile::small;
use tempfile::TempDir;

const CASE: &str = "PERIGEE_SHORTENED_CASE";
const FOLDER: &str = "PERIGEE_SHORTENED_FOLDER";

/// Two models, in one file and in shards, and a file that is none.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let model = Synthetic::new(small()).writer();
    model
        .write(&folder.path().join("model.gguf"))
        .expect("the folder is writable");
    model
        .write_shards(folder.path(), "split", 8)
        .expect("the folder is writable");
    fs::write(folder.path().join("other"), vec![1; 1 << 20]).expect("the folder is writable");
    folder
}

fn run(case: &str, folder: &Path) -> Output {
    let program = std::env::current_exe().expect("a running program has a path");
    Command::new(program)
        .args(["--exact", "shortened::child", "--ignored", "--nocapture"])
        .env(CASE, case)
        .env(FOLDER, folder)
        .output()
        .expect("the test program starts again")
}

/// The child must end by itself with code 1 and a message that names `file`.
fn ends_with_message(case: &str, file: &str) {
    let folder = folder();
    let output = run(case, folder.path());
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{}: {text}", output.status);
    let path = folder.path().join(file);
    let expected = format!("perigee: {}: the file was cut short", path.display());
    assert!(text.contains(&expected), "{text}");
    assert!(!text.contains("survived"), "{text}");
}

/// The child must end by SIGBUS, as it would without the reader.
fn ends_by_signal(case: &str) {
    let folder = folder();
    let output = run(case, folder.path());
    let text = String::from_utf8_lossy(&output.stderr);
    let status = output.status;
    assert_eq!(status.signal(), Some(libc::SIGBUS), "{status}: {text}");
    assert!(!text.contains("the file was cut short"), "{text}");
}

#[test]
fn a_file_that_is_cut_short_ends_the_process_with_its_name() {
    ends_with_message("file", "model.gguf");
}

#[test]
fn of_several_shards_the_one_that_is_cut_short_is_named() {
    ends_with_message("shard", "split-00003-of-00005.gguf");
}

#[test]
fn a_thread_that_reads_ends_the_process_as_well() {
    ends_with_message("thread", "model.gguf");
}

#[test]
fn faults_in_other_mappings_are_left_to_others() {
    ends_by_signal("other");
}

#[test]
fn a_model_that_is_closed_is_not_watched() {
    ends_by_signal("closed");
}

#[test]
fn a_signal_that_was_sent_ends_the_process() {
    ends_by_signal("sent");
}

#[test]
fn an_earlier_handler_still_gets_what_is_not_ours() {
    let folder = folder();
    let output = run("handler", folder.path());
    assert_eq!(output.status.code(), Some(42), "{:?}", output);
}

#[test]
#[ignore = "one half of the tests above"]
fn child() {
    let (Ok(case), Ok(folder)) = (std::env::var(CASE), std::env::var(FOLDER)) else {
        return;
    };
    let folder = PathBuf::from(folder);
    if case == "handler" {
        install_handler();
    }
    let model = folder.join("model.gguf");
    match &case[..] {
        "file" => {
            let gguf = Gguf::open(&model).expect("a valid model");
            cut(&model);
            touch(&gguf);
        }
        "shard" => {
            let first = folder.join("split-00001-of-00005.gguf");
            let gguf = Gguf::open(&first).expect("a valid model");
            cut(&folder.join("split-00003-of-00005.gguf"));
            touch(&gguf);
        }
        "thread" => {
            let gguf = Gguf::open(&model).expect("a valid model");
            cut(&model);
            std::thread::scope(|scope| scope.spawn(|| touch(&gguf)).join()).expect("no panic");
        }
        "sent" => {
            let _gguf = Gguf::open(&model).expect("a valid model");
            // The first one only has the standard library's handler step aside, as in any
            // program, for it takes the signal for a fault that will come again.
            // SAFETY: sending a signal to the own process has no conditions.
            unsafe {
                libc::raise(libc::SIGBUS);
                libc::raise(libc::SIGBUS);
            }
        }
        // "other", "closed" and "handler": a mapping that is not the reader's.
        _ => {
            let gguf = Gguf::open(&model).expect("a valid model");
            if case == "closed" {
                drop(gguf);
            }
            fault(&folder.join("other"));
        }
    }
    eprintln!("survived");
}

/// Leaves one page of a file.
fn cut(path: &Path) {
    let file = OpenOptions::new().write(true).open(path);
    let file = file.expect("the file is there");
    file.set_len(4096).expect("the file is writable");
}

fn touch(gguf: &Gguf) {
    for tensor in gguf.tensors() {
        std::hint::black_box(
            gguf.bytes(tensor)
                .iter()
                .map(|&byte| u64::from(byte))
                .sum::<u64>(),
        );
    }
}

/// Maps a file here, cuts it, and reads behind its end.
fn fault(path: &Path) {
    let file = std::fs::File::open(path).expect("the file is there");
    // SAFETY: the mapping is read as plain bytes only; that it is cut is the point.
    let map = unsafe { memmap2::Mmap::map(&file) }.expect("a file can be mapped");
    cut(path);
    std::hint::black_box(map[map.len() - 1]);
}

/// Ends the process with code 42, and had been there before the reader.
fn install_handler() {
    extern "C" fn handle(_: libc::c_int) {
        // SAFETY: `_exit` runs nothing of this process and does not return.
        unsafe { libc::_exit(42) };
    }
    let handler: extern "C" fn(libc::c_int) = handle;
    // SAFETY: the handler has the signature that `signal` demands.
    unsafe { libc::signal(libc::SIGBUS, handler as libc::sighandler_t) };
}
