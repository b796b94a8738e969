//! `perigee chat`: a conversation in the terminal.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use anyhow::Result;
use perigee_chat::{
    Arguments, ChatFormat, Conversation, Delta, Message, RenderOptions, Role, ToolCall,
};

use super::turn::{Terminal, counts};
use crate::args::ChatArgs;

const HELP: &str = "\
/reset   forget the conversation
/think   switch thinking on or off
/help    this list
/exit    leave (also Ctrl-D)";

/// Reads lines, prints answers as they are generated.
pub(crate) fn run(args: ChatArgs) -> Result<()> {
    let demo = args.model.demo;
    let terminal = Terminal::start(args.model, args.sampling)?;
    let format = ChatFormat::builtin(terminal.tokenizer())?;
    if demo {
        eprintln!("{}", super::serve::DEMO_BANNER);
    }
    eprintln!("{HELP}");
    let start = || {
        let mut conversation = Conversation::default();
        conversation.messages.extend(
            args.system
                .clone()
                .map(|text| Message::text(Role::System, text)),
        );
        conversation
    };
    let mut conversation = start();
    let mut options = RenderOptions {
        thinking: !args.no_thinking,
        ..RenderOptions::default()
    };
    let mut lines = io::stdin().lock().lines();
    loop {
        prompt();
        let Some(line) = lines.next() else { break };
        let line = line?;
        match line.trim() {
            "" => continue,
            "/exit" | "/quit" => break,
            "/help" => eprintln!("{HELP}"),
            "/reset" => {
                conversation = start();
                eprintln!("(forgotten)");
            }
            "/think" => {
                options.thinking = !options.thinking;
                eprintln!("(thinking {})", if options.thinking { "on" } else { "off" });
            }
            command if command.starts_with('/') && !command.contains(' ') => {
                eprintln!("unknown command {command}\n{HELP}");
            }
            _ => answer(&terminal, &format, &mut conversation, &options, line)?,
        }
    }
    Ok(())
}

fn answer(
    terminal: &Terminal,
    format: &ChatFormat,
    conversation: &mut Conversation,
    options: &RenderOptions,
    line: String,
) -> Result<()> {
    conversation.messages.push(Message::text(Role::User, line));
    let mut printer = Printer::default();
    let answer = terminal.answer(format, conversation, options, None, |delta| {
        printer.print(delta)
    });
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => {
            // A prompt that is too long, say: the conversation goes on without it.
            eprintln!("error: {error:#}");
            conversation.messages.pop();
            return Ok(());
        }
    };
    writeln!(io::stdout())?;
    eprintln!("({})", counts(answer.finish, &answer.usage));
    let mut message = Message::text(Role::Assistant, answer.reply.content);
    message.reasoning = Some(answer.reply.reasoning).filter(|text| !text.is_empty());
    message.tool_calls = answer
        .reply
        .calls
        .into_iter()
        .map(|call| ToolCall {
            id: call.id,
            name: call.name,
            arguments: Arguments::Text(call.arguments),
        })
        .collect();
    conversation.messages.push(message);
    Ok(())
}

fn prompt() {
    let mut err = io::stderr().lock();
    // Nobody reads the prompt if standard error is closed.
    let _ = write!(err, "> ").and_then(|()| err.flush());
}

/// Prints reasoning dimmed on a terminal, and plainly elsewhere.
#[derive(Default)]
struct Printer {
    reasoning: bool,
}

impl Printer {
    fn print(&mut self, delta: &Delta) {
        let colours = io::stdout().is_terminal();
        let text = match delta {
            Delta::Reasoning(text) if colours && !self.reasoning => format!("\x1b[2m{text}"),
            Delta::Reasoning(text) => text.clone(),
            Delta::Content(text) => text.clone(),
            Delta::CallOpen { id, .. } => format!("\n[{id}] "),
            Delta::CallArguments { json, .. } => json.clone(),
            Delta::CallClose { .. } => "\n".to_owned(),
        };
        let leaves = self.reasoning && !matches!(delta, Delta::Reasoning(_));
        let separator = match (leaves, colours) {
            (true, true) => "\x1b[0m\n\n",
            (true, false) => "\n\n",
            (false, _) => "",
        };
        self.reasoning = matches!(delta, Delta::Reasoning(_));
        let mut out = io::stdout().lock();
        // A closed pipe ends the output only.
        let _ = write!(out, "{separator}{text}").and_then(|()| out.flush());
    }
}
