// Entries of the conversation as elements. An element lives as long as its entry and is brought up
// to date in place, so that focus, selection and what was unfolded survive.

import { button, composes, copyButton, duration, element, enterSends, fragment, grouped, growing,
  say } from "./dom.js";
import { render } from "./markdown.js";

/**
 * @typedef {import("./conversation.js").Entry} Entry
 * @typedef {import("./conversation.js").Answer} Answer
 * @typedef {import("./conversation.js").Call} Call
 * @typedef {{streams: boolean, isLast: boolean, busy: boolean, progress: Progress | null}} Moment
 *   `streams`: this answer is being generated; `busy`: some answer is
 * @typedef {{processed: number, total: number}} Progress tokens of the prompt
 * @typedef {{sendEdited: (entry: Entry, text: string) => void, regenerate: () => void,
 *   sendResults: () => void, changed: () => void}} Actions
 * @typedef {{node: HTMLElement, update: (moment: Moment) => void, edit?: (text: string) => void}} View
 */

/** @type {WeakMap<Entry, View>} */
const views = new WeakMap();

/**
 * Shows the entries in `container`.
 *
 * @param {HTMLElement} container
 * @param {Entry[]} entries
 * @param {{streaming: Answer | null, progress: Progress | null}} now
 * @param {Actions} actions
 */
export function show(container, entries, now, actions) {
  entries.forEach((entry, i) => {
    const view = viewOf(entry, actions);
    const { children } = container;
    if (children[i] !== view.node) container.insertBefore(view.node, children[i] ?? null);
    view.update({
      streams: entry === now.streaming,
      isLast: i === entries.length - 1,
      busy: now.streaming !== null,
      progress: now.progress,
    });
  });
  while (container.children.length > entries.length) container.lastElementChild.remove();
}

/** Opens the editor of a shown question with a text. @param {Entry} entry @param {string} text */
export function edit(entry, text) {
  views.get(entry)?.edit?.(text);
}

function viewOf(entry, actions) {
  let view = views.get(entry);
  if (!view) {
    view = entry.role === "user" ? questionView(entry, actions) : answerView(entry, actions);
    views.set(entry, view);
  }
  return view;
}

/** @returns {View} */
function questionView(entry, actions) {
  const text = element("p", { className: "said" }, entry.content);
  const editButton = button("Edit", () => openEditor(entry.content));
  const row = element("div", { className: "row" }, editButton);
  const node = element("article", { className: "question", "aria-label": "You" }, text, row);
  const close = () => {
    node.classList.remove("edited");
    node.replaceChildren(text, row);
    editButton.focus();
  };
  const openEditor = (start) => {
    const box = element("textarea", { value: start, "aria-label": "Edit the message", rows: 1 });
    const send = () => {
      if (box.value.trim() === "") return;
      close();
      actions.sendEdited(entry, box.value);
    };
    enterSends(box, send);
    box.addEventListener("keydown", (event) => event.key === "Escape" && !composes(event) && close());
    const buttons = element("div", { className: "row" }, button("Cancel", close), button("Send", send, "accent"));
    node.classList.add("edited");
    node.replaceChildren(box, buttons);
    growing(box);
    box.focus();
  };
  const update = ({ busy }) => (editButton.hidden = busy);
  return { node, update, edit: openEditor };
}

/** @param {Answer} answer @param {Actions} actions @returns {View} */
function answerView(answer, actions) {
  const thinking = thinkingView(answer);
  const content = element("div", { className: "markdown" });
  const calls = callsView(answer, actions);
  const waiting = waitingView();
  const counts = element("p", { className: "counts" });
  const problem = element("p", { className: "problem" });
  const copyAnswer = copyButton("Copy", () => answer.content);
  const again = button("Regenerate", actions.regenerate);
  const row = element("div", { className: "row" }, counts, copyAnswer, again);
  const node = element("article", { className: "answer", "aria-label": "Answer" },
    thinking.node, content, calls.node, waiting.node, problem, row);
  let shown = "";
  const update = (moment) => {
    thinking.update(moment);
    if (shown !== answer.content) {
      shown = answer.content;
      render(content, shown);
    }
    calls.update(moment);
    waiting.update(answer, moment);
    // Screen readers wait for the whole answer instead of reading its pieces.
    node.setAttribute("aria-busy", String(moment.streams));
    node.classList.toggle("streams", moment.streams);
    row.hidden = moment.streams;
    say(counts, summary(answer));
    say(problem, answer.problem ?? "");
    copyAnswer.hidden = answer.content === "";
    again.hidden = !moment.isLast || moment.busy;
  };
  return { node, update };
}

function thinkingView(answer) {
  const title = element("summary");
  const text = document.createTextNode("");
  const node = element("details", { className: "thinking" }, title, element("p", { className: "said" }, text));
  let touched = false;
  title.addEventListener("click", () => (touched = true));
  const update = ({ streams }) => {
    node.hidden = answer.reasoning === "";
    say(text, answer.reasoning);
    const goesOn = streams && answer.thinkingMs === null;
    say(title, thought(answer, goesOn));
    // Open while it streams and folded after that, unless the reader decides otherwise.
    if (!touched) node.open = goesOn && answer.reasoning !== "";
  };
  return { node, update };
}

