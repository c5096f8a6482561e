// The page: wires conversations, the stage and the tree behind it.

import { Prose, element } from "./prose.js";
import { Session } from "./session.js";
import { Threads, user } from "./threads.js";
import { Tree } from "./tree.js";

const $ = (id) => document.getElementById(id);
const SUGGESTIONS = [
  "What does the with statement do?",
  "How does functools.lru_cache work?",
  "What happens when an exception is raised in a finally block?",
  "How do I open a SQLite database?",
];

const me = user();
const threads = new Threads();
const sessions = new Map();
const tree = new Tree($("tree"), $("tree-summary"));
let session;
let views = new Map();

// --- a conversation on the stage -------------------------------------------------

const scroller = $("scroller");
const stage = document.querySelector(".stage");
let following = true; // stay at the end while an answer grows, unless somebody scrolled up

scroller.addEventListener("scroll", () => {
  following = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 48;
  stage.classList.toggle("scrolled", scroller.scrollTop > 4);
});
new ResizeObserver(() => follow()).observe($("turns"));

function follow() {
  if (following) scroller.scrollTop = scroller.scrollHeight;
}

class TurnView {
  constructor(turn) {
    this.turn = turn;
    this.item = element("li", turn.fresh ? "turn fresh" : "turn");
    this.item.dataset.id = turn.id;
    const asked = element("div", "asked");
    asked.append(element("p", "", turn.question));
    this.answer = element("div", "answer");
    this.answer.setAttribute("role", "group");
    this.answer.setAttribute("aria-label", "Answer");
    this.waiting = element("div", "waiting-line");
    this.waiting.setAttribute("aria-label", "looking it up");
    this.waiting.append(element("i"), element("i"), element("i"));
    this.text = element("div", "prose");
    this.answer.append(this.waiting, this.text);
    this.item.append(asked, this.answer);
    this.prose = new Prose(this.text);
    this.drawn = undefined;
  }

  draw() {
    const { turn } = this;
    this.item.dataset.state = turn.state;
    this.answer.classList.toggle("streaming", turn.state === "streaming");
    this.answer.setAttribute("aria-busy", String(turn.state === "streaming" || turn.state === "waiting"));
    this.waiting.hidden = turn.text !== "" || !(turn.state === "waiting" || turn.state === "streaming");
    this.prose.show(turn.text);
    if (turn.attempt > 1 && !this.retold) {
      this.retold = direction("The understudy takes it from the top.");
      this.text.before(this.retold);
    }
    if (this.drawn !== turn.state) {
      this.#closing();
      this.drawn = turn.state;
    }
  }

  #closing() {
    const { turn } = this;
    this.closing?.remove();
    this.closing = element("div");
    if (turn.state === "done" && turn.data?.sources?.length) {
      this.closing.append(sources(turn, this.item));
    }
    if (turn.state === "failed" || turn.state === "cancelled") {
      const stopped = turn.state === "cancelled" || turn.error === undefined;
      const box = element("div", "failed");
      box.setAttribute("role", "alert");
      box.append(element("span", "", stopped ? "Stopped." : turn.error));
      const again = element("button", "", "Ask again");
      again.type = "button";
      again.addEventListener("click", () => ask(turn.question));
      box.append(again);
      this.closing.append(box);
    }
    if (turn.state === "done" && turn.data?.model) {
      this.closing.append(element("p", "meta", `worded by ${turn.data.model} from these sources`));
    }
    this.answer.append(this.closing);
  }
}

function direction(text) {
  return element("p", "direction", text);
}

function sources(turn, item) {
  const box = element("section", turn.fresh ? "sources fresh" : "sources");
  box.setAttribute("aria-label", "Sources");
  box.append(element("h3", "sources-head", turn.data.sources.length === 1 ? "Source" : "Sources"));
  const cards = element("div", "cards");
  for (const source of turn.data.sources) {
    const used = turn.data.cited?.includes(source.n) ?? true;
    const card = element("article", used ? "card" : "card unused");
    card.dataset.source = source.n;
    card.dataset.kind = source.kind;
    const title = element("h4", "card-title", source.title);
    const place = element("p", "card-place", source.location);
    const more = element("button", "card-more", "More");
    more.type = "button";
    more.addEventListener("click", () => ask(`Tell me more about source ${source.n}`));
    more.setAttribute("aria-label", `Tell me more about source ${source.n}, ${source.title}`);
    card.title = source.excerpt;
    card.append(element("span", "card-number", String(source.n)), title, more, place);
    cards.append(card);
  }
  box.append(cards);
  item.addEventListener("pointerover", ({ target }) => light(item, target.closest?.("[data-cite]")));
  return box;
}

function light(item, cite) {
  for (const card of item.querySelectorAll(".card")) {
    card.classList.toggle("lit", cite != null && card.dataset.source === cite.dataset.cite);
  }
}

