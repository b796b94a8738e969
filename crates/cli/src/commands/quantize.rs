//! `perigee quantize`: a model in other types.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use perigee_gguf::Gguf;
use perigee_quant::QuantKind;
use perigee_quantize::{Imatrix, Options, Plan, Recipe, Rule, Selection, presets, quantize};
use perigee_topology::Machine;

use crate::args::QuantizeArgs;
use crate::progress::LoadProgress;
use crate::settings::Source;
use crate::{startup, units::size};

/// Plans, shows the plan, and writes the file unless it is a dry run.
pub(crate) fn run(args: &QuantizeArgs) -> Result<()> {
    let Some(source) = args.source.as_ref().filter(|_| !args.list) else {
        return list();
    };
    let (out, recipe_name, threads) = positions(args)?;
    let gguf = startup::open_container(&Source::Path(source.clone()))?;
    let recipe = recipe(args, &recipe_name, &gguf)?;
    let imatrix = match &args.imatrix {
        Some(path) => Some(Imatrix::read(path).context("--imatrix")?),
        None => None,
    };
    let selection = selection(args);
    let weighted = imatrix.as_ref().map(|imatrix| (imatrix, &selection));
    let plan = Plan::new(&gguf, &recipe, weighted, args.allow_requantize)?;
    show(&gguf, &plan, imatrix.as_ref())?;
    let Some(out) = out.filter(|_| !args.dry_run) else {
        return Ok(());
    };
    let options = Options {
        n_threads: threads.unwrap_or_else(Machine::available_cores),
        keep_split: args.keep_split,
        fingerprint: imatrix_fingerprint(args.imatrix.as_deref()),
    };
    let progress = LoadProgress::new("encoding");
    let report = quantize(&gguf, &plan, imatrix.as_ref(), &out, &options, &mut |at| {
        progress.set(at.done, at.total);
    })?;
    progress.finish();
    if report.n_resumed > 0 {
        writeln!(
            io::stdout(),
            "went on after {} tensors of an interrupted run",
            report.n_resumed
        )?;
    }
    for path in &report.paths {
        writeln!(io::stdout(), "wrote {}", path.display())?;
    }
    writeln!(io::stdout(), "{} in all", size(report.n_bytes))?;
    Ok(())
}

fn list() -> Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "recipes:")?;
    for preset in presets() {
        let about = preset.text.lines().take_while(|line| line.starts_with('#'));
        let about: Vec<&str> = about
            .map(|line| line.trim_start_matches(['#', ' ']))
            .collect();
        writeln!(out, "  {:<14}{}", preset.name, about.join(" "))?;
    }
    writeln!(out, "\ntypes for all matrices, with bits per weight:")?;
    for kind in QuantKind::ALL.iter().filter(|kind| kind.has_encoder()) {
        let bits = kind.block_bytes() as f64 * 8.0 / kind.block_len() as f64;
        writeln!(out, "  {:<14}{bits:.3}", kind.name())?;
    }
    Ok(())
}

/// `[OUT.gguf] RECIPE [THREADS]` as the peers take it.
fn positions(args: &QuantizeArgs) -> Result<(Option<PathBuf>, String, Option<usize>)> {
    let mut rest = args.rest.as_slice();
    let mut threads = args.threads;
    if let [before @ .., last] = rest
        && let Ok(n) = last.parse::<usize>()
        && !before.is_empty()
    {
        threads = threads.or(Some(n));
        rest = before;
    }
    let threads = threads.filter(|&n| n > 0);
    match rest {
        [recipe] if args.dry_run => Ok((None, recipe.clone(), threads)),
        [recipe] if recipe.ends_with(".gguf") => {
            bail!("{recipe} to be encoded how? A RECIPE goes after it: perigee quantize --list")
        }
        [_] => bail!("name the file to write: perigee quantize SOURCE OUT.gguf RECIPE"),
        [out, recipe] => Ok((Some(out.into()), recipe.clone(), threads)),
        _ => bail!("expected SOURCE OUT.gguf RECIPE [THREADS]"),
    }
}

