// The page: one conversation with the model of this server.
//
// Here are the state and the ways it changes. Everything that is shown follows from it in
// `refresh`; what is sent is made in conversation.js, how it travels is in api.js.

import { Unreachable, complete, curl } from "./api.js";
import { absorb, emptyAnswer, hasArrived, question, request, resumed, waitsForResults } from "./conversation.js";
import { composes, copy, enterSends, grouped, growing } from "./dom.js";
import { askForKey } from "./key.js";
import * as settings from "./settings.js";
import * as status from "./status.js";
import { keep, kept } from "./storage.js";
import { edit, show } from "./view.js";

/** @typedef {import("./conversation.js").Entry} Entry */

/**
 * @typedef {{answer: import("./conversation.js").Answer, controller: AbortController,
 *   before: Entry[], giveBack: () => void, progress: import("./view.js").Progress | null}} Run
 *   `before`: the conversation as it was; `giveBack` returns to the user what was sent
 */

const byId = (id) => document.getElementById(id);
const box = byId("message");
const fitBox = growing(box);

const earlier = resumed(kept("conversation", []));
let { entries } = earlier;
/** The answer that is being generated. @type {Run | null} */
let run = null;
/** What "New" put aside. @type {Entry[] | null} */
let putAside = null;
let warned = false;

/**
 * Sends a conversation and streams the answer to it.
 *
 * @param {Entry[]} next the conversation to be answered
 * @param {() => void} giveBack called if nothing was answered
 */
async function ask(next, giveBack) {
  if (run || status.isLoading()) {
    giveBack();
    return;
  }
  let body;
  try {
    body = request(next, settings.options());
  } catch (error) {
    giveBack();
    tell(error.message);
    return;
  }
  const mine = { answer: emptyAnswer(), controller: new AbortController(), before: entries, giveBack, progress: null };
  run = mine;
  entries = [...next, mine.answer];
  putAside = null;
  tell("");
  refresh();
  save();
  focusBox();
  scrollTo(0, document.documentElement.scrollHeight);
  let problem = null;
  try {
    let computedSince = performance.now();
    for await (const chunk of chunksWithKey(body, mine.controller.signal)) {
      if (chunk.prompt_progress) {
        mine.progress = chunk.prompt_progress;
        computedSince = performance.now();
      }
      absorb(mine.answer, chunk, computedSince);
      refreshSoon();
    }
  } catch (error) {
    if (error.name !== "AbortError") problem = error.message;
    // It may have gone, or be loading again.
    if (error instanceof Unreachable || error.status >= 500) status.check();
  }
  conclude(mine, problem);
}

/** Chunks of an answer. A server that demands a key gets it from the user first. */
async function* chunksWithKey(body, signal) {
  while (true) {
    try {
      yield* complete(body, settings.key(), signal);
      return;
    } catch (error) {
      if (error.status !== 401) throw error;
      settings.setKey(await askForKey(settings.key() !== "", signal));
      focusBox();
    }
  }
}

/** Ends a run, once. What arrived stays; of an answer that never began the question goes back. */
function conclude(ended, problem) {
  if (run !== ended) return;
  run = null;
  ended.controller.abort();
  const { answer } = ended;
  if (hasArrived(answer) || answer.finish !== null) {
    answer.finish ??= "stopped";
    answer.problem = problem;
  } else {
    entries = ended.before;
    tell(problem ?? "");
  }
  refresh();
  // Only now is the question shown again that an editor may have to open.
  if (!entries.includes(answer)) ended.giveBack();
  save();
}

function stop() {
  if (!run) return;
  conclude(run, null);
  focusBox();
}

function sendMessage() {
  const text = box.value;
  if (run || status.isLoading() || text.trim() === "") return;
  setBox("");
  ask([...entries, question(text)], () => setBox(joined(text, box.value)));
}

/** What comes back to the box and what is in it: nothing that was typed is lost. */
function joined(first, second) {
  return [first, second].filter((text) => text !== "").join("\n\n");
}

function sendEdited(entry, text) {
  ask([...entries.slice(0, entries.indexOf(entry)), question(text)], () => edit(entry, text));
}

function regenerate() {
  ask(entries.slice(0, -1), () => {});
}

function sendResults() {
  ask(withResults(), () => {});
}

/** The conversation with the results that were typed; a copy, so that the way back is open. */
function withResults() {
  return [...entries.slice(0, -1), { ...entries.at(-1), resultsSent: true }];
}

