//! The program under test: running it, and serving with it on a free port.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// The workspace's folder.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tests/ lies in the workspace")
        .to_owned()
}

/// The program, built in the profile of these tests.
pub(crate) fn perigee() -> Command {
    let tests = std::env::current_exe().expect("this test has a path");
    let folder = tests
        .parent()
        .and_then(Path::parent)
        .expect("target/PROFILE/deps/TEST");
    let program = folder.join("perigee");
    assert!(
        program.exists(),
        "{} is not built: run the tests with `cargo xtask test`, or first `cargo build --features perigee-cli/scripted`",
        program.display()
    );
    let mut command = Command::new(program);
    command
        .env_remove("PERIGEE_LOG")
        .env("RUST_BACKTRACE", "1")
        .stdin(Stdio::null());
    command
}

/// Runs the program to its end.
pub(crate) fn output(args: &[&str]) -> Output {
    perigee().args(args).output().expect("the program starts")
}

/// Asserts an exit with failure and exactly one error line, and returns that line.
pub(crate) fn error_line(args: &[&str]) -> String {
    let output = output(args);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{args:?} succeeded: {text}");
    let errors: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("error: "))
        .collect();
    assert_eq!(errors.len(), 1, "{args:?} printed: {text}");
    assert!(
        !text.contains("panicked") && !text.contains("backtrace"),
        "{args:?} printed: {text}"
    );
    errors[0].to_owned()
}

/// Runs a script of `tests/clients` with the servers' addresses, which says at its end that all is
/// well. Without the environment that `cargo xtask test` makes it is skipped.
pub(crate) fn passes_script(script: &str, servers: &[&Server]) {
    let Some(python) = std::env::var_os("PERIGEE_TEST_PYTHON") else {
        println!(
            "skipped: PERIGEE_TEST_PYTHON is not set (cargo xtask test makes the environment)"
        );
        return;
    };
    let output = Command::new(python)
        .arg(root().join("tests/clients").join(script))
        .args(servers.iter().map(|server| format!("{}/v1", server.url)))
        .output()
        .expect("python starts");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.ends_with("all passed\n"),
        "{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A server on a free port, stopped when dropped.
pub(crate) struct Server {
    child: Child,
    /// `http://127.0.0.1:PORT`.
    pub(crate) url: String,
    /// What it said before it was ready.
    pub(crate) log: String,
}

impl Server {
    /// Starts `perigee serve --port 0 ARGS` and waits until it is ready.
    pub(crate) fn start(args: &[&str]) -> Self {
        Self::spawn(perigee().args(["serve", "--port", "0"]).args(args))
    }

    /// Starts a command that serves and waits until it is ready.
    pub(crate) fn spawn(command: &mut Command) -> Self {
        let child = command
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        // From here on dropping it ends the child, also if it never becomes ready.
        let mut server = Self {
            child,
            url: String::new(),
            log: String::new(),
        };
        let stderr = server.child.stderr.take().expect("stderr was piped");
        let (sender, lines) = mpsc::channel();
        // The thread ends with the pipe.
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        while server.url.is_empty() {
            let line = lines
                .recv_timeout(Duration::from_secs(60))
                .unwrap_or_else(|_| panic!("not ready: {}", server.log));
            if let Some(url) = line
                .split("ready: ")
                .nth(1)
                .and_then(|rest| rest.strip_suffix("/v1"))
            {
                server.url = url.to_owned();
            }
            server.log += &line;
            server.log.push('\n');
        }
        server
    }

    /// Asks the server to stop, as a service manager does.
    pub(crate) fn terminate(&self) {
        let status = Command::new("kill")
            .arg(self.child.id().to_string())
            .status()
            .expect("kill runs");
        assert!(status.success());
    }

    /// Waits for the server's own end and returns whether it succeeded.
    pub(crate) fn wait(&mut self) -> bool {
        self.child
            .wait()
            .expect("the server is a child of this test")
            .success()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Already gone is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
