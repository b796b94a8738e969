// The settings: read from their fields, checked while they are typed, kept over a reload.

import { growing } from "./dom.js";
import { keep, kept } from "./storage.js";

/** What the button inserts: the tool of the README. */
const EXAMPLE_TOOL = {
  type: "function",
  function: {
    name: "get_weather",
    description: "Get the weather of a city.",
    parameters: {
      type: "object",
      properties: { city: { type: "string", description: "City name." } },
      required: ["city"],
    },
  },
};

/** What is typed in the fields, by their ids. */
const DEFAULTS = { system: "", thinking: true, temperature: "", "top-p": "", "max-tokens": "", tools: "", key: "" };

/** How each field with rules is read; what is thrown is shown under it. */
const READERS = {
  temperature: (text) => numberFrom(text, 0, 100),
  "top-p": (text) => numberFrom(text, 0, 1),
  "max-tokens": (text) => {
    const n = numberFrom(text, 1, 1e9);
    if (n !== null && !Number.isInteger(n)) throw new Error("expected a whole number");
    return n;
  },
  tools: toolsFrom,
};

const dialog = document.getElementById("settings");
const field = (id) => document.getElementById(id);

/** @type {typeof DEFAULTS} */
const typed = { ...DEFAULTS, ...kept("settings", {}) };

/** Fills the fields and listens to them. */
export function start() {
  for (const id of Object.keys(DEFAULTS)) {
    const input = field(id);
    const property = input.type === "checkbox" ? "checked" : "value";
    input[property] = typed[id];
    input.addEventListener("input", () => {
      typed[id] = input[property];
      keep("settings", typed);
      check(id);
    });
    if (input.tagName === "TEXTAREA") input.addEventListener("show", growing(input));
    check(id);
  }
  field("insert-example").addEventListener("click", insertExample);
  field("open-settings").addEventListener("click", open);
  field("close-settings").addEventListener("click", () => dialog.close());
  // A click beside the dialog is a click on its backdrop, which belongs to it.
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
}

/** Shows the settings. */
export function open() {
  dialog.showModal();
  for (const id of ["system", "tools"]) field(id).dispatchEvent(new Event("show"));
}

/**
 * What a request is made with.
 *
 * @returns {Parameters<typeof import("./conversation.js").request>[1]}
 * @throws {Error} if a setting cannot be sent
 */
export function options() {
  const read = (id) => {
    try {
      return READERS[id](typed[id]);
    } catch (error) {
      throw new Error(`The settings cannot be sent: ${field(id).dataset.name}: ${error.message}.`);
    }
  };
  return {
    system: typed.system,
    thinking: typed.thinking,
    temperature: read("temperature"),
    topP: read("top-p"),
    maxTokens: read("max-tokens"),
    tools: read("tools"),
  };
}

/** The key that requests carry, or nothing. */
export function key() {
  return typed.key.trim();
}

/** Takes a key that was typed elsewhere. @param {string} text */
export function setKey(text) {
  field("key").value = typed.key = text;
  keep("settings", typed);
}

/** Shows under a field what is wrong with it. */
function check(id) {
  if (!READERS[id]) return;
  let problem = "";
  try {
    READERS[id](typed[id]);
  } catch (error) {
    problem = error.message;
  }
  field(`${id}-problem`).textContent = problem;
  field(id).setAttribute("aria-invalid", String(problem !== ""));
  // An example cannot be added to what cannot be read.
  if (id === "tools") field("insert-example").disabled = problem !== "";
}

function insertExample() {
  const tools = toolsFrom(typed.tools);
  const names = tools.map((tool) => (tool.function ?? tool).name);
  if (!names.includes(EXAMPLE_TOOL.function.name)) tools.push(EXAMPLE_TOOL);
  field("tools").value = JSON.stringify(tools, null, 2);
  field("tools").dispatchEvent(new Event("input"));
}

/** A number, or null where the server decides. */
function numberFrom(text, least, most) {
  if (text.trim() === "") return null;
  const number = Number(text);
  if (!(number >= least && number <= most)) throw new Error(`expected a number from ${least} to ${most}`);
  return number;
}

/** The declared tools; the server checks what is in them. */
function toolsFrom(text) {
  if (text.trim() === "") return [];
  const tools = JSON.parse(text);
  if (!Array.isArray(tools)) throw new Error("expected a list of tools: [ … ]");
  tools.forEach((tool, i) => {
    const name = (tool?.function ?? tool)?.name;
    if (typeof name !== "string" || name === "") throw new Error(`tool ${i + 1} has no function.name`);
  });
  return tools;
}
