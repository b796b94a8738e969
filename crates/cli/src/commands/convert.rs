//! `perigee convert`: a published checkpoint as a GGUF.

use std::io::{self, Write};

use anyhow::Result;
use perigee_convert::{Event, Options, Plan, convert};
use perigee_gguf::Declared;
use perigee_quant::QuantKind;

use crate::args::{ConvertArgs, MatrixType};
use crate::progress::LoadProgress;
use crate::units::size;

/// Converts, or shows what would be written.
pub(crate) fn run(args: &ConvertArgs) -> Result<()> {
    let options = Options {
        matrices: match args.matrices {
            MatrixType::Q8_0 => QuantKind::Q8_0,
            MatrixType::Bf16 => QuantKind::Bf16,
            MatrixType::F32 => QuantKind::F32,
        },
        round_scales: args.round_scales,
        name: args.name.clone(),
        threads: args.threads.unwrap_or(0),
    };
    if args.dry_run {
        return show(&Plan::new(&args.checkpoint, &options)?);
    }
    let progress = LoadProgress::new("converting");
    let report = convert(
        &args.checkpoint,
        &args.out,
        &options,
        &mut |event| match event {
            Event::Note(note) => eprintln!("{note}"),
            Event::Progress { done, total, .. } => progress.set(done, total),
            _ => {}
        },
    )?;
    progress.finish();
    writeln!(
        io::stdout(),
        "wrote {}: {} tensors, {}",
        args.out.display(),
        report.n_tensors,
        size(report.n_bytes)
    )?;
    if report.recovered_groups > 0 {
        let n = report.recovered_groups;
        writeln!(
            io::stdout(),
            "{n} groups are exact with another scale and other integers of equal products"
        )?;
    }
    if report.rounded_groups > 0 {
        writeln!(
            io::stdout(),
            "{} groups have a rounded scale",
            report.rounded_groups
        )?;
    }
    Ok(())
}

fn show(plan: &Plan) -> Result<()> {
    let mut out = io::stdout().lock();
    for note in &plan.notes {
        writeln!(out, "{note}")?;
    }
    for planned in &plan.tensors {
        let Declared { name, kind, shape } = &planned.declared;
        writeln!(out, "{name:<44}{:<8}{shape:?}", kind.name())?;
    }
    let n_bytes = plan.tensors.iter().map(|planned| planned.n_bytes).sum();
    writeln!(out, "{} tensors, {}", plan.tensors.len(), size(n_bytes))?;
    Ok(())
}
