// One conversation: its socket, its cursor and what has been said in it.
// The truth is the server's journal. A reload asks for the questions and takes the
// frames from the beginning; a reconnect takes those after the last one it has.

const FIRST_WAIT = 300;
const LONGEST_WAIT = 10_000;
const PATIENCE = 20_000; // without a sign of life while a question is open

/** A random name; `crypto.randomUUID` is not there on plain http beyond localhost. */
export function randomId(length = 12) {
  const bytes = crypto.getRandomValues(new Uint8Array(length));
  return Array.from(bytes, (byte) => "abcdefghijklmnopqrstuvwxyz012345"[byte & 31]).join("");
}

export class Session extends EventTarget {
  constructor(user, thread) {
    super();
    this.user = user;
    this.thread = thread;
    this.path = `/v1/sessions/${encodeURIComponent(user)}/librarian/${encodeURIComponent(thread)}`;
    this.turns = [];
    this.seq = 0;
    this.state = "closed"; // connecting, open, waiting, closed
    this.retryAt = 0;
    this.wanted = false;
    this.loaded = false;
    this.failures = 0;
    this.attempts = 0;
    this.acked = 0;
    this.outboxKey = `librarian.outbox.${user}.${thread}`;
  }

  /** The key as the server writes it. */
  get key() {
    return `${this.user}:librarian:${this.thread}`;
  }

  get busy() {
    return this.turns.some((turn) => turn.state === "waiting" || turn.state === "streaming");
  }

  open() {
    this.wanted = true;
    if (this.state === "closed" || this.state === "waiting") this.#connect();
  }

  close() {
    this.wanted = false;
    clearTimeout(this.timer);
    clearTimeout(this.patience);
    this.socket?.close();
    this.#become("closed");
  }

  ask(text) {
    const turn = { id: `m-${randomId(16)}`, question: text, text: "", state: "waiting", attempt: 1, fresh: true };
    this.turns.push(turn);
    this.#keep();
    this.#changed(turn);
    this.#say(turn);
  }

  /** Ask again what failed, as a new message. */
  again(turn) {
    this.ask(turn.question);
  }

  cancel() {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send('{"type":"cancel"}');
  }