$("turns").addEventListener("click", ({ target }) => {
  const cite = target.closest("[data-cite]");
  if (!cite) return;
  const item = cite.closest(".turn");
  light(item, cite);
  item.querySelector(`.card[data-source="${cite.dataset.cite}"]`)
    ?.scrollIntoView({ block: "nearest", behavior: "smooth" });
});

// Only the last answer's sources can be asked about.
function markSources() {
  const cards = $("turns").querySelectorAll(".sources");
  cards.forEach((box, i) => {
    for (const button of box.querySelectorAll(".card-more")) button.hidden = i !== cards.length - 1;
  });
}

// Frames come faster than the screen is drawn: one drawing per picture.
const dirty = new Set();
function drawSoon(turn) {
  if (!dirty.size) requestAnimationFrame(drawDirty);
  dirty.add(turn);
}

function drawDirty() {
  const turns = [...dirty];
  dirty.clear();
  for (const turn of turns) view(turn).draw();
  after();
}

function view(turn) {
  let made = views.get(turn.id);
  if (!made) {
    made = new TurnView(turn);
    views.set(turn.id, made);
    $("turns").append(made.item);
  }
  made.turn = turn;
  return made;
}

function after() {
  $("opening").hidden = session.turns.length > 0;
  $("composer").classList.toggle("busy", session.busy);
  $("send").setAttribute("aria-label", session.busy ? "Stop the answer" : "Send");
  updateSend();
  markSources();
  follow();
}

function drawAll() {
  views = new Map();
  $("turns").replaceChildren();
  for (const turn of session.turns) view(turn).draw();
  following = true;
  after();
}

function show() {
  session?.close();
  session = sessions.get(threads.current);
  if (!session) {
    const made = new Session(me, threads.current);
    sessions.set(threads.current, made);
    made.addEventListener("loaded", () => {
      if (made.turns.length) threads.name(made.thread, made.turns[0].question);
      if (made === session) drawAll();
    });
    made.addEventListener("turn", ({ detail: turn }) => {
      if (made === session) drawSoon(turn);
      if (turn.state === "done" && turn.fresh) announce(turn);
    });
    made.addEventListener("connection", () => made === session && drawConnection());
    session = made;
  }
  $("crash-note").textContent = "";
  drawAll();
  drawThreads();
  tree.follow(session.key);
  session.open();
  closeWings();
  if (matchMedia("(min-width: 761px)").matches) $("question").focus({ preventScroll: true });
}

