//! Synthetic models, the f64 reference forward pass, error norms. Development only.

#![forbid(unsafe_code)]
