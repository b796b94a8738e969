// A safe subset of Markdown, built as DOM nodes.
//
// The text of an answer arrives in pieces and is shown after each: a fence that is not closed yet
// is a code block so far, a mark without its partner is text. Both steps are linear in the text and
// bounded in depth, whatever a model writes.

import { copyButton, element, fragment } from "./dom.js";
import { inline } from "./inline.js";

/** Lists and quotes inside each other; deeper ones are paragraphs. */
const DEEPEST = 8;

/**
 * @typedef {{kind: "paragraph", text: string}
 *   | {kind: "heading", level: number, text: string}
 *   | {kind: "code", language: string, text: string}
 *   | {kind: "list", start: number | null, items: Block[][]}
 *   | {kind: "quote", blocks: Block[]}
 *   | {kind: "table", align: string[], rows: string[][]}
 *   | {kind: "rule"}} Block `start` is null for bullets; the first row of a table is its head
 */

/** What containers show, block by block. @type {WeakMap<HTMLElement, string[]>} */
const shownIn = new WeakMap();

/**
 * Shows `text` in `container`. Blocks that are as they were keep their nodes, so that a selection
 * in them survives while the rest of the answer streams.
 *
 * @param {HTMLElement} container
 * @param {string} text
 */
export function render(container, text) {
  const blocks = parse(text);
  const wanted = blocks.map((block) => JSON.stringify(block));
  const shown = shownIn.get(container) ?? [];
  let same = 0;
  while (same < shown.length && shown[same] === wanted[same]) same += 1;
  while (container.childNodes.length > same) container.lastChild.remove();
  container.append(fragment(blocks.slice(same).map(build)));
  shownIn.set(container, wanted);
}

/** @param {string} text @returns {Block[]} */
export function parse(text) {
  return blocksOf(text.split(/\r\n?|\n/), 0);
}

/** @param {string[]} lines @param {number} depth @returns {Block[]} */
function blocksOf(lines, depth) {
  const blocks = [];
  let at = 0;
  while (at < lines.length) {
    if (lines[at].trim() === "") {
      at += 1;
      continue;
    }
    const [block, next] = code(lines, at) ?? heading(lines, at) ?? rule(lines, at)
      ?? (depth < DEEPEST ? quote(lines, at, depth) ?? list(lines, at, depth) : null)
      ?? table(lines, at) ?? paragraph(lines, at, depth);
    blocks.push(block);
    at = next;
  }
  return blocks;
}

// Each of these reads one kind of block at line `at` and returns it with the line after it, or null.

function code(lines, at) {
  const fence = openedFence(lines[at]);
  if (!fence) return null;
  const text = [];
  let next = at + 1;
  while (next < lines.length && !closes(fence, lines[next])) {
    text.push(outdented(lines[next], fence.indent));
    next += 1;
  }
  return [{ kind: "code", language: fence.language, text: text.join("\n") }, next + 1];
}

/** The fence that a line opens. Backticks behind it mean inline code, not a fence. */
function openedFence(line) {
  const found = /^\s*(`{3,}|~{3,})([^`]*)$/.exec(line);
  if (!found) return null;
  const language = found[2].trim().split(" ")[0];
  return { indent: indentOf(line), mark: found[1], language };
}

function closes(fence, line) {
  const text = line.trim();
  return text.length >= fence.mark.length && text === fence.mark[0].repeat(text.length);
}

