//! Which tensor gets which type: rules by name, in order, and a type for the rest.

use fancy_regex::{Regex, RegexBuilder};
use perigee_quant::QuantKind;

/// Steps that an expression may go back on one tensor name. Names have some thirty
/// characters: whoever needs more has written an expression that explodes.
const BACKTRACK_LIMIT: usize = 100_000;

/// Tensors whose names match an expression get a type.
#[derive(Debug)]
pub struct Rule {
    regex: Regex,
    kind: QuantKind,
}

impl Rule {
    /// A rule; the expression is searched unanchored, as ik_llama.cpp and llama.cpp do.
    ///
    /// # Errors
    /// The expression cannot be compiled, or no type has that name.
    pub fn new(expression: &str, kind: &str) -> Result<Self, RecipeError> {
        let text = || format!("{expression}={kind}");
        if expression.is_empty() {
            return Err(RecipeError::EmptyExpression { rule: text() });
        }
        let regex = RegexBuilder::new(expression)
            .backtrack_limit(BACKTRACK_LIMIT)
            .build()
            .map_err(|error| RecipeError::Expression {
                rule: text(),
                reason: error.to_string().replace('\n', " "),
            })?;
        let kind = kind_named(kind)?;
        Ok(Self { regex, kind })
    }

    /// Parses `REGEX=TYPE`.
    ///
    /// # Errors
    /// As [`Rule::new`]; no `=`.
    pub fn parse(text: &str) -> Result<Self, RecipeError> {
        let text = text.trim();
        let (expression, kind) = text.rsplit_once('=').ok_or_else(|| RecipeError::NoType {
            rule: text.to_owned(),
        })?;
        Self::new(expression.trim(), kind.trim())
    }

    fn matches(&self, name: &str) -> bool {
        // An expression that runs out of steps on this name does not match it.
        self.regex.is_match(name).unwrap_or(false)
    }
}

/// Rules in order, and what becomes of tensors that none of them names.
#[derive(Debug)]
pub struct Recipe {
    /// The first rule that matches wins.
    pub rules: Vec<Rule>,
    /// The type of every other matrix.
    pub rest: QuantKind,
    /// Q4_0 takes its scale from the largest magnitude over 7: matrices that were trained
    /// in 4 bits keep their integers. Importances are not used for Q4_0 then.
    pub symmetric_q4_0: bool,
}

/// Why a recipe is not one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecipeError {
    /// Nothing says which type.
    #[error("rule \"{rule}\": expected REGEX=TYPE, as in \"ffn_down_exps=q4_0\"")]
    NoType {
        /// The rule as written.
        rule: String,
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
    /// No type has that name.
    #[error("{name:?} is no type; known are {}", names())]
    UnknownType {
        /// The name as written.
        name: String,
    },
    /// A line of a recipe file is at fault.
    #[error("line {line}: {source}")]
    Line {
        /// 1-based.
        line: usize,
        /// What is wrong with it.
        source: Box<RecipeError>,
    },
    /// A recipe file has no `rest=TYPE`.
    #[error("no line says \"rest = TYPE\": the type of tensors that no rule names")]
    NoRest,
}

fn names() -> String {
    let names: Vec<&str> = QuantKind::ALL.iter().map(|kind| kind.name()).collect();
    names.join(" ")
}

/// The type of that name, in any case.
pub(crate) fn kind_named(name: &str) -> Result<QuantKind, RecipeError> {
    QuantKind::from_name(name).ok_or_else(|| RecipeError::UnknownType {
        name: name.to_owned(),
    })
}

impl Recipe {
    /// Every matrix gets one type.
    pub fn pure(kind: QuantKind) -> Self {
        Self {
            rules: Vec::new(),
            rest: kind,
            symmetric_q4_0: false,
        }
    }

    /// Parses a comma list of `REGEX=TYPE`. A comma ends a rule outside brackets, so that
    /// `blk\.\d{1,2}\.=q8_0,exps=q4_0` is two rules; names of tensors have no commas.
    ///
    /// # Errors
    /// The first rule that is none.
    pub fn parse_rules(text: &str) -> Result<Vec<Rule>, RecipeError> {
        let rules = split_rules(text).into_iter().map(str::trim);
        rules
            .filter(|rule| !rule.is_empty())
            .map(Rule::parse)
            .collect()
    }

    /// Parses a recipe file: rules on each line, `rest = TYPE` for what no rule names,
    /// `symmetric_q4_0` alone on a line; `#` begins a comment.
    ///
    /// # Errors
    /// The first line that is none of these, with its number; no `rest`.
    pub fn parse_file(text: &str) -> Result<Self, RecipeError> {
        let (mut rules, mut rest, mut symmetric_q4_0) = (Vec::new(), None, false);
        for (i, line) in text.lines().enumerate() {
            let at_line = |source| RecipeError::Line {
                line: i + 1,
                source: Box::new(source),
            };
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            if line == "symmetric_q4_0" {
                symmetric_q4_0 = true;
                continue;
            }
            match line.split_once('=') {
                Some((key, kind)) if key.trim() == "rest" => {
                    rest = Some(kind_named(kind.trim()).map_err(at_line)?);
                }
                _ => rules.extend(Self::parse_rules(line).map_err(at_line)?),
            }
        }
        Ok(Self {
            rules,
            rest: rest.ok_or(RecipeError::NoRest)?,
            symmetric_q4_0,
        })
    }

    /// The type for the tensor of that name.
    pub fn kind(&self, name: &str) -> QuantKind {
        let found = self.rules.iter().find(|rule| rule.matches(name));
        found.map_or(self.rest, |rule| rule.kind)
    }
}

/// Splits at commas and line ends that are in no brackets of any kind.
fn split_rules(text: &str) -> Vec<&str> {
    let mut rules = Vec::new();
    let (mut start, mut depth) = (0, 0_usize);
    // Where the open character class began: a `]` right there is one of its characters.
    let mut class = None;
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            // Whatever is escaped opens and closes nothing.
            '\\' => {
                chars.next();
            }
            ']' => class = class.filter(|&first| first == at),
            _ if class.is_some() => {}
            '[' => {
                let negated = text[at + 1..].starts_with('^');
                class = Some(at + 1 + usize::from(negated));
            }
            '(' | '{' => depth += 1,
            ')' | '}' => depth = depth.saturating_sub(1),
            ',' | '\n' if depth == 0 => {
                rules.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    rules.push(&text[start..]);
    rules
}
