// The field for the next message, its button (send, or stop while a reply is written), suggestions, the banner.

import { byId, el, iconUrl, setText } from "./dom.js";
import { onKey } from "./keys.js";
import { writing } from "./state.js";

const WAIT = "A reply is being written: wait for it, or stop it (Esc).";

export function setUpComposer({ store, chat, editLast }) {
  const form = byId("composer");
  const field = byId("message");
  const submit = byId("submit");
  const chips = byId("chips");

  function fit() {
    field.style.height = "auto";
    field.style.height = `${Math.min(field.scrollHeight, 180)}px`;
  }

  async function send(text) {
    const clean = text.replace(/\s+/gu, " ").trim();
    if (!clean) return;
    if (chat.writing !== null) {
      const lost = store.get().link.is !== "open";
      chat.notify(lost ? "A reply is open until the connection is back; your text stays here." : WAIT);
      return;
    }
    field.value = "";
    fit();
    if (!(await chat.send(clean)) && !field.value) {
      field.value = clean; // refused: it is still theirs
      fit();
    }
  }

  field.addEventListener("input", fit);
  onKey(field, (event) => {
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      send(field.value);
    } else if (event.key === "ArrowUp" && !field.value && editLast()) event.preventDefault();
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (chat.writing === null) send(field.value);
    else chat.do("stop", { message: chat.writing });
    field.focus();
  });
  byId("undo").addEventListener("click", () => chat.do("undo"));
  const suggest = () => chat.suggest({ hint: field.value.replace(/\s+/gu, " ").trim() });
  byId("suggest").addEventListener("click", suggest);

  store.subscribe(({ view, outbox, suggesting }, before) => {
    const busy = writing(view) !== null;
    const label = busy ? "Stop" : "Send";
    if (submit.getAttribute("aria-label") !== label) {
      submit.setAttribute("aria-label", label);
      submit.title = busy ? "Stop (Esc)" : "Send (Enter)";
      submit.classList.toggle("stop", busy);
      submit.querySelector("use").setAttribute("href", iconUrl(busy ? "stop" : "send"));
    }
    byId("undo").disabled = busy || !view.messages.some((one) => one.role === "user");
    byId("suggest").disabled = busy || suggesting;
    byId("suggest").setAttribute("aria-busy", String(suggesting));
    if (view.suggestions === before.view?.suggestions && outbox === before.outbox) return;
    const lines = outbox.length ? [] : view.suggestions;
    const focused = chips.contains(document.activeElement);
    chips.replaceChildren(...lines.map((line) => chip(line, send, field)));
    chips.hidden = !lines.length;
    if (focused) field.focus();
  });

  fit();
  return { focus: () => field.focus(), send, suggest };
}

function chip({ text, score }, send, field) {
  const title = `Next-sentence score ${score.toFixed(2)}; with Shift it goes into the field`;
  const take = (event) => {
    if (event.shiftKey) field.value = text; // to change it first
    else {
      if (text.startsWith(field.value.trim())) field.value = ""; // it goes on with what stood there
      send(text);
    }
    field.focus();
  };
  return el("button", { type: "button", class: "chip", dir: "auto", title, text, on: { click: take } });
}

/** What is wrong with the connection, and when it is tried again. */
export function setUpBanner({ store, chat }) {
  const banner = byId("banner");
  const now = byId("banner-now");
  let timer = null;
  now.addEventListener("click", () => chat.connection.hurry());

  function show() {
    const { link, outbox } = store.get();
    clearTimeout(timer);
    const since = link.is === "connecting" && link.tries === 0;
    banner.hidden = link.is === "open" || since;
    now.hidden = link.is !== "lost";
    if (banner.hidden) return;
    const waiting = outbox.length ? " What you wrote will be sent then." : "";
    // Not the seconds: a screen reader would read every one of them.
    const lines = {
      lost: `The connection was lost. Connecting again…${waiting}`,
      connecting: `Connecting…${waiting}`,
      refused: "The server refused the connection.",
    };
    setText(byId("banner-text"), lines[link.is]);
  }

  store.subscribe(({ link, outbox }, before) => {
    if (link !== before.link || outbox !== before.outbox) show();
  });
  addEventListener("online", () => chat.connection.hurry());
  document.addEventListener("visibilitychange", () => document.hidden || chat.connection.hurry());
}
