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
      this.summary.textContent = "the house is dark: the server is away";
      if (source.readyState === EventSource.CLOSED) setTimeout(() => this.start(), 2000);
    });
  }

  /** Which session is being talked to: "user:librarian:thread". */
  follow(key) {
    this.mine = key;
    if (this.last) this.show(this.last);
  }

  /** Called with each restart seen: {path, restarts, mine}. */
  onRestart(call) {
    this.watchers.add(call);
  }

  show(picture) {
    // In the first picture of a process nothing is news; an actor that is new in a
    // later one and was restarted already began and fell between the two.
    this.primed = this.last !== undefined && this.last.pid === picture.pid;
    this.last = picture;
    this.root.classList.remove("stale");
    const seen = new Set();
    this.count = { actors: 0, restarts: 0 };
    const top = this.#node(picture.tree, seen, false);
    if (this.root.firstChild !== top) this.root.replaceChildren(top);
    for (const [path, node] of this.nodes) {
      if (!seen.has(path)) {
        node.item.remove();
        this.nodes.delete(path);
      }
    }
    const { actors, restarts } = this.count;
    this.summary.textContent = `${counted(actors, "actor")} on duty, ${counted(restarts, "restart")}`;
    this.summary.title = `process ${picture.pid}, up ${Math.round(picture.uptime)} s`;
  }

  #node(data, seen, inherited) {
    const { path, restarts } = data;
    seen.add(path);
    let node = this.nodes.get(path);
    if (!node) {
      node = this.#made(path);
      this.nodes.set(path, node);
    }
    const mine = inherited || this.#isMine(data);
    this.count.actors += 1;
    this.count.restarts += restarts;

    node.item.dataset.state = data.current && data.state === "running" ? "busy" : data.state;
    node.item.classList.toggle("yours", mine);
    node.name.textContent = shown(data, this.#isMine(data));
    node.kind.textContent = data.class;
    node.row.title = tooltip(data);
    node.badge.hidden = restarts === 0;
    node.badge.textContent = `↻ ${restarts}`;
    node.badge.setAttribute("aria-label", `restarted ${counted(restarts, "time")}`);
    if (this.primed && restarts > (node.restarts ?? 0)) {
      node.item.classList.remove("flash");
      void node.item.offsetWidth; // begin the animation anew
      node.item.classList.add("flash");
      for (const call of this.watchers) call({ path, restarts, mine });
    }
    node.restarts = restarts;

    const { children } = data;
    // The session one talks to is always among those shown.
    const ordered = children.length > SHOWN
      ? [...children].sort((a, b) => this.#isMine(b) - this.#isMine(a)) : children;
    const items = ordered.slice(0, SHOWN).map((child) => this.#node(child, seen, mine));
    for (const child of ordered.slice(SHOWN)) this.#tally(child);
    this.count.actors += data.more;
    const hidden = children.length - items.length + data.more;
    if (items.length || hidden > 0) {
      node.group ??= node.item.appendChild(element("ul"));
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
    this.count.actors += 1 + data.more;
    this.count.restarts += data.restarts;
    for (const child of data.children) this.#tally(child);
  }

  #isMine({ name }) {
    return this.mine !== "" && (name === this.mine || unescape(name) === this.mine);
  }

  #made(path) {
    const item = element("li", "node");
    item.dataset.path = path;
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

function counted(count, what) {
  return `${count} ${what}${count === 1 ? "" : "s"}`;
}

// Of a session's key the last part tells it apart; one's own is called so.
function shown({ name, path }, mine) {
  if (mine) return "this conversation";
  const parts = unescape(name).split(":");
  return parts.length === 3 ? `${parts[0].slice(0, 8)}…${parts[2].slice(0, 8)}` : name || path;
}

function tooltip(data) {
  const lines = [data.path, `${data.state}, restarted ${counted(data.restarts, "time")}`];
  if (data.depth > 0) lines.push(`${counted(data.depth, "message")} waiting`);
  if (data.current) lines.push(`handling ${data.current.message}`);
  if (data.last_failure) lines.push(`last failure: ${data.last_failure}`);
  return lines.join("\n");
}