  #say(turn) {
    if (this.socket?.readyState !== WebSocket.OPEN) return; // said when it opens
    this.socket.send(JSON.stringify({ type: "user_message", text: turn.question, message_id: turn.id }));
    this.#watch();
  }

  // Questions without an answer outlive a reload: said again with the same id,
  // they attach to the turn they named and make nothing new.
  #keep() {
    const open = this.turns.filter((turn) => turn.state === "waiting" || turn.state === "streaming");
    const kept = open.filter((turn) => !turn.foreign).map(({ id, question }) => ({ id, question }));
    if (kept.length) localStorage.setItem(this.outboxKey, JSON.stringify(kept));
    else localStorage.removeItem(this.outboxKey);
  }

  async #load() {
    const questions = [];
    for (let after = 0, more = true; more; ) {
      const answer = await fetch(`${this.path}/events?types=user_message&after=${after}`, { cache: "no-store" });
      if (!answer.ok) throw new Error(`events: ${answer.status}`);
      const page = await answer.json();
      questions.push(...page.events);
      ({ next: after, more } = page);
    }
    const known = new Map(this.turns.map((turn) => [turn.id, turn]));
    const turns = [];
    for (const event of questions) {
      const { text, message_id: id } = { ...event, ...event.payload };
      turns.push(known.get(id) ?? { id, question: text, text: "", state: "waiting", attempt: 1, foreign: true });
      known.delete(id);
    }
    for (const kept of JSON.parse(localStorage.getItem(this.outboxKey) ?? "[]")) {
      const turn = turns.find(({ id }) => id === kept.id);
      if (turn) turn.foreign = false;
      else if (!known.has(kept.id)) {
        turns.push({ ...kept, text: "", state: "waiting", attempt: 1 });
      }
    }
    this.turns = [...turns, ...known.values()];
    this.loaded = true;
    this.dispatchEvent(new Event("loaded"));
  }

  async #connect() {
    clearTimeout(this.timer);
    this.attempts += 1;
    const attempt = this.attempts;
    this.#become("connecting");
    try {
      if (!this.loaded) await this.#load();
    } catch {
      if (this.wanted && attempt === this.attempts) this.#later();
      return;
    }
    if (!this.wanted || attempt !== this.attempts) return; // left, or came back, meanwhile
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}${this.path}/ws?after=${this.seq}&client=page`);
    this.socket = socket;
    socket.addEventListener("open", () => {
      this.failures = 0;
      this.#become("open");
      for (const turn of this.turns) {
        if (!turn.foreign && (turn.state === "waiting" || turn.state === "streaming")) this.#say(turn);
      }
    });
    socket.addEventListener("message", ({ data }) => this.#take(JSON.parse(data)));
    socket.addEventListener("close", () => {
      if (this.socket !== socket) return;
      this.socket = undefined;
      if (this.wanted) this.#later();
    });
  }

  #later() {
    this.failures += 1;
    const wait = Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** (this.failures - 1)) * (0.8 + Math.random() * 0.4);
    this.retryAt = Date.now() + wait;
    this.timer = setTimeout(() => this.#connect(), wait);
    this.#become("waiting");
  }

  /** Do not wait for the next attempt: the network is back, or somebody looks. */
  hurry() {
    if (this.state === "waiting") this.#connect();
  }

  #become(state) {
    this.state = state;
    this.dispatchEvent(new Event("connection"));
  }

  // A connection can be dead without knowing it. A question without any frame for
  // long enough is reason to make a new one; nothing is lost by it.
  #watch() {
    clearTimeout(this.patience);
    if (!this.busy) return;
    this.patience = setTimeout(() => this.socket?.close(), PATIENCE);
  }

  #take(frame) {
    if (frame.seq === undefined) {
      this.#refused(frame);
      return;
    }
    if (frame.seq <= this.seq) return; // have it
    if (frame.seq !== this.seq + 1) {
      this.socket?.close(); // a hole: ask again from the last one that fits
      return;
    }
    this.seq = frame.seq;
    const turn = this.#turnOf(frame);
    if (turn) this.#apply(turn, frame);
    else this.#reload();
    this.#watch();
    if (frame.type === "message" || frame.type === "error" || this.seq - this.acked >= 50) {
      this.acked = this.seq;
      this.socket?.send(JSON.stringify({ type: "ack", seq: this.seq }));
    }
  }

  // Turns of a session are answered one after the other, in order.
  #turnOf(frame) {
    if (frame.message_id !== undefined) {
      return this.turns.find((turn) => turn.id === frame.message_id);
    }
    return this.turns.find((turn) => turn.state === "waiting" || turn.state === "streaming");
  }

  #apply(turn, frame) {
    switch (frame.type) {
      case "token":
        turn.state = "streaming";
        turn.text += frame.value;
        break;
      case "retry":
        turn.attempt = frame.attempt;
        turn.text = "";
        break;
      case "message":
        turn.state = "done";
        turn.text = frame.message;
        turn.data = frame.data ?? {};
        turn.latency = frame.latencyMs;
        break;
      case "error":
        turn.state = frame.code === "cancelled" ? "cancelled" : "failed";
        turn.error = frame.message;
        turn.retryable = frame.retryable;
        break;
      default: // a kind that a later server may have: the cursor moves, nothing is shown
        return;
    }
    if (turn.state !== "streaming") this.#keep();
    this.#changed(turn);
  }

  // Another window of ours asked something: fetch the questions, take the frames anew.
  #reload() {
    this.loaded = false;
    this.seq = 0;
    this.turns = this.turns.filter((turn) => turn.state === "waiting" && !turn.foreign);
    this.socket?.close();
  }

  // An error without a seq is an answer to what was just sent, not part of the session.
  #refused(frame) {
    if (frame.type !== "error") return;
    if (frame.code === "bad_cursor") {
      // The server knows less than we do: another data directory. Begin anew.
      this.seq = 0;
      this.loaded = false;
      this.turns = this.turns.filter((turn) => turn.state === "waiting" && !turn.foreign);
      return;
    }
    const turn = this.turns.find(({ id }) => id === frame.message_id);
    if (turn) {
      turn.state = "failed";
      turn.error = frame.message;
      turn.retryable = frame.retryable;
      this.#keep();
      this.#changed(turn);
    }
  }

  #changed(turn) {
    this.dispatchEvent(new CustomEvent("turn", { detail: turn }));
  }
}
