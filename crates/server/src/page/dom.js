// The few things that every part of the page does with the document.

/**
 * Makes an element. Strings become text nodes: nothing in this page is ever parsed as HTML, so
 * nothing that a model or a user writes can become markup.
 *
 * @param {string} tag
 * @param {Record<string, unknown>} [properties] properties by their DOM names; `on…` are listeners,
 *   names with a dash are attributes
 * @param {...(Node | string)} children
 * @returns {HTMLElement}
 */
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name.includes("-")) made.setAttribute(name, String(value));
    else made[name] = value;
  }
  made.append(...children);
  return made;
}

/**
 * Nodes as one: a call with a hundred thousand arguments would be too many for the browser.
 *
 * @param {Iterable<Node | string>} nodes
 * @returns {DocumentFragment}
 */
export function fragment(nodes) {
  const made = document.createDocumentFragment();
  for (const node of nodes) made.append(node);
  return made;
}

/** Sets a text if it is another one: the same one again would be read out again. */
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/**
 * A button that acts on a click.
 *
 * @param {string} label
 * @param {(event: MouseEvent) => void} onclick
 * @param {string} [className]
 */
export function button(label, onclick, className = "quiet") {
  return element("button", { type: "button", className, onclick }, label);
}

/**
 * A button that copies a text and says for a moment that it did.
 *
 * @param {string} label
 * @param {() => string} text asked for when the button is pressed
 */
export function copyButton(label, text) {
  const made = button(label, async () => {
    const done = await copy(text());
    made.textContent = done ? "Copied" : "Cannot copy";
    setTimeout(() => (made.textContent = label), 1500);
  });
  return made;
}

/**
 * Puts a text on the clipboard; says whether that worked.
 *
 * @param {string} text
 * @returns {Promise<boolean>}
 */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Plain HTTP from another machine has no clipboard API, only the old way. Inside a modal
    // dialog, everything outside of it cannot be selected.
    const box = element("textarea", { value: text, className: "offscreen", readOnly: true });
    const place = document.querySelector("dialog[open]") ?? document.body;
    const focused = document.activeElement;
    place.append(box);
    box.select();
    const done = document.execCommand("copy");
    box.remove();
    focused?.focus();
    return done;
  }
}

/** Lets a text box grow with its text; the stylesheet says up to where. @param {HTMLTextAreaElement} box */
export function growing(box) {
  const fit = () => {
    box.style.height = "auto";
    // What is not shown has no height; it keeps that of its rows.
    if (box.scrollHeight === 0) return;
    box.style.height = `${box.scrollHeight + box.offsetHeight - box.clientHeight}px`;
  };
  box.addEventListener("input", fit);
  // A box that is not in the document yet has no height.
  requestAnimationFrame(fit);
  return fit;
}

/** Whether a key chooses among the candidates of an input method; Safari says so by the code only. */
export function composes(event) {
  return event.isComposing || event.keyCode === 229;
}

/** Enter is for sending, with Shift it is a new line. @param {HTMLTextAreaElement} box @param {() => void} send */
export function enterSends(box, send) {
  box.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || composes(event)) return;
    event.preventDefault();
    send();
  });
}

/** 4096 → "4,096". @param {number} n */
export function grouped(n) {
  return n.toLocaleString("en-US", { maximumFractionDigits: 1 });
}

/** A duration for people: "0.03 s", "0.4 s", "12 s", "2 min 5 s". @param {number} ms */
export function duration(ms) {
  const seconds = ms / 1000;
  if (seconds < 0.095) return `${seconds.toFixed(2)} s`;
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  return whole < 60 ? `${whole} s` : `${Math.floor(whole / 60)} min ${whole % 60} s`;
}
