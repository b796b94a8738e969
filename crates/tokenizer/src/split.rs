//! Kimi pre-tokenizer.
