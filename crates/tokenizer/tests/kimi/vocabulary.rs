//! The vendor's rank file, unpacked from the crate that carries it.

use std::sync::LazyLock;

use perigee_tokenizer::{TokenId, Tokenizer, VocabParts};
use splintr_vocab_kimi::KIMI_VOCAB_PACKED;

/// First control id of every Kimi vocabulary.
pub(crate) const FIRST_CONTROL: u32 = 163_584;

/// Kimi-K2.6's tokenizer, built once for all tests.
pub(crate) fn kimi() -> &'static Tokenizer {
    static KIMI: LazyLock<Tokenizer> =
        LazyLock::new(|| Tokenizer::new(VocabParts::from_ranks(ranks())).unwrap());
    &KIMI
}

/// Plain numbers to ids.
pub(crate) fn ids(numbers: &[u32]) -> Vec<TokenId> {
    numbers.iter().copied().map(TokenId).collect()
}

/// The byte strings in rank order: a magic, a count, then for each token its rank, its
/// length (both LEB128) and its bytes.
fn ranks() -> Vec<&'static [u8]> {
    let mut rest = KIMI_VOCAB_PACKED.strip_prefix(b"SPLNTRV1").unwrap();
    let count = u32::from_le_bytes(take(&mut rest, 4).try_into().unwrap());
    assert_eq!(count, FIRST_CONTROL);
    (0..count)
        .map(|expected| {
            assert_eq!(take_varint(&mut rest), expected as usize, "ranks are dense");
            let length = take_varint(&mut rest);
            take(&mut rest, length)
        })
        .collect()
}

fn take(rest: &mut &'static [u8], n: usize) -> &'static [u8] {
    rest.split_off(..n).unwrap()
}

fn take_varint(rest: &mut &'static [u8]) -> usize {
    let mut value = 0;
    for shift in (0..).step_by(7) {
        let byte = take(rest, 1)[0];
        value |= usize::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
    }
    value
}
