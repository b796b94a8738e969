//! Merges derived from ranks, and the spelling of tokens.
//!
//! A rank file says only which byte strings are tokens. The merge that makes a token is what
//! byte-pair encoding with the lower ranks leaves of it: two parts.

use rustc_hash::FxHashMap;

/// The merges `LEFT RIGHT` in the order of the tokens that they make, and how many tokens of
/// two bytes and more are not made of two others.
pub(super) fn of(ranks: &[Vec<u8>]) -> (Vec<String>, usize) {
    let by_bytes: FxHashMap<&[u8], usize> = (0..)
        .zip(ranks)
        .map(|(rank, token)| (token.as_slice(), rank))
        .collect();
    let mut merges = Vec::new();
    let mut unmerged = 0;
    for (rank, token) in ranks.iter().enumerate() {
        if token.len() < 2 {
            continue;
        }
        match two_parts(&by_bytes, token, rank) {
            Some(middle) => {
                let (left, right) = token.split_at(middle);
                merges.push(format!("{} {}", spell(left), spell(right)));
            }
            None => unmerged += 1,
        }
    }
    (merges, unmerged)
}

/// Where the last merge of a token joins its parts, if encoding it with the ranks below its own
/// leaves two parts, both of them tokens.
fn two_parts(by_bytes: &FxHashMap<&[u8], usize>, token: &[u8], rank: usize) -> Option<usize> {
    // Begins of the parts, and the end of the last.
    let mut bounds: Vec<usize> = (0..=token.len()).collect();
    loop {
        let pairs = bounds.windows(3).enumerate();
        let lowest = pairs
            .filter_map(|(i, pair)| {
                let pair_rank = *by_bytes.get(&token[pair[0]..pair[2]])?;
                (pair_rank < rank).then_some((pair_rank, i + 1))
            })
            .min();
        match lowest {
            Some((_, middle)) => bounds.remove(middle),
            None => break,
        };
    }
    let [0, middle, _] = bounds[..] else {
        return None;
    };
    let known = |part: &[u8]| by_bytes.contains_key(part);
    (known(&token[..middle]) && known(&token[middle..])).then_some(middle)
}

/// GPT-2's spelling: printable bytes of Latin-1 stand for themselves, the other 68 are U+0100
/// and up in increasing order.
pub(super) fn spell(token: &[u8]) -> String {
    token.iter().map(|&byte| spell_byte(byte)).collect()
}

fn spell_byte(byte: u8) -> char {
    let printable = |byte: u8| matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
    if printable(byte) {
        return char::from(byte);
    }
    let before = (0..byte).filter(|&byte| !printable(byte)).count() as u32;
    // At most U+0143, all of which are characters.
    char::from_u32(0x100 + before).unwrap_or(char::REPLACEMENT_CHARACTER)
}
