// The log: one element a message, kept as long as the message is shown, so that focus and selection stay.

import { byId, el, setChildren } from "./dom.js";
import { speakerOf } from "./group.js";
import { setUpMentions } from "./marks.js";
import { mentionsOf } from "./mentions.js";
import { focusAway, Row } from "./row.js";
import { writing } from "./state.js";

const NONE = Object.freeze([]);
const NEAR = 80; // pixels from the end that count as "at the end"

export function setUpMessages({ store, chat, inspect, reader }) {
  const log = byId("log");
  const list = byId("messages");
  const toEnd = byId("to-end");
  const rows = new Map(); // message → Row
  const seen = new IntersectionObserver(
    (entries) => {
      for (const { isIntersecting, target } of entries) {
        if (!isIntersecting) continue;
        seen.unobserve(target);
        rows.get(target.dataset.id)?.near();
      }
    },
    { root: log, rootMargin: "400px" },
  );
  let following = true;

  log.addEventListener("scroll", () => {
    following = log.scrollHeight - log.scrollTop - log.clientHeight < NEAR;
    toEnd.hidden = following;
  });
  new ResizeObserver(() => following && end()).observe(log);
  toEnd.addEventListener("click", () => {
    end();
    byId("message").focus();
  });
  byId("earlier").addEventListener("click", async () => {
    const read = list.firstElementChild;
    const before = read?.getBoundingClientRect().top;
    await chat.earlier();
    // Once they are there, what was read stays where it was.
    requestAnimationFrame(() => {
      if (read?.isConnected) log.scrollTop += read.getBoundingClientRect().top - before;
    });
  });

  setUpMentions(log);
  // What one can do with a message is shown when it is pointed at; a finger points by a tap.
  list.addEventListener("click", (event) => {
    const touched = event.target.closest(".message");
    for (const one of list.querySelectorAll(".touched")) if (one !== touched) one.classList.remove("touched");
    touched?.classList.add("touched");
  });

  function end() {
    log.scrollTop = log.scrollHeight;
    toEnd.hidden = true;
  }

  store.subscribe((state, before) => {
    const { view, outbox, cut, marks } = state;
    if (["view", "outbox", "cut", "marks"].every((name) => state[name] === before[name])) return;
    if (view.conversation !== before.view?.conversation) {
      rows.clear();
      following = true;
    }
    if (outbox.length > (before.outbox?.length ?? 0)) following = true;
    const last = view.messages.at(-1);
    const busy = writing(view) !== null;
    const mentions = mentionsOf(view);
    const shown = view.messages.map((message) => {
      if (!rows.has(message.id)) {
        const made = new Row(message.id, chat, inspect, reader);
        rows.set(message.id, made);
        seen.observe(made.element);
      }
      const row = rows.get(message.id);
      row.show(message, {
        name: speakerOf(view.scene, message)?.name ?? view.persona.name,
        colour: speakerOf(view.scene, message)?.colour ?? null,
        last: message === last,
        cut: cut.has(message.id),
        marks: marks.emotion ? view.marks[message.id] : undefined,
        mentions: marks.coref ? mentions(message.id) : NONE,
        busy,
      });
      return row.element;
    });
    const ids = new Set(view.messages.map((message) => message.id));
    for (const id of rows.keys()) if (!ids.has(id)) rows.delete(id);
    const focused = list.contains(document.activeElement);
    setChildren(list, [...shown, ...outbox.map(ghost)]);
    if (focused && !list.contains(document.activeElement)) focusAway();
    byId("earlier").hidden = !view.earlier;
    log.setAttribute("aria-busy", String(busy));
    if (following) end();
  });

  return {
    edit: (id) => rows.get(id)?.edit(),
  };
}

const ghosts = new WeakMap();

function ghost(sent) {
  if (!ghosts.has(sent)) {
    const text = el("p", { class: "text", dir: "auto", text: sent.text });
    const state = el("p", { class: "tags", text: "sending…" });
    ghosts.set(sent, el("article", { class: "message user ghosted" }, el("div", { class: "body" }, text, el("div", { class: "under" }, state))));
  }
  return ghosts.get(sent);
}
