//! Any bytes as a model file: an error or a model, never a panic.
#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use perigee_arch::{Config, inventory};
use perigee_gguf::Gguf;
use perigee_tokenizer::Tokenizer;

fuzz_target!(|bytes: &[u8]| -> Corpus {
    let Ok(gguf) = Gguf::from_vec("fuzz.gguf", bytes.to_vec()) else {
        return Corpus::Keep;
    };
    for tensor in gguf.tensors() {
        assert_eq!(gguf.bytes(tensor).len(), tensor.n_bytes);
    }
    if let Ok(config) = Config::from_metadata(gguf.metadata()) {
        assert!(config.kq_scale() > 0.0);
        assert_eq!(config.rope_frequencies().len() * 2, config.qk_rope_head_dim);
        if let Ok(found) = inventory(&gguf, &config) {
            for expected in &found.tensors {
                assert!(gguf.tensor(&expected.name).is_some());
            }
        }
    }
    if let Ok(tokenizer) = Tokenizer::from_metadata(gguf.metadata()) {
        let ids = tokenizer.encode_text("a b");
        assert!(
            ids.iter()
                .all(|id| (id.0 as usize) < tokenizer.vocab_size())
        );
    }
    Corpus::Keep
});
