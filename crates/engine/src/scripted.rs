//! A model that says what a script tells it: for testing clients without weights.
//!
//! It keeps token ids in its KV blocks, as a real model keeps latents, so that batching,
//! prefix reuse and cancellation are exercised for real.

use std::time::Duration;

use perigee_model::{Batch, BlockId, ForwardError, Limits, Model, Outputs, Run};
use perigee_tokenizer::{TokenId, Tokenizer};

/// What to say to which prompt.
#[derive(Clone, Debug, Default)]
pub struct Script {
    /// The rule whose text occurs last in the prompt applies; of several the first.
    pub rules: Vec<Rule>,
    /// What to say if no rule applies.
    pub otherwise: String,
}

/// One prompt and its answer, control tokens spelled out.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Text searched in the decoded prompt.
    pub when: String,
    /// The model's output after `<think>`. If the prompt ends with `</think>` (thinking off),
    /// it begins after the first `</think>` of this text.
    pub say: String,
    /// Time that each generated token takes.
    pub token_delay: Duration,
    /// Time that each prompt token takes.
    pub prompt_token_delay: Duration,
}

struct Answer {
    when: String,
    say: Vec<TokenId>,
    token_delay: Duration,
    prompt_token_delay: Duration,
}

/// The model.
pub struct ScriptedModel {
    limits: Limits,
    texts: Vec<String>,
    answers: Vec<Answer>,
    header: [TokenId; 2],
    think: TokenId,
    end_think: TokenId,
    end: TokenId,
    /// `[n_blocks · block_len]` token ids.
    kv: Vec<TokenId>,
}

impl ScriptedModel {
    /// A model over the vocabulary of `tokenizer` with `limits.n_blocks` blocks.
    /// `None` if the vocabulary lacks Kimi's control tokens.
    pub fn new(tokenizer: &Tokenizer, script: &Script, limits: Limits) -> Option<Self> {
        let encode = |text: &str| tokenizer.encode(&tokenizer.parse_special(text));
        let mut answers: Vec<Answer> = script
            .rules
            .iter()
            .map(|rule| Answer {
                when: rule.when.clone(),
                say: encode(&rule.say),
                token_delay: rule.token_delay,
                prompt_token_delay: rule.prompt_token_delay,
            })
            .collect();
        answers.push(Answer {
            when: String::new(),
            say: encode(&script.otherwise),
            token_delay: Duration::ZERO,
            prompt_token_delay: Duration::ZERO,
        });
        let texts = (0..tokenizer.vocab_size() as u32)
            .map(|id| tokenizer.decode(&[TokenId(id)]))
            .collect();
        Some(Self {
            limits,
            texts,
            answers,
            header: [
                tokenizer.control("<|im_assistant|>")?,
                tokenizer.control("<|im_middle|>")?,
            ],
            think: tokenizer.control("<think>")?,
            end_think: tokenizer.control("</think>")?,
            end: tokenizer.control("<|im_end|>")?,
            kv: vec![TokenId(0); limits.n_blocks * limits.block_len],
        })
    }

    fn slot(&self, batch: &Batch, run: &Run, position: usize) -> usize {
        let block = batch.block_table[run.blocks.start + position / self.limits.block_len];
        block.0 as usize * self.limits.block_len + position % self.limits.block_len
    }

    /// Where generation begins: after the last assistant header and what the template puts behind it.
    fn start_of_answer(&self, history: &[TokenId]) -> (usize, bool) {
        let header = history.iter().rposition(|&id| id == self.header[0]);
        let middle = header.and_then(|header| {
            let offset = history[header..]
                .iter()
                .position(|&id| id == self.header[1])?;
            Some(header + offset)
        });
        // Without a header all of it is prompt so far.
        let start = middle.map_or(history.len(), |middle| middle + 1);
        match history.get(start..).unwrap_or_default() {
            [think, end, ..] if *think == self.think && *end == self.end_think => (start + 2, true),
            [think, ..] if *think == self.think => (start + 1, false),
            _ => (start, false),
        }
    }

    fn answer(&self, prompt: &[TokenId]) -> &Answer {
        let text: String = prompt
            .iter()
            .map(|id| self.texts[id.0 as usize].as_str())
            .collect();
        let last = self.answers.len() - 1;
        let found = self.answers[..last].iter().enumerate();
        let best = found
            .filter_map(|(i, answer)| {
                text.rfind(&answer.when)
                    .map(|at| (at, std::cmp::Reverse(i)))
            })
            .max();
        &self.answers[best.map_or(last, |(_, std::cmp::Reverse(i))| i)]
    }

    fn next(&self, history: &[TokenId]) -> TokenId {
        let (start, instant) = self.start_of_answer(history);
        let answer = self.answer(&history[..start]);
        let skip = match instant {
            true => answer
                .say
                .iter()
                .position(|&id| id == self.end_think)
                .map_or(0, |at| at + 1),
            false => 0,
        };
        answer.say[skip..]
            .get(history.len() - start)
            .copied()
            .unwrap_or(self.end)
    }
}

impl Model for ScriptedModel {
    fn limits(&self) -> Limits {
        self.limits
    }

    fn forward(&mut self, batch: &Batch, logits: &mut [f32]) -> Result<(), ForwardError> {
        let mut rows = logits.chunks_exact_mut(self.limits.vocab_size);
        for run in &batch.runs {
            let tokens = &batch.tokens[run.tokens.clone()];
            for (i, &token) in tokens.iter().enumerate() {
                let slot = self.slot(batch, run, run.start + i);
                self.kv[slot] = token;
            }
            let end = run.start + tokens.len();
            let history: Vec<TokenId> = (0..end)
                .map(|position| self.kv[self.slot(batch, run, position)])
                .collect();
            let (start, _) = self.start_of_answer(&history);
            let answer = self.answer(&history[..start.min(history.len())]);
            let decodes = tokens.len() == 1 && end > start;
            let delay = if decodes {
                answer.token_delay
            } else {
                answer.prompt_token_delay
            };
            std::thread::sleep(delay * tokens.len() as u32);
            let outputs = match run.outputs {
                Outputs::None => end..end,
                Outputs::Last => end - 1..end,
                Outputs::All => run.start..end,
            };
            for position in outputs {
                let Some(row) = rows.next() else { break };
                // Distinct small values: ties would make every test of a sampler blind.
                for (id, logit) in row.iter_mut().enumerate() {
                    *logit = -((id % 1000) as f32) * 1e-3;
                }
                row[self.next(&history[..=position]).0 as usize] = 30.0;
            }
        }
        Ok(())
    }

    fn copy_block(&mut self, from: BlockId, to: BlockId) {
        let n = self.limits.block_len;
        let (from, to) = (from.0 as usize * n, to.0 as usize * n);
        self.kv.copy_within(from..from + n, to);
    }
}