fn recipe(args: &QuantizeArgs, name: &str, gguf: &Gguf) -> Result<Recipe> {
    let mut recipe = match Recipe::named(name) {
        Some(recipe) => recipe,
        None if Path::new(name).is_file() => {
            let text = fs::read_to_string(name).with_context(|| name.to_owned())?;
            Recipe::parse_file(&text).with_context(|| name.to_owned())?
        }
        None => bail!("{name:?} is no type, no recipe and no file: perigee quantize --list"),
    };
    if args.pure {
        recipe.rules.clear();
    }
    recipe.symmetric_q4_0 |= args.symmetric_q40;
    let mut rules = Vec::new();
    for text in &args.custom_q {
        rules.extend(Recipe::parse_rules(text).context("--custom-q")?);
    }
    for text in &args.tensor_type {
        rules.push(Rule::parse(text).context("--tensor-type")?);
    }
    if let Some(path) = &args.tensor_type_file {
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let lines = text
            .lines()
            .map(|line| line.split('#').next().unwrap_or(""));
        for line in lines.map(str::trim).filter(|line| !line.is_empty()) {
            rules.push(Rule::parse(line).context("--tensor-type-file")?);
        }
    }
    if let Some(kind) = &args.token_embedding_type {
        rules.push(Rule::new(r"^token_embd\.weight$", kind).context("--token-embedding-type")?);
    }
    if let Some(kind) = &args.output_tensor_type {
        rules.push(Rule::new(r"^output\.weight$", kind).context("--output-tensor-type")?);
    }
    if args.leave_output_tensor
        && let Some(head) = gguf.tensor("output.weight")
    {
        rules.push(Rule::new(r"^output\.weight$", head.kind.name())?);
    }
    rules.append(&mut recipe.rules);
    recipe.rules = rules;
    Ok(recipe)
}

fn selection(args: &QuantizeArgs) -> Selection {
    if !args.include_weights.is_empty() {
        Selection::Include(args.include_weights.clone())
    } else if !args.exclude_weights.is_empty() {
        Selection::Exclude(args.exclude_weights.clone())
    } else {
        Selection::All
    }
}

fn show(gguf: &Gguf, plan: &Plan, imatrix: Option<&Imatrix>) -> Result<()> {
    let mut out = io::stdout().lock();
    for planned in &plan.tensors {
        if let Some(asked) = planned.asked {
            writeln!(
                out,
                "{}: rows of {} are no whole {} blocks, so it becomes {}",
                planned.declared.name,
                planned.declared.shape[0],
                asked.name(),
                planned.declared.kind.name()
            )?;
        }
    }
    writeln!(out, "{:<16}{:>8}{:>14}", "type", "tensors", "size")?;
    for (name, (n, bytes)) in plan.by_kind() {
        writeln!(out, "{name:<16}{n:>8}{:>14}", size(bytes))?;
    }
    if let Some(imatrix) = imatrix {
        let n_weighted = plan
            .tensors
            .iter()
            .filter(|planned| planned.weighted)
            .count();
        writeln!(
            out,
            "importances of {} tensors, used for {n_weighted}",
            imatrix.names().len()
        )?;
    }
    let source: u64 = gguf
        .tensors()
        .iter()
        .map(|tensor| tensor.n_bytes as u64)
        .sum();
    let bits = plan.weight_bytes() as f64 * 8.0 / plan.n_weights().max(1) as f64;
    writeln!(
        out,
        "{} becomes {}, {bits:.3} bits per weight",
        size(source),
        size(plan.weight_bytes())
    )?;
    Ok(())
}

fn imatrix_fingerprint(path: Option<&Path>) -> String {
    let Some(path) = path else {
        return "no importances".to_owned();
    };
    let metadata = fs::metadata(path).ok();
    let len = metadata.as_ref().map_or(0, fs::Metadata::len);
    let modified = metadata.and_then(|metadata| metadata.modified().ok());
    format!("{} {len} {modified:?}", path.display())
}
