//! The table that `perigee bench` prints.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use super::Test;
use crate::args::BenchFormat;

/// What all rows share.
pub(super) struct Context {
    pub(super) model: String,
    pub(super) size_bytes: u64,
    pub(super) n_params: u64,
    pub(super) threads: usize,
    pub(super) ubatch: usize,
    /// Whether prompts end in the logits of every token instead of the last one's.
    pub(super) all_logits: bool,
}

/// A model and its tests.
pub(super) struct Measured {
    pub(super) context: Context,
    pub(super) rows: Vec<Row>,
    /// Whether the last logits were numbers.
    pub(super) finite: bool,
}

/// A test and the time of each repetition.
pub(super) struct Row {
    pub(super) test: Test,
    pub(super) seconds: Vec<Duration>,
    /// Time of each decode step of all repetitions.
    pub(super) steps: Vec<Duration>,
}

impl Row {
    pub(super) fn n_tokens(&self) -> usize {
        self.test.n_seqs * (self.test.n_prompt + self.test.n_gen)
    }

    /// Milliseconds that a share of the steps takes at most; `None` without steps.
    fn step_ms(&self, share: f64) -> Option<f64> {
        let mut steps = self.steps.clone();
        steps.sort_unstable();
        let last = steps.len().checked_sub(1)?;
        Some(steps[(share * last as f64).ceil() as usize].as_secs_f64() * 1e3)
    }

    /// Mean tokens per second of the repetitions.
    pub(super) fn rate(&self) -> f64 {
        mean_and_deviation(&self.rates()).0
    }

    /// Seconds of the fastest repetition, the least disturbed by others.
    pub(super) fn fastest(&self) -> f64 {
        let fastest = self.seconds.iter().min();
        fastest.map_or(f64::NAN, Duration::as_secs_f64)
    }

    fn rates(&self) -> Vec<f64> {
        self.seconds
            .iter()
            .map(|seconds| self.n_tokens() as f64 / seconds.as_secs_f64())
            .collect()
    }
}

/// `pp512`, `tg128`, `tg128 x 4`, `tg128 @ d4096`.
pub(super) fn test_name(test: &Test) -> String {
    let name = if test.n_prompt > 0 {
        format!("pp{}", test.n_prompt)
    } else if test.n_seqs > 1 {
        format!("tg{} x {}", test.n_gen, test.n_seqs)
    } else {
        format!("tg{}", test.n_gen)
    };
    if test.depth > 0 {
        format!("{name} @ d{}", test.depth)
    } else {
        name
    }
}

/// The report in the wanted format.
pub(super) fn render(format: BenchFormat, measured: &Measured) -> String {
    match format {
        BenchFormat::Md => markdown(std::slice::from_ref(measured)) + &steps(&measured.rows),
        BenchFormat::Json => format!("{:#}\n", Value::Array(objects(measured))),
        BenchFormat::Csv => csv(&objects(measured)),
    }
}

/// One table of all models.
pub(super) fn markdown(models: &[Measured]) -> String {
    let width = models
        .iter()
        .map(|model| model.context.model.chars().count())
        .fold(30, usize::max);
    let mut table = format!(
        "| {:<width$} |       size |     params | backend    | threads |            test |                  t/s |\n\
         | {:-<width$} | ---------: | ---------: | ---------- | ------: | --------------: | -------------------: |\n",
        "model", "",
    );
    for Measured { context, rows, .. } in models {
        let gib = context.size_bytes as f64 / f64::from(1 << 30);
        let params = context.n_params as f64 / 1e9;
        for row in rows {
            let (mean, deviation) = mean_and_deviation(&row.rates());
            let rate = format!("{mean:.2} ± {deviation:.2}");
            let _ = writeln!(
                table,
                "| {:<width$} | {gib:>6.2} GiB | {params:>8.2} B | CPU        | {:>7} | {:>15} | {rate:>20} |",
                context.model,
                context.threads,
                test_name(&row.test),
            );
        }
    }
    table
}

/// How evenly tokens come, a line for each test that generates.
fn steps(rows: &[Row]) -> String {
    let mut text = String::new();
    for row in rows {
        if let (Some(p50), Some(p99)) = (row.step_ms(0.5), row.step_ms(0.99)) {
            let name = test_name(&row.test);
            let _ = writeln!(
                text,
                "\n{name}: a step takes {p50:.2} ms (p50), {p99:.2} ms (p99)"
            );
        }
    }
    text
}

