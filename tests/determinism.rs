//! `--deterministic`: identical bytes whatever the batch, the threads and the cached prefix.

use crate::program::output;

#[test]
fn run_prints_identical_bytes_in_every_way_to_compute_them() {
    let prompt = "Tell me about the Moon and its distance from home, please. ".repeat(6);
    let run = |args: &[&str]| {
        let base = [
            "run",
            "--demo",
            "-p",
            &prompt,
            "--temp",
            "0",
            "-n",
            "32",
            "--deterministic",
        ];
        let output = output(&[&base[..], args].concat());
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let counts = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.stdout, counts)
    };
    let (expected, _) = run(&["-ub", "512", "-t", "2"]);
    assert!(expected.len() > 32, "{expected:?}");
    for ubatch in ["1", "512"] {
        for threads in ["1", "2"] {
            for warm in [&[][..], &["--warm-prefix"]] {
                let (found, counts) = run(&[&["-ub", ubatch, "-t", threads], warm].concat());
                assert_eq!(found, expected, "-ub {ubatch} -t {threads} {warm:?}");
                assert_eq!(!counts.contains("(0 cached)"), !warm.is_empty(), "{counts}");
            }
        }
    }
}
