// What has been said, how it becomes a request, and how the chunks of an answer add to it.

/**
 * @typedef {{id: string, name: string, arguments: string, result: string}} Call
 *   a tool call of the model; `result` is what the user has typed for it
 * @typedef {{tokens: number, tokensPerSecond: number, promptTokens: number, cachedTokens: number, ms: number}} Counts
 * @typedef {{role: "user", content: string}} Question
 * @typedef {{role: "assistant", content: string, reasoning: string, thinkingMs: number | null, calls: Call[],
 *   resultsSent: boolean, finish: string | null, counts: Counts | null, problem: string | null}} Answer
 *   `finish` is the server's reason, or "stopped" by the user, or null while it streams; `problem` is
 *   what went wrong on the way
 * @typedef {Question | Answer} Entry
 */

/** @param {string} content @returns {Question} */
export function question(content) {
  return { role: "user", content };
}

/** An answer of which nothing has arrived. @returns {Answer} */
export function emptyAnswer() {
  return {
    role: "assistant", content: "", reasoning: "", thinkingMs: null, calls: [], resultsSent: false,
    finish: null, counts: null, problem: null,
  };
}

/** Whether there is anything of an answer. @param {Answer} answer */
export function hasArrived(answer) {
  return answer.content !== "" || answer.reasoning !== "" || answer.calls.length > 0;
}

/** Whether the model waits for results of tools. @param {Entry[]} entries */
export function waitsForResults(entries) {
  const last = entries.at(-1);
  return last?.role === "assistant" && last.calls.length > 0 && last.finish !== null && !last.resultsSent;
}

/**
 * The body of the request that continues a conversation.
 *
 * @param {Entry[]} entries
 * @param {{system: string, thinking: boolean, temperature: number | null, topP: number | null,
 *   maxTokens: number | null, tools: object[]}} options what is null is left to the server
 */
export function request(entries, options) {
  const messages = entries.flatMap(messagesOf);
  if (options.system !== "") messages.unshift({ role: "system", content: options.system });
  const body = { messages };
  if (options.tools.length > 0) body.tools = options.tools;
  if (options.temperature !== null) body.temperature = options.temperature;
  if (options.topP !== null) body.top_p = options.topP;
  if (options.maxTokens !== null) body.max_tokens = options.maxTokens;
  return {
    ...body,
    chat_template_kwargs: { thinking: options.thinking },
    stream: true,
    stream_options: { include_usage: true },
    return_progress: true,
  };
}

/** An entry as the server gave it, with its thinking, and after it the results of its calls. */
function messagesOf(entry) {
  if (entry.role === "user") return [{ role: "user", content: entry.content }];
  const message = { role: "assistant", content: entry.content };
  if (entry.reasoning !== "") message.reasoning_content = entry.reasoning;
  if (entry.calls.length === 0) return [message];
  message.content ||= null;
  message.tool_calls = entry.calls.map(({ id, name, arguments: text }) => (
    { id, type: "function", function: { name, arguments: text } }));
  const results = entry.resultsSent ? entry.calls : [];
  return [message, ...results.map(({ id, result }) => ({ role: "tool", tool_call_id: id, content: result }))];
}

/**
 * Adds a chunk of the stream to the answer.
 *
 * @param {Answer} answer
 * @param {any} chunk
 * @param {number} computedSince when the model began with it, on the clock of `performance.now()`
 */
export function absorb(answer, chunk, computedSince) {
  const choice = chunk.choices?.[0];
  const delta = choice?.delta ?? {};
  answer.reasoning += delta.reasoning_content ?? "";
  answer.content += delta.content ?? "";
  for (const piece of delta.tool_calls ?? []) {
    answer.calls[piece.index] ??= { id: "", name: "", arguments: "", result: "" };
    const call = answer.calls[piece.index];
    call.id ||= piece.id ?? "";
    call.name += piece.function?.name ?? "";
    call.arguments += piece.function?.arguments ?? "";
  }
  if (choice?.finish_reason) answer.finish = choice.finish_reason;
  if (chunk.usage) answer.counts = counts(chunk.usage, chunk.timings ?? {});
  const thinks = answer.content === "" && answer.calls.length === 0 && answer.finish === null;
  if (answer.thinkingMs === null && answer.reasoning !== "" && !thinks) {
    answer.thinkingMs = performance.now() - computedSince;
  }
}

/** @returns {Counts} */
function counts(usage, timings) {
  return {
    tokens: usage.completion_tokens ?? 0,
    tokensPerSecond: timings.predicted_per_second ?? 0,
    promptTokens: usage.prompt_tokens ?? 0,
    cachedTokens: usage.prompt_tokens_details?.cached_tokens ?? 0,
    ms: (timings.prompt_ms ?? 0) + (timings.predicted_ms ?? 0),
  };
}

/**
 * A conversation as an earlier visit kept it. An answer that was streaming when the page was left
 * has what had arrived by then; one that had not begun is gone, and what it was to answer can be
 * sent again.
 *
 * @param {Entry[]} kept
 * @returns {{entries: Entry[], unanswered: string}}
 */
export function resumed(kept) {
  const entries = kept.map((entry) => ({ ...entry }));
  const last = entries.at(-1);
  if (last?.role === "assistant" && last.finish === null) {
    last.finish = "stopped";
    if (!hasArrived(last)) entries.pop();
  }
  if (entries.at(-1)?.role === "user") return { unanswered: entries.pop().content, entries };
  if (entries.length > 0) entries.at(-1).resultsSent = false;
  return { unanswered: "", entries };
}