function heading(lines, at) {
  const found = /^ {0,3}(#{1,6}) +(.*)$/.exec(lines[at]);
  if (!found) return null;
  return [{ kind: "heading", level: found[1].length, text: found[2].trim().replace(/ #+$/, "") }, at + 1];
}

function rule(lines, at) {
  const marks = lines[at].replaceAll(" ", "");
  const isRule = marks.length >= 3 && "-*_".includes(marks[0]) && marks === marks[0].repeat(marks.length);
  return isRule ? [{ kind: "rule" }, at + 1] : null;
}

function quote(lines, at, depth) {
  const inner = [];
  let next = at;
  while (next < lines.length && /^ {0,3}>/.test(lines[next])) {
    inner.push(lines[next].replace(/^ {0,3}> ?/, ""));
    next += 1;
  }
  return next > at ? [{ kind: "quote", blocks: blocksOf(inner, depth + 1) }, next] : null;
}

/** The marker that a line begins with: a bullet or a number. */
function markerOf(line) {
  const found = /^\s*([-*+]|\d{1,9}[.)])(?: +|\t|$)/.exec(line);
  if (!found) return null;
  const indent = indentOf(line);
  const width = indent + found[0].trimStart().length;
  const number = Number.parseInt(found[1], 10);
  return { text: found[0], indent, width, start: Number.isNaN(number) ? null : number };
}

function list(lines, at, depth) {
  const first = markerOf(lines[at]);
  if (!first) return null;
  const items = [];
  let next = at;
  while (next < lines.length) {
    const marker = markerOf(lines[next]);
    if (!marker || (marker.start === null) !== (first.start === null) || rule(lines, next)) break;
    const [item, after] = itemOf(lines, next, marker);
    items.push(blocksOf(item, depth + 1));
    next = after;
  }
  return [{ kind: "list", start: first.start, items }, next];
}

/** The lines of one item without their indentation, and the line after them. */
function itemOf(lines, at, marker) {
  const item = [lines[at].slice(marker.text.length)];
  let fence = openedFence(item[0]);
  let next = at + 1;
  for (; next < lines.length; next += 1) {
    const line = lines[next];
    const blank = line.trim() === "";
    const indent = indentOf(line);
    // Models indent what belongs to an item by two, three or four columns, whatever its marker.
    const belongs = blank || indent >= Math.min(marker.width, marker.indent + 2);
    // The rest of a paragraph belongs without indentation, too.
    const goesOn = () => !fence && lines[next - 1].trim() !== "" && !begins(lines, next);
    if (!belongs && !goesOn()) break;
    item.push(outdented(line, marker.width));
    if (fence && closes(fence, line)) fence = null;
    else fence ??= openedFence(line.trimStart());
  }
  return [item, next];
}

function table(lines, at) {
  const align = headAlignments(lines, at);
  if (!align) return null;
  const rows = [cells(lines[at])];
  let next = at + 2;
  while (next < lines.length && lines[next].includes("|")) {
    const row = cells(lines[next]).slice(0, align.length);
    rows.push(row.concat(Array(align.length - row.length).fill("")));
    next += 1;
  }
  return [{ kind: "table", align, rows }, next];
}

/** How the columns of a table are aligned, if one begins here: under its head is `| --- | :-: | --: |`. */
function headAlignments(lines, at) {
  if (at + 1 >= lines.length || !lines[at].includes("|") || !lines[at + 1].includes("|")) return null;
  const marks = cells(lines[at + 1]);
  if (!marks.every((mark) => /^:?-+:?$/.test(mark)) || marks.length !== cells(lines[at]).length) return null;
  return marks.map((mark) => (mark.endsWith(":") ? (mark.startsWith(":") ? "center" : "right") : "left"));
}

function cells(line) {
  const text = line.trim().replace(/^\|/, "").replace(/\|$/, "");
  return text.split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll("\\|", "|"));
}

function paragraph(lines, at, depth) {
  const ends = (next) => {
    if (next === lines.length || lines[next].trim() === "") return true;
    // A number that happens to begin a line, as a year may, is text; lists begin with 1.
    const number = markerOf(lines[next])?.start ?? 1;
    return depth < DEEPEST && number === 1 && begins(lines, next);
  };
  let next = at + 1;
  while (!ends(next)) next += 1;
  return [{ kind: "paragraph", text: lines.slice(at, next).map((line) => line.trim()).join("\n") }, next];
}

/** Whether a block of another kind than a paragraph begins at this line. */
function begins(lines, at) {
  const line = lines[at];
  return Boolean(openedFence(line) || heading(lines, at) || rule(lines, at) || /^ {0,3}>/.test(line) || markerOf(line)
    || headAlignments(lines, at));
}

/** Columns of white space before a line; a tab is four. */
function indentOf(line) {
  let columns = 0;
  for (let i = 0; line[i] === " " || line[i] === "\t"; i += 1) columns += line[i] === "\t" ? 4 : 1;
  return columns;
}

/** A line without so many columns of the white space before it. */
function outdented(line, columns) {
  let start = 0;
  for (let seen = 0; seen < columns && (line[start] === " " || line[start] === "\t"); start += 1) {
    seen += line[start] === "\t" ? 4 : 1;
  }
  return line.slice(start);
}

/** @param {Block} block @returns {HTMLElement} */
function build(block) {
  switch (block.kind) {
    case "heading":
      // The page has a heading of the first level already.
      return element(`h${Math.min(block.level + 1, 6)}`, {}, inline(block.text));
    case "code":
      return element("figure", { className: "code" },
        element("figcaption", {}, element("span", {}, block.language), copyButton("Copy", () => block.text)),
        // A long line scrolls, and what scrolls must be within reach of the keyboard.
        element("pre", { tabIndex: 0 }, element("code", {}, block.text)));
    case "list": {
      const properties = block.start === null ? {} : { start: block.start };
      return element(block.start === null ? "ul" : "ol", properties, fragment(block.items.map(buildItem)));
    }
    case "quote":
      return element("blockquote", {}, fragment(block.blocks.map(build)));
    case "table":
      return buildTable(block);
    case "rule":
      return element("hr");
    default:
      return element("p", {}, inline(block.text));
  }
}

/** The first paragraph of an item stands beside its marker. */
function buildItem(blocks) {
  const [first, ...rest] = blocks;
  if (first?.kind !== "paragraph") return element("li", {}, fragment(blocks.map(build)));
  return element("li", {}, inline(first.text), fragment(rest.map(build)));
}

function buildTable({ align, rows }) {
  const row = (tag, texts) => element("tr", {},
    fragment(texts.map((text, i) => element(tag, { className: align[i] }, inline(text)))));
  const [head, ...body] = rows;
  return element("div", { className: "table", tabIndex: 0 },
    element("table", {},
      element("thead", {}, row("th", head)),
      element("tbody", {}, fragment(body.map((texts) => row("td", texts))))));
}
