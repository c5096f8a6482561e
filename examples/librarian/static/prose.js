// Text of an answer -> DOM. A small part of Markdown, the part the Librarian writes:
// paragraphs, lists, fences, `code`, **strong**, _emphasis_ and [n] for a source.
// Everything becomes text nodes; nothing an answer says is ever parsed as HTML.

const FENCE = /^\s*(```|~~~)/;
const ITEM = /^\s*(?:[-*•]|\d{1,2}[.)])\s+(.*)$/;
const HEADING = /^#{1,6}\s+(.*)$/;

/** Cut an answer into blocks: {kind: "text" | "list" | "code" | "heading", …}. */
export function blocksOf(text) {
  const blocks = [];
  let paragraph = [];
  const flush = () => {
    if (paragraph.length) blocks.push({ kind: "text", text: paragraph.join(" ") });
    paragraph = [];
  };
  const lines = text.split("\n");
  for (let i = 0; i < lines.length; i += 1) {
    const line = lines[i];
    if (FENCE.test(line)) {
      flush();
      const code = [];
      for (i += 1; i < lines.length && !FENCE.test(lines[i]); i += 1) code.push(lines[i]);
      blocks.push({ kind: "code", text: code.join("\n") });
      continue;
    }
    const item = line.match(ITEM);
    const heading = line.match(HEADING);
    const last = blocks[blocks.length - 1];
    if (heading) {
      flush();
      blocks.push({ kind: "heading", text: heading[1] });
    } else if (item) {
      flush();
      const list = blocks[blocks.length - 1];
      if (list && list.kind === "list") list.items.push(item[1]);
      else blocks.push({ kind: "list", items: [item[1]] });
    } else if (!line.trim()) {
      flush();
    } else if (last && last.kind === "list" && /^\s{2,}/.test(line) && !paragraph.length) {
      last.items[last.items.length - 1] += ` ${line.trim()}`;
    } else {
      paragraph.push(line.trim());
    }
  }
  flush();
  return blocks;
}

const INLINE = /(`[^`]+`)|(\*\*[^*]+\*\*)|(?<![\w])_([^_\s](?:[^_]*[^_\s])?)_(?![\w])|\[(\d{1,2})\]/g;

function inline(parent, text) {
  let at = 0;
  for (const match of text.matchAll(INLINE)) {
    parent.append(text.slice(at, match.index));
    if (match[1]) parent.append(element("code", "", match[1].slice(1, -1)));
    else if (match[2]) inline(parent.appendChild(element("strong")), match[2].slice(2, -2));
    else if (match[3]) inline(parent.appendChild(element("em")), match[3]);
    else {
      const cite = element("button", "cite", match[4]);
      cite.type = "button";
      cite.dataset.cite = match[4];
      cite.setAttribute("aria-label", `Source ${match[4]}`);
      parent.append(cite);
    }
    at = match.index + match[0].length;
  }
  parent.append(text.slice(at));
}

/** An element with a class and a text. */
export function element(tag, className = "", text = "") {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text) made.textContent = text;
  return made;
}

function built(block) {
  if (block.kind === "code") {
    const pre = element("pre");
    pre.tabIndex = 0;
    pre.append(element("code", "", block.text));
    return pre;
  }
  if (block.kind === "list") {
    const list = element("ul");
    for (const item of block.items) inline(list.appendChild(element("li")), item);
    return list;
  }
  if (block.kind === "heading") {
    const heading = element("h3");
    inline(heading, block.text);
    return heading;
  }
  const only = /^`[^`]+`(\s*\[\d+\])?$/.test(block.text);
  const paragraph = element("p", only ? "signature" : "");
  inline(paragraph, block.text);
  return paragraph;
}

/**
 * Shows a growing text. Only blocks that changed are built anew, which for streamed
 * text is the last one: what stands above it never moves and keeps its selection.
 */
export class Prose {
  constructor(root) {
    this.root = root;
    this.shown = [];
  }

  show(text) {
    const keys = blocksOf(text).map((block) => [JSON.stringify(block), block]);
    let same = 0;
    while (same < keys.length && same < this.shown.length && keys[same][0] === this.shown[same]) same += 1;
    while (this.root.children.length > same) this.root.lastChild.remove();
    for (const [, block] of keys.slice(same)) this.root.append(built(block));
    this.shown = keys.map(([key]) => key);
  }
}
