// The supervision tree, live: one picture per change over server-sent events.

import { element } from "./prose.js";

const SHOWN = 14; // children of one parent; the rest is counted

export class Tree {
  constructor(root, summary) {
    this.root = root;
    this.summary = summary;
    this.nodes = new Map();
    this.mine = "";
    this.watchers = new Set();
  }

  start() {
    const source = new EventSource("/v1/tree/stream");
    source.addEventListener("tree", ({ data }) => this.show(JSON.parse(data)));
    // EventSource reconnects by itself, but not after an answer that is no stream.
    source.addEventListener("error", () => {
      this.root.classList.add("stale");
      if (source.readyState === EventSource.CLOSED) setTimeout(() => this.start(), 2000);
    });
  }

  /** Which session is being talked to: "user:librarian:thread". */
  follow(key) {
    this.mine = key;
    if (this.last) this.show(this.last);
  }

  /** Called with each restart seen: {path, incarnation, mine}. */
  onRestart(call) {
    this.watchers.add(call);
  }

  show(picture) {
    this.last = picture;
    this.root.classList.remove("stale");
    const root = picture.tree ?? picture.root ?? picture;
    const seen = new Set();
    this.count = { actors: 0, restarts: 0 };
    const top = this.#node(root, "", seen, 1, false);
    if (this.root.firstChild !== top) this.root.replaceChildren(top);
    for (const [path, node] of this.nodes) {
      if (!seen.has(path)) {
        node.item.remove();
        this.nodes.delete(path);
      }
    }
    const { actors, restarts } = this.count;
    this.summary.textContent = `${actors} ${actors === 1 ? "actor" : "actors"} on duty, `
      + `${restarts} ${restarts === 1 ? "restart" : "restarts"}`;
  }

  #node(data, parent, seen, level, inherited) {
    const path = data.path || `${parent}/${data.name}`;
    seen.add(path);
    let node = this.nodes.get(path);
    if (!node) {
      node = this.#made(path, level);
      this.nodes.set(path, node);
    }
    const state = String(data.state ?? "running").toLowerCase();
    const incarnation = data.incarnation ?? 1;
    const restarts = data.restarts ?? Math.max(0, incarnation - 1);
    const kind = data.class ?? data.kind ?? data.type ?? "";
    const mine = inherited || (this.mine !== "" && (data.name === this.mine || unescape(data.name) === this.mine));
    this.count.actors += 1;
    this.count.restarts += restarts;

    node.item.dataset.state = state;
    node.item.dataset.path = path;
    node.item.classList.toggle("yours", mine);
    node.name.textContent = shown(data.name || path, this.mine);
    node.kind.textContent = String(kind).split(".").pop();
    node.row.title = tooltip(data, path, state, incarnation, restarts);
    node.badge.hidden = restarts === 0;
    node.badge.textContent = `↻ ${restarts}`;
    node.badge.setAttribute("aria-label", `restarted ${restarts} times`);
    if (node.incarnation !== undefined && incarnation > node.incarnation) {
      node.item.classList.remove("flash");
      void node.item.offsetWidth; // begin the animation anew
      node.item.classList.add("flash");
      for (const call of this.watchers) call({ path, incarnation, mine });
    }
    node.incarnation = incarnation;

    const children = data.children ?? [];
    const list = Array.isArray(children) ? children : Object.values(children);
    // The session one talks to is always among those shown.
    const isMine = (child) => child.name === this.mine || unescape(child.name) === this.mine;
    const ordered = list.length > SHOWN ? [...list].sort((a, b) => isMine(b) - isMine(a)) : list;
    const items = ordered.slice(0, SHOWN).map((child) => this.#node(child, path, seen, level + 1, mine));
    const hidden = (data.child_count ?? data.children_total ?? list.length) - items.length;
    for (const child of ordered.slice(SHOWN)) this.#tally(child);
    if (items.length || hidden > 0) {
      node.group ??= node.item.appendChild(element("ul"));
      node.group.setAttribute("role", "group");
      if (hidden > 0) {
        node.rest ??= element("li", "more-nodes");
        node.rest.textContent = `and ${hidden} more`;
        items.push(node.rest);
      }
      const current = [...node.group.children];
      if (current.length !== items.length || current.some((item, i) => item !== items[i])) {
        node.group.replaceChildren(...items);
      }
    } else if (node.group) {
      node.group.remove();
      node.group = undefined;
    }
    return node.item;
  }

  #tally(data) {
    this.count.actors += 1;
    this.count.restarts += data.restarts ?? 0;
    for (const child of Object.values(data.children ?? [])) this.#tally(child);
  }

  #made(path, level) {
    const item = element("li", "node");
    item.setAttribute("role", "treeitem");
    item.setAttribute("aria-level", String(level));
    const row = element("div", "row");
    const label = element("span", "label");
    const name = element("span", "name");
    const kind = element("small");
    label.append(name, kind);
    const badge = element("span", "restarts");
    row.append(element("span", "lamp"), label, badge);
    item.append(row);
    return { item, row, name, kind, badge };
  }
}

function unescape(name) {
  try {
    return decodeURIComponent(name ?? "");
  } catch {
    return name;
  }
}

// Of a session's key the last part tells it apart; one's own is called so.
function shown(name, mine) {
  const plain = unescape(name);
  if (plain === mine) return "this conversation";
  const parts = plain.split(":");
  return parts.length === 3 ? `${parts[0].slice(0, 8)}…${parts[2].slice(0, 8)}` : plain;
}

function tooltip(data, path, state, incarnation, restarts) {
  const lines = [path, `${state}, incarnation ${incarnation}, ${restarts} restarts`];
  const depth = data.depth ?? data.mailbox;
  if (typeof depth === "number" && depth > 0) lines.push(`${depth} messages waiting`);
  if (data.last_failure) lines.push(`last failure: ${text(data.last_failure)}`);
  return lines.join("\n");
}

function text(value) {
  return typeof value === "string" ? value : value.message ?? value.cause ?? JSON.stringify(value);
}
