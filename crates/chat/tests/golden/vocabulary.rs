//! The real vocabulary of Kimi-K2, as a crate carries it.

use perigee_tokenizer::{Tokenizer, VocabParts};

/// The tokenizer of Kimi-K2.6.
pub(crate) fn kimi() -> Tokenizer {
    let packed = splintr_vocab_kimi::KIMI_VOCAB_PACKED;
    let mut rest = packed
        .strip_prefix(b"SPLNTRV1".as_slice())
        .expect("the packed format");
    let n = u32::from_le_bytes(take(&mut rest, 4).try_into().expect("four bytes"));
    let mut ranks: Vec<(u64, Vec<u8>)> = (0..n)
        .map(|_| {
            let rank = varint(&mut rest);
            let len = varint(&mut rest) as usize;
            (rank, take(&mut rest, len).to_vec())
        })
        .collect();
    ranks.sort_unstable_by_key(|(rank, _)| *rank);
    let ranks: Vec<Vec<u8>> = ranks.into_iter().map(|(_, bytes)| bytes).collect();
    Tokenizer::new(VocabParts::from_ranks(ranks)).expect("a complete vocabulary")
}

fn take<'a>(rest: &mut &'a [u8], n: usize) -> &'a [u8] {
    let (taken, left) = rest.split_at(n);
    *rest = left;
    taken
}

/// LEB128.
fn varint(rest: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..).step_by(7) {
        let byte = take(rest, 1)[0];
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    value
}
