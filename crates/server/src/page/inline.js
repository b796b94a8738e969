// Marks within a line of Markdown: code, bold, italic, links to the web.

import { element, fragment } from "./dom.js";

/** Marks open at once; a line with more of them is text, not emphasis. */
const MOST_OPEN = 12;

const TAGS = { "*": "em", _: "em", "**": "strong", __: "strong" };

/**
 * Text to nodes. One pass from left to right: a closing mark wraps what has come since its opening
 * one, and marks that are never closed stay text.
 *
 * @param {string} text
 * @returns {DocumentFragment}
 */
export function inline(text) {
  /** Innermost last; the first one is the line itself. @type {{mark: string, nodes: (Node | string)[]}[]} */
  const open = [{ mark: "", nodes: [] }];
  const put = (node) => open[open.length - 1].nodes.push(node);
  const unclosedCode = new Set();
  const special = /[\\`*_[]/g;
  let at = 0;
  while (at < text.length) {
    special.lastIndex = at;
    const found = special.exec(text);
    if (!found) break;
    if (found.index > at) put(text.slice(at, found.index));
    at = found.index;
    switch (text[at]) {
      case "\\": {
        const escaped = /[!-/:-@[-`{-~]/.test(text[at + 1] ?? "");
        put(escaped ? text[at + 1] : "\\");
        at += escaped ? 2 : 1;
        break;
      }
      case "`":
        at = code(text, at, put, unclosedCode);
        break;
      case "[":
        at = link(text, at, put);
        break;
      default:
        at = emphasis(text, at, open, put);
    }
  }
  put(text.slice(at));
  while (open.length > 1) giveUp(open);
  return fragment(open[0].nodes);
}

/** Code up to as many backticks as opened it. `unclosed` keeps a second search from the same end. */
function code(text, at, put, unclosed) {
  const runs = /`+/g;
  runs.lastIndex = at;
  const [ticks] = runs.exec(text);
  const from = at + ticks.length;
  if (!unclosed.has(ticks.length)) {
    for (let run = runs.exec(text); run; run = runs.exec(text)) {
      if (run[0].length !== ticks.length) continue;
      const inner = text.slice(from, run.index);
      // One space on both sides is there to keep backticks apart.
      const padded = inner.startsWith(" ") && inner.endsWith(" ") && inner.trim() !== "";
      put(element("code", {}, padded ? inner.slice(1, -1) : inner));
      return run.index + ticks.length;
    }
    unclosed.add(ticks.length);
  }
  put(ticks);
  return from;
}

/** A link to the web; anything else in brackets is text. */
function link(text, at, put) {
  const shape = /\[([^[\]]{1,300})\]\((https?:\/\/[^\s()<>]{1,2000})\)/y;
  shape.lastIndex = at;
  const found = shape.exec(text);
  if (!found) {
    put("[");
    return at + 1;
  }
  const properties = { href: found[2], title: found[2], target: "_blank", rel: "noopener noreferrer" };
  put(element("a", properties, found[1]));
  return at + found[0].length;
}

/** A run of one sign: closes what it can, opens what it may, and is text for the rest. */
function emphasis(text, at, open, put) {
  const sign = text[at];
  let end = at;
  while (text[end] === sign) end += 1;
  let left = end - at;
  const before = text[at - 1] ?? " ";
  const after = text[end] ?? " ";
  // Underscores inside of words are part of names.
  const free = (character) => sign === "*" || !/[\p{L}\p{N}]/u.test(character);
  const mayClose = /\S/.test(before) && free(after);
  const mayOpen = /\S/.test(after) && free(before);
  // More than bold and italic at once is a line of stars.
  if (left > 3 || !(mayClose || mayOpen)) {
    put(text.slice(at, end));
    return end;
  }
  while (mayClose && left > 0) {
    const opened = open.findLastIndex(({ mark }) => mark[0] === sign && mark.length <= left);
    if (opened < 0) break;
    while (open.length > opened + 1) giveUp(open);
    const { mark, nodes } = open.pop();
    put(element(TAGS[mark], {}, fragment(nodes)));
    left -= mark.length;
  }
  while (left > 0) {
    const mark = sign.repeat(Math.min(left, 2));
    if (mayOpen && open.length <= MOST_OPEN) open.push({ mark, nodes: [] });
    else put(mark);
    left -= mark.length;
  }
  return end;
}

/** The innermost open mark was text after all. */
function giveUp(open) {
  const { mark, nodes } = open.pop();
  const outer = open[open.length - 1].nodes;
  outer.push(mark);
  for (const node of nodes) outer.push(node);
}
