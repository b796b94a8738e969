//! One assistant turn in the terminal: conversation in, printed deltas out.

use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use perigee_chat::{
    ChatFormat, Conversation, Delta, Ending, OutputParser, ParserOptions, Piece, RenderOptions,
    Reply,
};
use perigee_engine::{
    EngineHandle, EngineOptions, Event, Finish, Request, SamplingParams, TokenId, Usage,
};
use perigee_server::SamplingDefaults;
use perigee_tokenizer::{Tokenizer, Utf8Decoder};

use crate::args::{ModelArgs, SamplingArgs};
use crate::progress::LoadProgress;
use crate::settings::{ConfigFile, ModelSettings};
use crate::startup::{self, Needs};

/// A loaded model behind an engine, for one user.
pub(crate) struct Terminal {
    engine: EngineHandle,
    tokenizer: Arc<Tokenizer>,
    sampling: SamplingDefaults,
}

/// What a generation came to.
pub(crate) struct Answer {
    pub(crate) reply: Reply,
    pub(crate) finish: Finish,
    pub(crate) usage: Usage,
}

impl Terminal {
    /// Loads the model with a progress bar and starts the engine.
    pub(crate) fn start(model: ModelArgs, sampling: SamplingArgs) -> Result<Self> {
        let file = ConfigFile::read(model.config.as_deref())?;
        let settings = ModelSettings::resolve(model.or(file.model))?;
        let progress = LoadProgress::new("loading");
        let needs = Needs {
            parallel: 1,
            output_rows: 1,
            text: true,
            context: None,
        };
        let loaded = startup::load(&settings, needs, &|done, total| progress.set(done, total))?;
        progress.finish();
        let options = EngineOptions {
            parallel: 1,
            queue: 1,
            context: loaded.context,
            deterministic: settings.deterministic,
        };
        let tokenizer = loaded.tokenizer.context("the vocabulary was not loaded")?;
        let engine = EngineHandle::start(Box::new(loaded.model), Arc::clone(&tokenizer), options);
        Ok(Self {
            engine,
            tokenizer,
            sampling: sampling_defaults(sampling.or(file.sampling)),
        })
    }

    /// The vocabulary.
    pub(crate) fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// Continues `prompt` and hands out each piece of text.
    pub(crate) fn continue_text(
        &self,
        prompt: Vec<TokenId>,
        max_tokens: Option<usize>,
        mut on_text: impl FnMut(&str),
    ) -> Result<(Finish, Usage)> {
        let mut decoder = Utf8Decoder::new();
        let mut text = String::new();
        let request = self.request(prompt, max_tokens, self.sampling.params(false));
        let end = self.generate(request, |id| {
            text.clear();
            if !self.tokenizer.is_control(id) {
                decoder.push(&self.tokenizer, id, &mut text);
                on_text(&text);
            }
        })?;
        text.clear();
        decoder.finish(&mut text);
        on_text(&text);
        Ok(end)
    }

    /// Answers a conversation and hands out each delta.
    pub(crate) fn answer(
        &self,
        format: &ChatFormat,
        conversation: &Conversation,
        options: &RenderOptions,
        max_tokens: Option<usize>,
        mut on_delta: impl FnMut(&Delta),
    ) -> Result<Answer> {
        let mut conversation = conversation.clone();
        let rendered = format.render_prompt(&mut conversation, options, &serde_json::Map::new())?;
        let prompt = self.tokenizer.encode(&rendered.segments);
        let parser = ParserOptions {
            start: rendered.start,
            tools: conversation.tools,
            first_call: rendered.first_call,
        };
        let mut parser = OutputParser::new(*format.tokens(), parser);
        let (mut decoder, mut text) = (Utf8Decoder::new(), String::new());
        let (mut deltas, mut all): (Vec<Delta>, Vec<Delta>) = (Vec::new(), Vec::new());
        let request = self.request(prompt, max_tokens, self.sampling.params(options.thinking));
        let (finish, usage) = self.generate(request, |id| {
            text.clear();
            let control = self.tokenizer.is_control(id);
            if control {
                decoder.finish(&mut text);
            } else {
                decoder.push(&self.tokenizer, id, &mut text);
            }
            if !text.is_empty() {
                parser.push(Piece::Text(&text), &mut deltas);
            }
            if control {
                parser.push(Piece::Control(id), &mut deltas);
            }
            for delta in deltas.drain(..) {
                on_delta(&delta);
                all.push(delta);
            }
        })?;
        let ending = if finish == Finish::Stop {
            Ending::Stop
        } else {
            Ending::Length
        };
        parser.finish(ending, &mut deltas);
        for delta in deltas {
            on_delta(&delta);
            all.push(delta);
        }
        Ok(Answer {
            reply: Reply::collect(&all),
            finish,
            usage,
        })
    }

    fn request(
        &self,
        prompt: Vec<TokenId>,
        max_tokens: Option<usize>,
        sampling: SamplingParams,
    ) -> Request {
        Request {
            prompt,
            sampling,
            stop_ids: self.tokenizer.end_of_generation().to_vec(),
            max_tokens,
            deadline: None,
            cache_prompt: true,
        }
    }

    fn generate(
        &self,
        request: Request,
        mut on_token: impl FnMut(TokenId),
    ) -> Result<(Finish, Usage)> {
        let mut stream = self.engine.submit(request)?;
        loop {
            match stream.blocking_next() {
                Some(Event::Token { id, .. }) => on_token(id),
                Some(Event::Started { .. } | Event::Progress { .. }) => {}
                Some(Event::Done { finish, usage }) => return Ok((finish, usage)),
                Some(Event::Failed { message }) => bail!(message),
                None => bail!("the engine has stopped"),
            }
        }
    }
}

/// Command line samplers as the server's defaults.
pub(crate) fn sampling_defaults(args: SamplingArgs) -> SamplingDefaults {
    SamplingDefaults {
        temperature: args.temp,
        top_k: args.top_k,
        top_p: args.top_p,
        min_p: args.min_p,
        seed: args.seed,
    }
}

/// `34 prompt tokens (12 cached) in 0.2 s · 128 tokens, 31.4 t/s · stop`.
pub(crate) fn counts(finish: Finish, usage: &Usage) -> String {
    let rate = usage.generated_tokens as f64 / usage.generation_time.as_secs_f64().max(1e-9);
    format!(
        "{} prompt tokens ({} cached) in {:.2} s · {} tokens, {rate:.1} t/s · {}",
        usage.prompt_tokens,
        usage.cached_tokens,
        usage.prompt_time.as_secs_f64(),
        usage.generated_tokens,
        match finish {
            Finish::Stop => "stop",
            Finish::Length => "length",
            Finish::Deadline => "deadline",
        },
    )
}