function thought(answer, goesOn) {
  if (goesOn) return "Thinking…";
  if (answer.thinkingMs === null) return "Thought, but not to the end";
  // What takes less than ten milliseconds would be read as nothing.
  return `Thought for ${answer.thinkingMs < 10 ? "a moment" : duration(answer.thinkingMs)}`;
}

/** What an answer shows before its first word. */
function waitingView() {
  const text = element("span");
  const bar = element("progress", { "aria-label": "Prompt" });
  const node = element("p", { className: "waiting" }, text, bar);
  const update = (answer, { streams, progress }) => {
    const begun = answer.content !== "" || answer.reasoning !== "" || answer.calls.length > 0;
    node.hidden = !streams || begun;
    const reads = progress !== null && progress.processed < progress.total;
    bar.hidden = !reads;
    if (reads) {
      bar.max = progress.total;
      bar.value = progress.processed;
    }
    say(text, reads
      ? `reading the prompt: ${grouped(progress.processed)} of ${grouped(progress.total)} tokens`
      : "waiting for the first word");
  };
  return { node, update };
}

/** The tool calls of an answer, with a place for the result of each. */
function callsView(answer, actions) {
  const list = element("div");
  const send = element("button", { type: "submit", className: "accent" }, "Send results");
  const node = element("form", { className: "calls" }, list, send);
  node.addEventListener("submit", (event) => {
    event.preventDefault();
    actions.sendResults();
  });
  const shown = [];
  const update = (moment) => {
    node.hidden = answer.calls.length === 0;
    const asks = moment.isLast && !moment.streams && !answer.resultsSent;
    const fresh = answer.calls.slice(shown.length).map((call) => callView(call, actions));
    list.append(fragment(fresh.map((view) => view.node)));
    shown.push(...fresh);
    for (const view of shown) view.update({ asks, streams: moment.streams, sent: answer.resultsSent });
    send.hidden = !asks;
  };
  return { node, update };
}

/** @param {Call} call @param {Actions} actions */
function callView(call, actions) {
  const name = element("code");
  const given = element("pre", { tabIndex: 0 });
  const box = element("textarea", { value: call.result, rows: 1, className: "mono", spellcheck: false });
  const label = element("label", {}, element("span", {}, "Result"), box);
  const result = element("pre", { tabIndex: 0 });
  const unanswered = element("p", { className: "counts" }, "No result was sent.");
  const node = element("section", { className: "call" },
    element("h3", {}, "Calls ", name), given, label, result, unanswered);
  box.addEventListener("input", () => {
    call.result = box.value;
    actions.changed();
  });
  growing(box);
  const update = ({ asks, streams, sent }) => {
    say(name, call.name);
    box.setAttribute("aria-label", `Result of ${call.name}`);
    say(given, pretty(call.arguments));
    label.hidden = !asks;
    result.hidden = !sent;
    say(result, pretty(call.result));
    unanswered.hidden = asks || sent || streams;
  };
  return { node, update };
}

/**
 * JSON with indentation; anything else as it is, also JSON that is still on its way. The tokens are
 * those of the text: a number of twenty digits, once parsed, would be another one.
 */
function pretty(text) {
  try {
    JSON.parse(text);
  } catch {
    return text;
  }
  let shown = "";
  let depth = 0;
  const line = () => `\n${"  ".repeat(depth)}`;
  for (const [token] of text.matchAll(/"(?:[^"\\]|\\.)*"|\{\s*\}|\[\s*\]|[[\]{},:]|[^\s"[\]{},:]+/g)) {
    if ("[{".includes(token)) depth += 1;
    if ("]}".includes(token)) depth -= 1;
    if ("]}".includes(token)) shown += line() + token;
    else if ("[{,".includes(token)) shown += token + line();
    else shown += token === ":" ? ": " : token.replace(/^([[{])\s+/, "$1");
  }
  return shown;
}

/** The quiet line under an answer. @param {Answer} answer */
function summary({ finish, counts, problem }) {
  const parts = [];
  if (counts) {
    parts.push(`${grouped(counts.tokens)} tokens`, `${grouped(counts.tokensPerSecond)} tokens/s`);
    const cached = counts.cachedTokens > 0 ? ` (${grouped(counts.cachedTokens)} cached)` : "";
    parts.push(`prompt ${grouped(counts.promptTokens)}${cached}`, duration(counts.ms));
  }
  if (finish === "length") parts.push("cut off: the most tokens are reached (length)");
  if (finish === "stopped" && problem === null) parts.push("stopped");
  // A line breaks between the parts only.
  return parts.map((part) => part.replaceAll(" ", "\u00a0")).join("\u00a0· ");
}