/// An object for each test.
pub(super) fn objects(measured: &Measured) -> Vec<Value> {
    let rows = measured.rows.iter();
    rows.map(|row| fields(&measured.context, row)).collect()
}

/// The objects as lines.
pub(super) fn csv(objects: &[Value]) -> String {
    let mut text = String::new();
    for (i, object) in objects.iter().enumerate() {
        let Value::Object(mut fields) = object.clone() else {
            continue;
        };
        // Lists of samples have no place in a cell.
        fields.retain(|_, value| !value.is_array());
        if i == 0 {
            let names: Vec<&str> = fields.keys().map(String::as_str).collect();
            let _ = writeln!(text, "{}", names.join(","));
        }
        let cells: Vec<String> = fields.values().map(cell).collect();
        let _ = writeln!(text, "{}", cells.join(","));
    }
    text
}

fn cell(value: &Value) -> String {
    match value {
        Value::String(text) => format!("\"{}\"", text.replace('"', "\"\"")),
        other => other.to_string(),
    }
}

fn fields(context: &Context, row: &Row) -> Value {
    let nanoseconds: Vec<f64> = row
        .seconds
        .iter()
        .map(|seconds| seconds.as_secs_f64() * 1e9)
        .collect();
    let rates = row.rates();
    let ((avg_ns, stddev_ns), (avg_ts, stddev_ts)) =
        (mean_and_deviation(&nanoseconds), mean_and_deviation(&rates));
    json!({
        "build_number": env!("CARGO_PKG_VERSION"),
        "backends": "CPU",
        "model_type": context.model,
        "model_size": context.size_bytes,
        "model_n_params": context.n_params,
        "n_ubatch": context.ubatch,
        "logits": if context.all_logits { "all" } else { "last" },
        "n_threads": context.threads,
        "n_prompt": row.test.n_prompt,
        "n_gen": row.test.n_gen,
        "n_depth": row.test.depth,
        "n_parallel": row.test.n_seqs,
        "avg_ns": avg_ns.round(),
        "stddev_ns": stddev_ns.round(),
        "avg_ts": avg_ts,
        "stddev_ts": stddev_ts,
        "step_p50_ms": row.step_ms(0.5),
        "step_p99_ms": row.step_ms(0.99),
        "samples_ns": nanoseconds,
        "samples_ts": rates,
    })
}

/// Mean and sample standard deviation (0 for one sample).
fn mean_and_deviation(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    if values.len() < 2 {
        return (mean, 0.0);
    }
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (mean, (squares / (n - 1.0)).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured() -> Measured {
        let context = Context {
            model: "m".to_owned(),
            size_bytes: 1 << 30,
            n_params: 2_000_000_000,
            threads: 2,
            ubatch: 512,
            all_logits: false,
        };
        let test = Test {
            n_prompt: 0,
            n_gen: 10,
            depth: 4096,
            n_seqs: 1,
        };
        let row = Row {
            test,
            seconds: vec![Duration::from_secs(1), Duration::from_secs(2)],
            steps: (1..=100).map(Duration::from_millis).collect(),
        };
        Measured {
            context,
            rows: vec![row],
            finite: true,
        }
    }

    #[test]
    fn markdown_has_the_columns_of_llama_bench() {
        let table = render(BenchFormat::Md, &measured());
        assert!(table.contains("tg10 @ d4096 |"), "{table}");
        assert!(table.contains("7.50 ± 3.54"), "{table}");
        assert!(
            table.ends_with("51.00 ms (p50), 100.00 ms (p99)\n"),
            "{table}"
        );
        let rows = table.lines().filter(|line| line.starts_with('|'));
        let widths: Vec<usize> = rows.map(|line| line.chars().count()).collect();
        assert!(widths.windows(2).all(|pair| pair[0] == pair[1]), "{table}");
    }

    #[test]
    fn json_and_csv_carry_the_same_rate() {
        let json: Value = serde_json::from_str(&render(BenchFormat::Json, &measured())).unwrap();
        assert_eq!(json[0]["avg_ts"], json!(7.5));
        let csv = render(BenchFormat::Csv, &measured());
        let (names, values) = csv.trim_end().split_once('\n').unwrap();
        let column = names.split(',').position(|name| name == "avg_ts").unwrap();
        assert_eq!(values.split(',').nth(column), Some("7.5"));
    }
}
