//! The ordinary tokens: byte-pair encoding over a page of text.

use super::bytes_in_rank_order;
use std::collections::{BTreeMap, HashSet};

const CORPUS: &str = include_str!("corpus.txt");

/// A word as the tokens it consists of so far, and how often it occurs.
type Word = (Vec<String>, usize);

/// The `n` ordinary tokens in rank order and the merges that build those of two bytes
/// and more, all in GPT-2's spelling.
pub(super) fn ordinary_tokens(n: usize) -> (Vec<String>, Vec<String>) {
    let spelling = spelling();
    let mut tokens: Vec<String> = bytes_in_rank_order()
        .iter()
        .map(|&byte| spelling[usize::from(byte)].to_string())
        .collect();
    let mut merges = Vec::new();
    let mut known: HashSet<String> = tokens.iter().cloned().collect();
    let mut add = |left: &str, right: &str| {
        let whole = format!("{left}{right}");
        if tokens.len() < n && known.insert(whole.clone()) {
            tokens.push(whole);
            merges.push(format!("{left} {right}"));
        }
        tokens.len() < n
    };
    // Kimi's ids 256 and 257.
    let space = spelling[usize::from(b' ')].to_string();
    add(&space, &space);
    add(&space.repeat(2), &space.repeat(2));

    let mut words = words(&spelling);
    while let Some((left, right)) = most_frequent_pair(&words) {
        if !add(&left, &right) {
            break;
        }
        for (word, _) in &mut words {
            merge(word, &left, &right);
        }
    }
    fill(&mut add);
    (tokens, merges)
}

/// Pairs, triples and quadruples of letters, until `add` declines: tokens that only make
/// a vocabulary large.
fn fill(add: &mut impl FnMut(&str, &str) -> bool) {
    let letters = || ('a'..='z').chain('A'..='Z').map(String::from);
    let mut shorter: Vec<String> = letters().collect();
    for _ in 0..3 {
        let mut longer = Vec::new();
        for left in &shorter {
            for right in letters() {
                if !add(left, &right) {
                    return;
                }
                longer.push(format!("{left}{right}"));
            }
        }
        shorter = longer;
    }
}

/// The corpus in runs of letters with one leading space, digits, and other characters:
/// coarser than Kimi's split, whose pieces these never cross.
fn words(spelling: &[char; 256]) -> Vec<Word> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let class = |c: char| match c {
        'a'..='z' | 'A'..='Z' => 0,
        '0'..='9' => 1,
        ' ' => 2,
        '\n' => 3,
        _ => 4,
    };
    let mut rest = CORPUS;
    while let Some(first) = rest.chars().next() {
        let skip = usize::from(class(first) == 2);
        let run = rest[skip..].chars().next().map_or(2, class);
        let end = rest[skip..].find(|c| class(c) != run);
        let (word, tail) = rest.split_at(end.map_or(rest.len(), |end| end + skip));
        // Merged digits would go beyond the split's runs of three.
        if run != 1 {
            *counts.entry(word).or_default() += 1;
        }
        rest = tail;
    }
    let spell = |word: &str| {
        word.bytes()
            .map(|b| spelling[usize::from(b)].to_string())
            .collect()
    };
    counts
        .into_iter()
        .map(|(word, n)| (spell(word), n))
        .collect()
}

/// The adjacent pair that occurs most often, the first in order among equals.
fn most_frequent_pair(words: &[Word]) -> Option<(String, String)> {
    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for (word, n) in words {
        for pair in word.windows(2) {
            *counts.entry((&pair[0], &pair[1])).or_default() += n;
        }
    }
    let best = counts.iter().rev().max_by_key(|(_, n)| **n)?;
    let (left, right) = best.0;
    Some(((*left).to_owned(), (*right).to_owned()))
}

fn merge(word: &mut Vec<String>, left: &str, right: &str) {
    let mut i = 0;
    while i + 1 < word.len() {
        if word[i] == left && word[i + 1] == right {
            let tail = word.remove(i + 1);
            word[i].push_str(&tail);
        }
        i += 1;
    }
}

/// GPT-2's visible character for each byte: itself where printable, else U+0100 onwards.
fn spelling() -> [char; 256] {
    let mut spelling = ['\0'; 256];
    for (rank, byte) in bytes_in_rank_order().into_iter().enumerate() {
        // The 188 printable bytes come first; the others follow in increasing order.
        spelling[usize::from(byte)] = match rank.checked_sub(188) {
            None => char::from(byte),
            Some(i) => char::from_u32(0x100 + i as u32).expect("below the surrogates"),
        };
    }
    spelling
}
