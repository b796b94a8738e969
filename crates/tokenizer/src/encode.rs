//! Segments to ids.
