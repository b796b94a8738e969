//! The spellings that users of llama.cpp and ik_llama.cpp have in their fingers.
//!
//! Their programs take long names behind one dash (`-ngl 99`), which is not a
//! convention that argument parsers know: this file rewrites them before parsing.

use std::ffi::OsString;

/// One-dash names and what they are called here.
const ALIASES: &[(&str, &str)] = &[
    ("-ub", "--ubatch-size"),
    ("-np", "--parallel"),
    ("-ot", "--override-tensor"),
    ("-ngl", "--gpu-layers"),
    ("-ncmoe", "--n-cpu-moe"),
    ("-cmoe", "--cpu-moe"),
    ("-ctk", "--cache-type-k"),
    ("-ctv", "--cache-type-v"),
    ("--n-gpu-layers", "--gpu-layers"),
    ("--temperature", "--temp"),
    ("--n-predict", "--predict"),
    ("--mmap", "--load=map"),
    ("--no-mmap", "--load=pack"),
    ("--ui", "--webui"),
    ("--no-ui", "--webui=none"),
    ("--no-webui", "--webui=none"),
];

/// Flags of the peers that Perigee has no use for: how many values they take, and why not.
const UNNEEDED: &[(&str, usize, &str)] = &[
    (
        "-mla",
        1,
        "attention is always MLA, in the form that is faster for the batch",
    ),
    ("-amb", 1, "attention scratch is bounded without it"),
    ("-fa", 1, "attention is always fused"),
    ("-fmoe", 0, "experts are always fused"),
    ("-ger", 0, "experts are always grouped"),
    (
        "-rtr",
        0,
        "weights are repacked while loading, unless --load map",
    ),
    ("-muge", 0, "gate and up need no merging flag"),
    ("--merge-qkv", 0, "attention weights need no merging flag"),
    ("--jinja", 0, "the chat format is always rendered"),
    (
        "--special",
        0,
        "control tokens never reach the text of an answer",
    ),
    ("--warmup-batch", 0, "the model is always warmed up"),
    ("-b", 1, "only the physical batch, --ubatch-size, matters"),
    (
        "--batch-size",
        1,
        "only the physical batch, --ubatch-size, matters",
    ),
    (
        "-tb",
        1,
        "prompts and generation use the same threads, --threads",
    ),
    (
        "--threads-batch",
        1,
        "prompts and generation use the same threads, --threads",
    ),
];

/// Arguments as the parser wants them, and what to tell the user about the rest.
pub(crate) struct Typed {
    pub(crate) args: Vec<OsString>,
    pub(crate) notices: Vec<String>,
}

/// Rewrites one-dash names and drops unneeded flags with a notice.
pub(crate) fn translate(args: impl Iterator<Item = OsString>) -> Typed {
    let mut typed = Typed {
        args: Vec::new(),
        notices: Vec::new(),
    };
    let mut args = args.peekable();
    while let Some(arg) = args.next() {
        let Some(text) = arg.to_str() else {
            typed.args.push(arg);
            continue;
        };
        // Everything after `--` is text, not flags.
        if text == "--" {
            typed.args.push(arg);
            typed.args.extend(args);
            break;
        }
        if let Some(&(flag, n_values, why)) = UNNEEDED.iter().find(|(flag, ..)| *flag == text) {
            typed
                .notices
                .push(format!("{flag} is not needed here: {why}"));
            for _ in 0..n_values {
                // `-fa` stands alone in older command lines.
                if args
                    .peek()
                    .and_then(|next| next.to_str())
                    .is_some_and(|next| !next.starts_with('-'))
                {
                    args.next();
                }
            }
            continue;
        }
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        match (ALIASES.iter().find(|(alias, _)| *alias == name), value) {
            (Some((_, long)), Some(value)) => typed.args.push(format!("{long}={value}").into()),
            (Some((_, long)), None) => typed.args.push((*long).into()),
            (None, _) => typed.args.push(arg),
        }
    }
    typed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(typed: &str, expected: &str, n_notices: usize) {
        let found = translate(typed.split(' ').map(OsString::from));
        let found_args: Vec<_> = found
            .args
            .iter()
            .map(|arg| arg.to_string_lossy().into_owned())
            .collect();
        assert_eq!(found_args.join(" "), expected);
        assert_eq!(found.notices.len(), n_notices, "{:?}", found.notices);
    }

    #[test]
    fn one_dash_names_of_the_peers_are_understood() {
        check(
            "perigee serve -ub 512 -ot exps=CPU -ngl 99",
            "perigee serve --ubatch-size 512 --override-tensor exps=CPU --gpu-layers 99",
            0,
        );
        check(
            "perigee serve -ctk=q8_0",
            "perigee serve --cache-type-k=q8_0",
            0,
        );
        check("perigee serve --no-mmap", "perigee serve --load=pack", 0);
        check("perigee serve --no-webui", "perigee serve --webui=none", 0);
        check(
            "perigee serve --webui none",
            "perigee serve --webui none",
            0,
        );
    }

    #[test]
    fn flags_without_a_use_here_are_dropped_and_named() {
        check(
            "perigee serve -mla 3 -amb 512 -fmoe --jinja -c 4096",
            "perigee serve -c 4096",
            4,
        );
        check("perigee serve -fa -c 4096", "perigee serve -c 4096", 1);
        check("perigee serve -fa on -c 4096", "perigee serve -c 4096", 1);
    }

    #[test]
    fn text_after_two_dashes_is_left_alone() {
        check("perigee run -- -ub -mla 3", "perigee run -- -ub -mla 3", 0);
    }
}
