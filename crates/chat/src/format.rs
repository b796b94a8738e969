//! The way in: which renderer, and what it needs.

use perigee_tokenizer::Tokenizer;
use serde_json::{Map, Value};

use crate::template::Template;
use crate::{Conversation, KimiTokens, RenderOptions, Rendered, prompt};

/// Which renderer the user asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum TemplateChoice {
    /// The built-in one. Vocabularies other than Kimi's have no format that the output parser reads.
    #[default]
    Auto,
    /// The built-in one.
    Builtin,
    /// The template in the GGUF.
    Gguf,
    /// This Jinja text.
    Source(String),
}

/// Why no renderer can be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// The vocabulary is not Kimi's.
    #[error("the vocabulary has no token {token}, which Kimi's chat format needs")]
    NotKimi {
        /// The first token that is missing.
        token: &'static str,
    },
    /// The file brings no template.
    #[error("the file holds no tokenizer.chat_template: use builtin or name a Jinja file")]
    NoTemplate,
    /// Longer than any template has reason to be.
    #[error("the template (tokenizer.chat_template) has {bytes} bytes; at most 256 KiB are read")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// Made to exhaust its reader.
    #[error("the template (tokenizer.chat_template) holds, in line {line}, {reason}")]
    Excess {
        /// The line, from 1.
        line: u16,
        /// What there is too much of.
        reason: String,
    },
    /// Not Jinja.
    #[error("the template is not valid Jinja: {reason}")]
    Syntax {
        /// One line, with the place.
        reason: String,
    },
}

/// Why a conversation could not be rendered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RenderError {
    /// The template failed: its own `raise_exception`, a missing feature, too much work.
    #[error("the chat template failed: {reason}")]
    Template {
        /// One line.
        reason: String,
    },
}

/// A conversation format: the built-in renderer or a Jinja template.
#[derive(Debug)]
pub struct ChatFormat {
    tokens: KimiTokens,
    template: Option<Template>,
}

impl ChatFormat {
    /// The built-in renderer.
    ///
    /// # Errors
    /// The vocabulary lacks one of Kimi's control tokens.
    pub fn builtin(tokenizer: &Tokenizer) -> Result<Self, TemplateError> {
        Ok(Self {
            tokens: kimi(tokenizer)?,
            template: None,
        })
    }

    /// The renderer that was asked for. Output is parsed as Kimi's in any case, so that a
    /// vocabulary without Kimi's control tokens is an error whatever the choice.
    ///
    /// # Errors
    /// No such template, or one that is not valid.
    pub fn new(tokenizer: &Tokenizer, choice: &TemplateChoice) -> Result<Self, TemplateError> {
        let source = match choice {
            TemplateChoice::Auto | TemplateChoice::Builtin => return Self::builtin(tokenizer),
            TemplateChoice::Gguf => tokenizer.chat_template().ok_or(TemplateError::NoTemplate)?,
            TemplateChoice::Source(source) => source,
        };
        Ok(Self {
            tokens: kimi(tokenizer)?,
            template: Some(Template::new(source, tokenizer)?),
        })
    }

    /// The control tokens of the vocabulary.
    pub fn tokens(&self) -> &KimiTokens {
        &self.tokens
    }

    /// Normalises the ids of the conversation's calls, then renders it. `kwargs` are further
    /// arguments of a Jinja template.
    ///
    /// # Errors
    /// A Jinja template failed; the built-in renderer never does.
    pub fn render_prompt(
        &self,
        conversation: &mut Conversation,
        options: &RenderOptions,
        kwargs: &Map<String, Value>,
    ) -> Result<Rendered, RenderError> {
        let first_call = conversation.normalise_ids();
        match &self.template {
            None => Ok(prompt::render(
                conversation,
                options,
                &self.tokens,
                first_call,
            )),
            Some(template) => {
                template.render(conversation, options, kwargs, &self.tokens, first_call)
            }
        }
    }
}

fn kimi(tokenizer: &Tokenizer) -> Result<KimiTokens, TemplateError> {
    KimiTokens::from_tokenizer(tokenizer).map_err(|token| TemplateError::NotKimi { token })
}
