//! The tokenizer on the real Kimi-K2 vocabulary.

mod corpus;
mod endurance;
mod golden;
mod properties;
mod vectors;
mod vocabulary;
