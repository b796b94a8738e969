//! Nothing lives here: the package exists for its one test harness, `main.rs`.
