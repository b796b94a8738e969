//! What a template's source may be, before it is parsed.
//!
//! The parser and the compiler descend once for each operator of a chain, and the compiler
//! computes constant expressions, so that both are bounded here.

use minijinja::machinery::{Token, tokenize};
use minijinja::syntax::SyntaxConfig;

use crate::format::TemplateError;

/// Longer sources are refused, in bytes. The longest known template has some 30 KB.
const MAX_BYTES: usize = 256 << 10;
/// Most bytes of one tag, from its opening to its closing delimiter.
const MAX_TAG_BYTES: usize = 16 << 10;
/// Most operators, brackets and keywords that join expressions of one tag.
const MAX_TAG_OPERATORS: usize = 256;
/// Most `elif`s that are open at a time.
const MAX_ELIF: usize = 128;
/// Most bytes that the multiplications of constants in one tag may make.
const MAX_CONSTANT: u128 = 1 << 20;

/// One tag as far as it was read.
struct Tag {
    start: usize,
    operators: usize,
    /// The product of its integers.
    factor: u128,
    multiplies_constants: bool,
}

/// Checks the length of the source, its tags and its `elif` chains.
pub(super) fn check(source: &str, syntax: SyntaxConfig) -> Result<(), TemplateError> {
    if source.len() > MAX_BYTES {
        return Err(TemplateError::TooLong {
            bytes: source.len(),
        });
    }
    let excess = |line: u16, reason: String| Err(TemplateError::Excess { line, reason });
    let mut tag: Option<Tag> = None;
    // How many `elif`s each open `if` has had.
    let mut chains: Vec<usize> = Vec::new();
    let mut opening = false;
    let mut after_star = false;
    let mut last_is_name = false;
    for token in tokenize(source, false, syntax) {
        // The parser reports it better.
        let Ok((token, span)) = token else { break };
        let line = span.start_line;
        let bytes = |start: usize| (span.end_offset as usize).saturating_sub(start);
        match &token {
            Token::TemplateData(_) => {}
            Token::VariableStart | Token::BlockStart => {
                tag = Some(Tag {
                    start: span.start_offset as usize,
                    operators: 0,
                    factor: 1,
                    multiplies_constants: false,
                });
            }
            Token::VariableEnd | Token::BlockEnd => tag = None,
            Token::Ident("if") if opening => chains.push(0),
            Token::Ident("elif") if opening => {
                if let Some(last) = chains.last_mut() {
                    *last += 1;
                }
                if chains.iter().sum::<usize>() > MAX_ELIF {
                    return excess(line, format!("more than {MAX_ELIF} elif at a time"));
                }
            }
            Token::Ident("endif") if opening => {
                chains.pop();
            }
            _ => {}
        }
        if let Some(tag) = &mut tag {
            tag.operators += usize::from(joins(&token));
            if let Token::Int(value) = token {
                tag.factor = tag.factor.saturating_mul(u128::from(value.max(1)));
            }
            if matches!(token, Token::Pow | Token::Int128(_)) {
                tag.factor = u128::MAX;
            }
            // A variable on either side makes it no constant.
            let is_name = matches!(token, Token::Ident(name)
                if !matches!(name, "true" | "True" | "false" | "False" | "not"));
            tag.multiplies_constants |= after_star && !is_name;
            after_star = matches!(token, Token::Mul) && !last_is_name;
            last_is_name = is_name;
            let bytes = bytes(tag.start);
            if bytes > MAX_TAG_BYTES {
                return excess(line, format!("a tag of more than {MAX_TAG_BYTES} bytes"));
            }
            if tag.operators > MAX_TAG_OPERATORS {
                return excess(
                    line,
                    format!("a tag of more than {MAX_TAG_OPERATORS} operators"),
                );
            }
            if tag.multiplies_constants && tag.factor.saturating_mul(bytes as u128) > MAX_CONSTANT {
                return excess(line, "a constant that is too large".to_owned());
            }
        }
        opening = matches!(token, Token::BlockStart);
    }
    Ok(())
}

/// Whether the parser or the compiler may descend for this token.
fn joins(token: &Token<'_>) -> bool {
    match token {
        Token::Ident(name) => {
            matches!(*name, "not" | "and" | "or" | "if" | "else" | "in" | "is")
        }
        Token::TemplateData(_)
        | Token::VariableStart
        | Token::VariableEnd
        | Token::BlockStart
        | Token::BlockEnd
        | Token::Str(_)
        | Token::String(_)
        | Token::Int(_)
        | Token::Int128(_)
        | Token::Float(_)
        | Token::Comma
        | Token::Colon
        | Token::Assign
        | Token::BracketClose
        | Token::BraceClose
        | Token::ParenClose => false,
        _ => true,
    }
}
