//! `perigee run`: one prompt, one answer.

use std::io::{self, Write as _};

use anyhow::Result;
use perigee_chat::{ChatFormat, Conversation, Delta, Message, RenderOptions, Role};

use super::turn::Terminal;
use crate::args::RunArgs;

/// Prints the answer on standard output, counts and reasoning on standard error.
pub(crate) fn run(args: RunArgs) -> Result<()> {
    let terminal = Terminal::start(args.model, args.sampling)?;
    let raw = args.raw || !terminal.tokenizer().is_kimi();
    let (finish, usage) = if raw {
        let prompt = terminal
            .tokenizer()
            .encode(&terminal.tokenizer().parse_special(&args.prompt));
        if args.warm_prefix {
            terminal.continue_text(prompt.clone(), Some(0), |_| {})?;
        }
        terminal.continue_text(prompt, args.predict, print_text)?
    } else {
        let format = ChatFormat::builtin(terminal.tokenizer())?;
        let mut conversation = Conversation::default();
        conversation
            .messages
            .extend(args.system.map(|text| Message::text(Role::System, text)));
        conversation
            .messages
            .push(Message::text(Role::User, args.prompt));
        let options = RenderOptions {
            thinking: !args.no_thinking,
            ..RenderOptions::default()
        };
        if args.warm_prefix {
            terminal.answer(&format, &conversation, &options, Some(0), |_| {})?;
        }
        let answer =
            terminal.answer(&format, &conversation, &options, args.predict, print_delta)?;
        (answer.finish, answer.usage)
    };
    writeln!(io::stdout())?;
    eprintln!("{}", super::turn::counts(finish, &usage));
    Ok(())
}

fn print_delta(delta: &Delta) {
    match delta {
        Delta::Reasoning(text) | Delta::Content(text) => print_text(text),
        Delta::CallOpen { id, .. } => print_text(&format!("\n[{id}] ")),
        Delta::CallArguments { json, .. } => print_text(json),
        Delta::CallClose { .. } => print_text("\n"),
    }
}

/// Prints at once. A closed pipe ends the output, not the program's exit code.
fn print_text(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
