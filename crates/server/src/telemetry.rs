//! One log line per request. Never a word of the conversation.

use std::time::Duration;

use crate::generation::{Outcome, Totals};

/// Logs a finished request: `prompt 12,034 (10,980 cached) 1.2 s · 512 tokens 20.9 t/s · 2 tool calls`.
pub(crate) fn finished(id: &str, outcomes: &[Outcome], totals: &Totals) {
    let n_calls: usize = outcomes
        .iter()
        .map(|outcome| outcome.reply.calls.len())
        .sum();
    let finish = outcomes.first().map_or("", |outcome| outcome.finish_reason);
    tracing::info!(id, finish, "{}", summary(totals, n_calls));
}

/// Logs a request whose client left.
pub(crate) fn cancelled(id: &str, after: Duration) {
    tracing::info!(
        id,
        "cancelled by the client after {:.1} s",
        after.as_secs_f64()
    );
}

fn summary(totals: &Totals, n_calls: usize) -> String {
    let mut line = format!("prompt {}", thousands(totals.prompt_tokens));
    if totals.cached_tokens > 0 {
        line += &format!(" ({} cached)", thousands(totals.cached_tokens));
    }
    line += &format!(" {:.1} s", totals.prompt_time.as_secs_f64());
    line += &format!(" · {} tokens", thousands(totals.generated_tokens));
    let seconds = totals.generation_time.as_secs_f64();
    if seconds > 0.0 {
        line += &format!(" {:.1} t/s", totals.generated_tokens as f64 / seconds);
    }
    if totals.queue_time > Duration::from_millis(50) {
        line += &format!(" · queued {:.1} s", totals.queue_time.as_secs_f64());
    }
    match n_calls {
        0 => {}
        1 => line += " · 1 tool call",
        n => line += &format!(" · {n} tool calls"),
    }
    line
}

fn thousands(n: usize) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_prompt_cache_speed_and_calls() {
        let totals = Totals {
            prompt_tokens: 12_034,
            cached_tokens: 10_980,
            generated_tokens: 512,
            prompt_time: Duration::from_millis(1_200),
            generation_time: Duration::from_millis(24_498),
            ..Totals::default()
        };
        assert_eq!(
            summary(&totals, 2),
            "prompt 12,034 (10,980 cached) 1.2 s · 512 tokens 20.9 t/s · 2 tool calls"
        );
    }
}
