//! `-ot REGEX=TARGET[,REGEX=TARGET…]`.

use fancy_regex::{CompileError, Regex, RegexBuilder};

use crate::Target;

/// Steps that an expression may go back on one tensor name. Names have some thirty
/// characters: whoever needs more has written an expression that explodes.
const BACKTRACK_LIMIT: usize = 100_000;

/// One rule: searched unanchored in tensor names; the first match wins.
#[derive(Debug)]
pub struct Rule {
    text: String,
    regex: Regex,
    target: Target,
}

/// Why a rule is not one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RuleError {
    /// Nothing says where to.
    #[error("rule \"{rule}\": expected REGEX=TARGET, as in \"exps=CPU\"")]
    NoTarget {
        /// The rule as written.
        rule: String,
    },
    /// The place is not one that can be named.
    #[error("rule \"{rule}\": unknown target {target:?}, expected CPU, CPU.nodeN, CUDAn or DISK")]
    UnknownTarget {
        /// The rule as written.
        rule: String,
        /// Its part after the last `=`.
        target: String,
    },
    /// An expression without characters matches every name: more likely a slip.
    #[error("rule \"{rule}\": the expression is empty; \".\" matches every tensor")]
    EmptyExpression {
        /// The rule as written.
        rule: String,
    },
    /// The expression cannot be compiled.
    #[error("rule \"{rule}\": not a regular expression: {reason}")]
    Expression {
        /// The rule as written.
        rule: String,
        /// What the engine says about it, on one line.
        reason: String,
    },
}

impl Rule {
    /// Parses a comma list, in order. A comma ends a rule only after `=WORD` and outside
    /// brackets, so `blk\.\d{1,2}\.=CPU,exps=CPU` is two rules.
    ///
    /// # Errors
    /// The first rule that has no or an unknown target, or no valid expression; the error
    /// quotes that rule.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, RuleError> {
        split_list(text).into_iter().map(Self::parse).collect()
    }

    /// Parses one rule.
    fn parse(text: &str) -> Result<Self, RuleError> {
        let text = text.trim();
        let rule = || text.to_owned();
        let (expression, word) = text
            .rsplit_once('=')
            .ok_or_else(|| RuleError::NoTarget { rule: rule() })?;
        let word = word.trim();
        let Some(target) = Target::parse(word) else {
            let target = word.to_owned();
            return Err(RuleError::UnknownTarget {
                rule: rule(),
                target,
            });
        };
        let expression = expression.trim_end();
        if expression.is_empty() {
            return Err(RuleError::EmptyExpression { rule: rule() });
        }
        let regex = RegexBuilder::new(expression)
            .backtrack_limit(BACKTRACK_LIMIT)
            .build()
            .map_err(|error| RuleError::Expression {
                rule: rule(),
                reason: reason(error),
            })?;
        let text = rule();
        Ok(Self {
            text,
            regex,
            target,
        })
    }

    /// The rule as written: `exps=CPU`.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Where the tensors go.
    pub fn target(&self) -> Target {
        self.target
    }

    /// Whether the expression is found anywhere in a tensor's name.
    ///
    /// # Errors
    /// The expression goes back too often on this name.
    pub(crate) fn matches(&self, tensor: &str) -> Result<bool, Box<fancy_regex::Error>> {
        self.regex.is_match(tensor).map_err(Box::new)
    }
}

/// What is wrong with an expression. The engine's own message stops at "error parsing
/// pattern 0" for what it hands on to its inner engine; that one draws a picture of
/// several lines, of which the last one says it.
fn reason(error: fancy_regex::Error) -> String {
    let fancy_regex::Error::CompileError(compile) = &error else {
        return error.to_string();
    };
    let CompileError::InnerError(inner) = &**compile else {
        return compile.to_string();
    };
    if inner.size_limit().is_some() {
        return "it becomes too large when its repetitions are written out".to_owned();
    }
    let picture = inner.syntax_error().map(ToString::to_string);
    let last_line = picture.as_deref().and_then(|text| text.lines().last());
    match last_line {
        Some(line) => line.trim_start_matches("error: ").to_owned(),
        None => inner.to_string(),
    }
}

/// The rules of a list, still as text. Tensor names hold neither `=` nor `,`, yet a list
/// does not split at every comma: expressions have their own, in `{1,3}` and elsewhere.
fn split_list(text: &str) -> Vec<&str> {
    let mut rules = Vec::new();
    let mut start = 0;
    let mut brackets = Brackets::default();
    for (at, character) in text.char_indices() {
        if character == ',' && brackets.are_closed() && ends_in_target(&text[start..at]) {
            rules.push(&text[start..at]);
            start = at + 1;
        } else {
            brackets.step(character);
        }
    }
    rules.push(&text[start..]);
    rules
}

/// Whether the text ends in `=WORD`. The word may be misspelt: taking it for a target
/// gives the user an error about it instead of an expression that matches nothing.
fn ends_in_target(text: &str) -> bool {
    let is_word = |word: &str| {
        let mut characters = word.trim().chars();
        characters.next().is_some_and(char::is_alphabetic)
            && characters.all(|c| c.is_alphanumeric() || "._:".contains(c))
    };
    text.rsplit_once('=').is_some_and(|(_, word)| is_word(word))
}

/// How deep in brackets a scan of an expression stands.
#[derive(Default)]
struct Brackets {
    /// Open `(` and `{`.
    groups: usize,
    /// Open `[`; classes nest.
    classes: usize,
    after_backslash: bool,
}

impl Brackets {
    fn are_closed(&self) -> bool {
        self.groups == 0 && self.classes == 0
    }

    fn step(&mut self, character: char) {
        if std::mem::take(&mut self.after_backslash) {
            return;
        }
        match character {
            '\\' => self.after_backslash = true,
            '[' => self.classes += 1,
            ']' => self.classes = self.classes.saturating_sub(1),
            '(' | '{' if self.classes == 0 => self.groups += 1,
            ')' | '}' if self.classes == 0 => self.groups = self.groups.saturating_sub(1),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
