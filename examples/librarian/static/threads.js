// The conversations this browser knows of. Their words are the server's; here is
// only which there are, under what title, and who we are.

import { randomId } from "./session.js";

const USER = "librarian.user";
const THREADS = "librarian.threads";

function read(key, otherwise) {
  try {
    return JSON.parse(localStorage.getItem(key)) ?? otherwise;
  } catch {
    return otherwise;
  }
}

/** Who we are to the server: made once, kept in this browser. */
export function user() {
  let name = read(USER, "");
  if (!/^[a-z0-9-]{3,40}$/.test(name)) {
    name = `guest-${randomId(8)}`;
    localStorage.setItem(USER, JSON.stringify(name));
  }
  return name;
}

export class Threads extends EventTarget {
  constructor() {
    super();
    this.list = read(THREADS, []);
    const named = decodeURIComponent(location.hash.slice(1));
    this.current = this.list.some(({ id }) => id === named) ? named : this.list[0]?.id;
    if (!this.current) this.create();
    addEventListener("hashchange", () => {
      const id = decodeURIComponent(location.hash.slice(1));
      if (id !== this.current && this.list.some((thread) => thread.id === id)) this.go(id);
    });
    // Another window of this browser changed the list.
    addEventListener("storage", ({ key }) => {
      if (key !== THREADS) return;
      this.list = read(THREADS, []);
      if (!this.list.some(({ id }) => id === this.current)) this.create();
      this.dispatchEvent(new Event("changed"));
    });
  }

  title(id = this.current) {
    return this.list.find((thread) => thread.id === id)?.title || "New conversation";
  }

  create() {
    // An unused one is as good as a new one.
    const unused = this.list.find((thread) => !thread.title);
    const id = unused?.id ?? randomId(10);
    if (!unused) this.list.unshift({ id, title: "" });
    this.go(id);
  }

  go(id) {
    this.current = id;
    if (location.hash.slice(1) !== id) history.replaceState(null, "", `#${id}`);
    this.#save();
    this.dispatchEvent(new Event("current"));
  }

  /** Take it off the list. The server's journal keeps what was said. */
  drop(id) {
    const at = this.list.findIndex((thread) => thread.id === id);
    this.list = this.list.filter((thread) => thread.id !== id);
    this.#save();
    if (id !== this.current) return;
    const next = this.list[Math.min(at, this.list.length - 1)];
    if (next) this.go(next.id);
    else this.create();
  }

  /** Call a conversation after its first question. */
  name(id, question) {
    const thread = this.list.find((entry) => entry.id === id);
    if (!thread || thread.title) return;
    const words = question.trim().replace(/\s+/g, " ");
    thread.title = words.length > 60 ? `${words.slice(0, 58).trimEnd()} …` : words;
    this.#save();
  }

  #save() {
    localStorage.setItem(THREADS, JSON.stringify(this.list));
    this.dispatchEvent(new Event("changed"));
  }
}