function startAnew() {
  stop();
  if (entries.length > 0) putAside = entries;
  entries = [];
  tell("");
  refresh();
  save();
  focusBox();
}

function undoNew() {
  entries = putAside ?? entries;
  putAside = null;
  refresh();
  save();
}

/** What pressing Send, or else the button in the conversation, would send. @returns {Entry[]} */
function nextEntries() {
  if (box.value.trim() !== "") return [...entries, question(box.value)];
  if (waitsForResults(entries)) return withResults();
  return entries.at(-1)?.role === "assistant" ? entries.slice(0, -1) : entries;
}

async function copyCurl() {
  const next = nextEntries();
  let said = "There is nothing to send yet.";
  try {
    if (next.length > 0) {
      const done = await copy(curl(request(next, settings.options()), settings.key()));
      said = done ? "Copied." : "The browser does not let this page copy.";
    }
  } catch (error) {
    said = error.message;
  }
  byId("curl-said").textContent = said;
}

/** Shows a problem that belongs to no answer; nothing takes it away. @param {string} problem */
function tell(problem) {
  byId("problem-text").textContent = problem;
  byId("problem").hidden = problem === "";
}

function setBox(text) {
  box.value = text;
  fitBox();
  keep("draft", text);
  focusBox();
}

/** Not on a telephone, where it would bring up the keyboard. */
function focusBox() {
  if (matchMedia("(hover: hover)").matches) box.focus();
}

function save() {
  const done = keep("conversation", entries);
  if (!done && !warned) tell("The browser has no room to keep this conversation: it will not survive a reload.");
  warned ||= !done;
}

const actions = { sendEdited, regenerate, sendResults, changed: save };

function refresh() {
  // Who has scrolled up reads there; everybody else follows the answer.
  const page = document.documentElement;
  const follows = scrollY + innerHeight >= page.scrollHeight - 80;
  show(byId("conversation"), entries, { streaming: run?.answer ?? null, progress: run?.progress ?? null }, actions);
  byId("greeting").hidden = entries.length > 0;
  byId("undo").hidden = putAside === null;
  byId("send").hidden = run !== null;
  byId("stop").hidden = run === null;
  if (follows) scrollTo(0, page.scrollHeight);
}

let frame = 0;
/** Once a frame is as often as anybody sees. */
function refreshSoon() {
  frame ||= requestAnimationFrame(() => {
    frame = 0;
    refresh();
  });
}

/** @param {import("./status.js").Server} server */
function showServer({ state, progress, model }) {
  const texts = {
    loading: `Loading the model: ${Math.floor(progress * 100)} %. Messages can be sent when it is there.`,
    gone: "The server does not answer. What you have typed is kept; asking it again every second.",
  };
  // The line of a problem that is over.
  if (state === "ready" && !byId("try-now").hidden) tell("");
  byId("status").hidden = !texts[state];
  byId("status-text").textContent = texts[state] ?? "";
  byId("status-progress").hidden = state !== "loading";
  byId("status-progress").value = progress;
  byId("try-now").hidden = state !== "gone";
  byId("send").disabled = state === "loading";
  if (!model) return;
  document.title = `${model.id} · Perigee`;
  byId("model").textContent = model.context ? `${model.id}, ${grouped(model.context)} tokens of context` : model.id;
  byId("banner").textContent = model.notice ?? "";
  byId("banner").hidden = model.notice === null;
}

enterSends(box, sendMessage);
box.addEventListener("input", () => keep("draft", box.value));
byId("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  sendMessage();
});
byId("stop").addEventListener("click", stop);
byId("new").addEventListener("click", startAnew);
byId("undo-new").addEventListener("click", undoNew);
byId("dismiss").addEventListener("click", () => tell(""));
byId("try-now").addEventListener("click", status.check);
byId("copy-curl").addEventListener("click", copyCurl);
byId("settings").addEventListener("close", () => (byId("curl-said").textContent = ""));
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !composes(event) && !document.querySelector("dialog[open]")) stop();
});
// The last moment that a page on a telephone is sure to see is when it is hidden.
// Only what streams is not kept yet; another window may have kept something else since.
document.addEventListener("visibilitychange", () => document.hidden && run && save());
addEventListener("pagehide", () => run && save());

settings.start();
setBox(joined(earlier.unanswered, kept("draft", "")));
save();
refresh();
scrollTo(0, document.documentElement.scrollHeight);
status.watch(showServer);
