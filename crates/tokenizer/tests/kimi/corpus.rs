//! Text of many kinds, composed from `testdata/seeds.txt` by a fixed generator.
//! `testdata/make_golden.py` composes the same text: the two change together.

const SEEDS: &str = include_str!("../../testdata/seeds.txt");

/// Chunks in the golden file, beside the extremes.
pub(crate) const N_CHUNKS: u64 = 400;

const CHUNK_BYTES: usize = 16_000;

#[rustfmt::skip]
const SPACES: [&str; 14] = [
    " ", "  ", "    ", "\n", "\r\n", "\t", "\n\n", " \n ", "\n    ", "\u{3000}", "\u{a0}", "\r", " \t ", "\u{2028}",
];

const SUFFIXES: [&str; 8] = ["", "", "", " ", "'s", "'LL", "\n", "0"];

/// First and last code point of what chunks of code points draw from.
#[rustfmt::skip]
const RANGES: [(u32, u32); 35] = [
    (0x00, 0x7f), (0x20, 0x7e), (0x80, 0xff), (0x100, 0x24f), (0x2b0, 0x36f), (0x370, 0x3ff),
    (0x400, 0x52f), (0x530, 0x5ff), (0x600, 0x6ff), (0x900, 0x97f), (0x980, 0x9ff), (0xb80, 0xbff),
    (0xe00, 0xe7f), (0x1780, 0x17ff), (0x1e00, 0x1fff), (0x2000, 0x206f), (0x2070, 0x218f),
    (0x2190, 0x2bff), (0x2e80, 0x303f), (0x3040, 0x30ff), (0x3400, 0x3420), (0x4e00, 0x9fff),
    (0xa000, 0xa4cf), (0xac00, 0xd7a3), (0xe000, 0xe010), (0xf900, 0xfaff), (0xfe00, 0xfe0f),
    (0xff00, 0xffef), (0x10300, 0x1034f), (0x16fe0, 0x16ff1), (0x1d400, 0x1d7ff), (0x1f1e6, 0x1f1ff),
    (0x1f300, 0x1faff), (0x20000, 0x2a6df), (0xe0100, 0xe01ef),
];

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() >> 32) as usize % n
    }

    fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())]
    }
}

/// The seed lines by section.
pub(crate) fn read_seeds() -> Vec<Vec<String>> {
    let mut sections: Vec<Vec<String>> = Vec::new();
    for line in SEEDS.split('\n') {
        if line.starts_with("# ") {
            sections.push(Vec::new());
        } else if !line.is_empty() {
            sections.last_mut().unwrap().push(unescape(line));
        }
    }
    sections
}

/// Only `\uXXXX`; every other backslash is text.
fn unescape(line: &str) -> String {
    let mut parts = line.split("\\u");
    let mut text = parts.next().unwrap().to_owned();
    for part in parts {
        let (digits, rest) = part.split_at(4);
        text.push(char::from_u32(u32::from_str_radix(digits, 16).unwrap()).unwrap());
        text += rest;
    }
    text
}

/// A line, a word or a cutting of one, white space, or a number.
fn seeded_piece(random: &mut Random, lines: &[String]) -> String {
    let line = &lines[random.below(lines.len())];
    let words: Vec<&str> = line.split(' ').collect();
    match random.below(10) {
        0..3 => format!("{line}\n"),
        3..5 => format!("{} ", random.pick(&words)),
        5..7 => {
            let start = random.below(line.chars().count());
            let length = random.below(12);
            line.chars().skip(start).take(length).collect()
        }
        7 => random.pick(&words).to_ascii_uppercase(),
        8 => {
            let space = random.pick(&SPACES);
            space.repeat(1 + random.below(3))
        }
        _ => random.below(1 << 31).to_string(),
    }
}

/// Up to eight characters of one range, sometimes with a space or an apostrophe.
fn character_piece(random: &mut Random) -> String {
    let (first, last) = random.pick(&RANGES);
    let n = 1 + random.below(8);
    let mut text = String::new();
    for _ in 0..n {
        let offset = random.below((last - first + 1) as usize);
        text.push(char::from_u32(first + offset as u32).unwrap());
    }
    text + random.pick(&SUFFIXES)
}

/// Sixteen bytes, half of them ASCII, invalid UTF-8 replaced.
fn byte_piece(random: &mut Random) -> String {
    let mut bytes = Vec::new();
    for _ in 0..16 {
        let n = if random.below(2) == 0 { 128 } else { 256 };
        bytes.push(random.below(n) as u8);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// About 16 KB of text; the kind changes with the index.
pub(crate) fn chunk(index: u64, sections: &[Vec<String>]) -> String {
    let mut random = Random(index);
    let kind = (index % 8) as usize;
    let mut text = String::new();
    while text.len() < CHUNK_BYTES {
        text += &match kind {
            // Prose, code, CJK, Indic and South-East Asian, right-to-left.
            0..5 => seeded_piece(&mut random, &sections[kind]),
            5 => {
                let section = random.below(sections.len());
                seeded_piece(&mut random, &sections[section])
            }
            6 => character_piece(&mut random),
            _ => byte_piece(&mut random),
        };
    }
    text
}

/// Texts that the vendor's cuts divide.
pub(crate) fn extremes() -> [String; 9] {
    [
        " ".repeat(60_001) + "x",
        "x".repeat(60_001) + " y",
        "\n".repeat(24_999) + "   " + &"\u{1c}".repeat(24_999) + "z",
        "\u{1c} \u{1f}".repeat(20_000) + "end",
        "世".repeat(25_001) + " " + &"é".repeat(25_000) + "b",
        "ab ".repeat(140_000),
        " a".repeat(195_000) + &"a".repeat(60_000),
        "don't ".repeat(70_000) + &"\u{3000}".repeat(30_000) + &"1".repeat(30_000),
        "!".repeat(50_003) + &"\r\n".repeat(13_000),
    ]
}
