//! Inputs that break tokenizers: length, monotony, and what the expression backtracks on.

use std::time::{Duration, Instant};

use crate::vocabulary::kimi;

const TEN_MB: usize = 10_000_000;
const BOUND: Duration = Duration::from_secs(10);

fn check(text: &str) {
    let started = Instant::now();
    let ids = kimi().encode_text(text);
    let taken = started.elapsed();
    assert!(taken < BOUND, "{} bytes took {taken:?}", text.len());
    assert!(kimi().decode(&ids) == text);
}

#[test]
fn ten_megabytes_of_spaces_take_bounded_time() {
    check(&" ".repeat(TEN_MB));
}

#[test]
fn ten_megabytes_of_one_letter_take_bounded_time() {
    check(&"a".repeat(TEN_MB));
}

#[test]
fn more_spaces_before_a_letter_than_the_expression_engine_can_backtrack_are_encoded() {
    check(&format!("{}x", " ".repeat(1_200_000)));
}

#[test]
fn monotonous_text_of_other_kinds_takes_bounded_time() {
    for unit in [
        "\n",
        "\r\n",
        " \n",
        "!",
        "世",
        "A",
        "aA",
        "'s",
        "\u{1c}",
        "\u{301}",
        "9",
        "👩\u{200d}",
    ] {
        check(&unit.repeat(500_000 / unit.len()));
    }
}

#[test]
fn long_raw_prompts_are_searched_for_control_tokens_in_bounded_time() {
    for unit in ["<", "<|", "[", "<|im_end|", "<|im_end|>", "é<"] {
        let text = unit.repeat(2_000_000 / unit.len());
        let started = Instant::now();
        let segments = kimi().parse_special(&text);
        assert!(started.elapsed() < BOUND, "{unit:?}");
        let n_expected = if unit == "<|im_end|>" { 200_000 } else { 1 };
        assert_eq!(segments.len(), n_expected);
    }
}