function announce(turn) {
  const count = turn.data?.sources?.length ?? 0;
  $("announcer").textContent = `${turn.text.replace(/[`*_]/g, "")} ${count ? `${count} sources.` : ""}`;
}

// --- asking ----------------------------------------------------------------------

const question = $("question");

function ask(text) {
  const asked = text.trim();
  if (!asked || session.busy) return;
  threads.name(session.thread, asked);
  following = true;
  session.ask(asked);
}

function updateSend() {
  $("send").disabled = !session.busy && question.value.trim() === "";
}

function fit() {
  updateSend();
  if (CSS.supports("field-sizing", "content")) return;
  question.style.height = "auto";
  question.style.height = `${question.scrollHeight + 2}px`;
}

question.addEventListener("input", fit);
question.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    if (!session.busy) $("composer").requestSubmit();
  }
});
$("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  if (session.busy) {
    session.cancel();
    return;
  }
  ask(question.value);
  question.value = "";
  fit();
  question.focus();
});

addEventListener("keydown", (event) => {
  if (event.key === "Escape") {
    if (document.querySelector(".wing.shown")) closeWings();
    else if (session.busy) session.cancel();
  } else if (event.altKey && event.code === "KeyN") {
    event.preventDefault();
    threads.create();
  } else if (event.altKey && (event.key === "ArrowUp" || event.key === "ArrowDown")) {
    event.preventDefault();
    const at = threads.list.findIndex(({ id }) => id === threads.current);
    const next = threads.list[at + (event.key === "ArrowUp" ? -1 : 1)];
    if (next) threads.go(next.id);
  } else if (event.key === "/" && !/^(TEXTAREA|INPUT)$/.test(document.activeElement.tagName)) {
    event.preventDefault();
    question.focus();
  }
});

// --- the connection ----------------------------------------------------------------

let countdown;
function drawConnection() {
  clearInterval(countdown);
  const label = $("connection-text");
  $("connection").dataset.state = session.state;
  if (session.state === "waiting") {
    const tick = () => {
      const seconds = Math.max(0, Math.ceil((session.retryAt - Date.now()) / 1000));
      label.textContent = seconds > 0 ? `reconnecting in ${seconds} s` : "reconnecting";
    };
    tick();
    countdown = setInterval(tick, 250);
  } else {
    label.textContent = { open: "connected", connecting: "connecting", closed: "closed" }[session.state];
  }
}
addEventListener("online", () => session.hurry());
document.addEventListener("visibilitychange", () => document.hidden || session.hurry());
$("connection").addEventListener("click", () => session.hurry());

// --- the wings ---------------------------------------------------------------------

function drawThreads() {
  $("title").textContent = threads.title();
  document.title = threads.list.find(({ id }) => id === threads.current)?.title
    ? `${threads.title()} · The Librarian` : "The Librarian";
  $("threads").replaceChildren(...threads.list.map((thread) => {
    const item = element("li", "thread");
    item.setAttribute("aria-current", String(thread.id === threads.current));
    const open = element("button", "thread-open", threads.title(thread.id));
    open.type = "button";
    open.title = threads.title(thread.id);
    open.addEventListener("click", () => threads.go(thread.id));
    const drop = element("button", "thread-drop");
    drop.type = "button";
    drop.setAttribute("aria-label", `Take “${threads.title(thread.id)}” off the list`);
    drop.append(icon("M4 4l8 8M12 4l-8 8"));
    drop.addEventListener("click", () => threads.drop(thread.id));
    item.append(open, drop);
    return item;
  }));
}

function icon(path) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("aria-hidden", "true");
  const line = document.createElementNS("http://www.w3.org/2000/svg", "path");
  line.setAttribute("d", path);
  svg.append(line);
  return svg;
}

threads.addEventListener("changed", drawThreads);
threads.addEventListener("current", show);
$("new-thread").addEventListener("click", () => threads.create());

function openWing(panel, button) {
  closeWings();
  panel.classList.add("shown");
  button.setAttribute("aria-expanded", "true");
  $("scrim").hidden = false;
  panel.querySelector("button")?.focus();
}
function closeWings() {
  for (const panel of document.querySelectorAll(".wing.shown")) panel.classList.remove("shown");
  for (const button of [$("show-threads"), $("show-tree")]) button.setAttribute("aria-expanded", "false");
  $("scrim").hidden = true;
}
$("show-threads").addEventListener("click", () => openWing($("threads-panel"), $("show-threads")));
$("show-tree").addEventListener("click", () => openWing($("tree-panel"), $("show-tree")));
$("scrim").addEventListener("click", closeWings);

// --- light and dark ------------------------------------------------------------------

const theme = localStorage.getItem("librarian.theme");
if (theme) document.documentElement.dataset.theme = theme;
$("theme").addEventListener("click", () => {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const now = document.documentElement.dataset.theme ?? (dark ? "dark" : "light");
  const next = now === "dark" ? "light" : "dark";
  document.documentElement.dataset.theme = next;
  localStorage.setItem("librarian.theme", next);
});

// --- the crash ---------------------------------------------------------------------

$("crash").addEventListener("click", async () => {
  $("crash").disabled = true;
  $("crash-note").textContent = "The agent falls …";
  const address = `/librarian/crash/${encodeURIComponent(me)}/${encodeURIComponent(session.thread)}`;
  try {
    const answer = await fetch(address, { method: "POST" });
    const { crashed, message } = await answer.json();
    // What became of it is told by the tree, when it has happened.
    if (!crashed) $("crash-note").textContent = message;
  } catch {
    $("crash-note").textContent = "The server did not answer; it may be away itself.";
  } finally {
    $("crash").disabled = false;
  }
});
tree.onRestart(({ mine, restarts }) => {
  if (!mine) return;
  $("crash-note").textContent =
    `The agent fell; understudy number ${restarts} took its place, knowing every line.`;
});

// --- curtain up ----------------------------------------------------------------------

async function introduce() {
  const answer = await fetch("/librarian/about");
  const { corpus, documents, passages, model, suggestions } = await answer.json();
  const number = new Intl.NumberFormat("en");
  const about = $("about");
  about.replaceChildren(
    element("strong", "", corpus), element("br"),
    `${number.format(documents)} documents, ${number.format(passages)} passages`, element("br"),
    model ? `answers worded by ${model}` : "answers in the documents’ own words",
  );
  $("opening-text").textContent =
    `I answer from ${corpus}, in ${number.format(documents)} documents, and show where I found it.`;
  offer(suggestions ?? SUGGESTIONS);
}

function offer(questions) {
  $("suggestions").replaceChildren(...questions.map((text) => {
    const item = element("li");
    const button = element("button", "suggestion", text);
    button.type = "button";
    button.addEventListener("click", () => ask(text));
    item.append(button);
    return item;
  }));
}

offer(SUGGESTIONS);
introduce().catch(() => {}); // an introduction, not a condition: the conversation says when the server is away
tree.start();
show();
