// One message of the log: its text with the words that mean somebody, its marks, and what one can do with it.

import { byId, el, icon, iconButton, setChildren, setText } from "./dom.js";
import { emphasised } from "./emphasis.js";
import { onKey } from "./keys.js";
import { markElements } from "./marks.js";
import { pieces } from "./mentions.js";

/** What had the focus is gone: to the field, or where that would open a keyboard on the screen, to the log. */
export function focusAway() {
  byId(matchMedia("(pointer: coarse)").matches ? "log" : "message").focus();
}

export class Row {
  #message = null;
  #context = {};
  #written = ""; // what the text's nodes were made of
  #key = null;
  #near = false;
  #editing = false;

  constructor(id, chat, inspect, reader) {
    Object.assign(this, { id, chat, inspect, reader });
    this.face = el("span", { class: "avatar face", "aria-hidden": "true" });
    this.who = el("p", { class: "who" });
    this.text = el("p", { class: "text", dir: "auto" });
    this.tags = el("p", { class: "tags" });
    this.marks = el("div", { class: "marks" });
    this.actions = el("div", { class: "actions", role: "group" });
    this.under = el("div", { class: "under" }, this.tags, this.marks, this.actions);
    this.body = el("div", { class: "body" }, this.who, this.text, this.under);
    this.element = el("article", { class: "message", data: { id } }, this.face, this.body);
  }

  /** `context`: the persona's name, whether it is the last message, was cut, a reply is being written (busy), its
   * marks by kind and its mentions. */
  show(message, context) {
    const was = this.#context;
    if (message === this.#message && Object.keys(context).every((name) => context[name] === was[name])) return;
    this.#message = message;
    this.#context = context;
    const user = message.role === "user";
    const { classList } = this.element;
    classList.toggle("user", user);
    classList.toggle("agent", !user);
    classList.toggle("last", context.last);
    classList.toggle("writing", message.status === "streaming");
    if (!user && context.name !== was.name)
      this.face.replaceChildren(context.name ? [...context.name][0].toUpperCase() : icon("logo"));
    if ((context.colour ?? null) === null) delete this.element.dataset.member;
    else this.element.dataset.member = context.colour;
    setText(this.who, user ? "You" : context.name || "Bot");
    this.who.classList.toggle("hidden", user || !context.name);
    if (!this.#editing) this.#showText();
    const tag = tagOf(message, context);
    setText(this.tags, tag);
    this.tags.hidden = !tag;
    classList.toggle("tagged", Boolean(tag));
    classList.toggle("versions", message.siblings.count > 1);
    if (context.marks !== was.marks || context.mentions !== was.mentions)
      this.#showMarks();
    this.#showActions();
  }

  /** It is, or may soon be, seen: before that nobody needs its buttons, and a thousand messages have many. */
  near() {
    this.#near = true;
    this.#showActions();
  }

  #showMarks() {
    const elements = markElements(this.#context.marks, this.#message, this.#context.mentions);
    setChildren(this.marks, elements);
    this.element.classList.toggle("marked", elements.length > 0);
  }

  #showText() {
    const { text, status } = this.#message;
    const mentions = status === "streaming" ? [] : this.#context.mentions;
    const key = mentions.length ? JSON.stringify([text, mentions]) : text;
    if (key === this.#written) return;
    this.#written = key;
    this.text.replaceChildren(...emphasised(text, pieces(text, mentions), piece));
  }

  #showActions() {
    const message = this.#message;
    const { last, cut, busy } = this.#context;
    const { siblings, status } = message;
    if (!this.#near && !last && siblings.count === 1) return;
    const held = this.actions.contains(document.activeElement) ? document.activeElement : null;
    const key = JSON.stringify([siblings, status, last, cut, unanswered(message, this.#context)]);
    if (key !== this.#key) {
      this.#key = key;
      this.actions.setAttribute("aria-label", message.role === "agent" ? "This reply" : "Your message");
      this.actions.replaceChildren(...this.#buttons(message, this.#context));
    }
    for (const button of this.actions.querySelectorAll("[data-waits]")) button.disabled = busy;
    if (!held || (held.isConnected && !held.disabled)) return;
    const same = this.actions.querySelector(`[data-act="${held.dataset.act}"]:not(:disabled)`);
    if (same) same.focus();
    else focusAway();
  }

  /** What one can do with it; what would disturb a reply that is being written waits for its end. */
  #buttons(message, context) {
    const { siblings, role, status, id } = message;
    const parts = siblings.count > 1 ? [this.#branch(siblings)] : [];
    if (status === "streaming") return parts;
    const ask = (type) => () => this.chat.do(type, { message: id });
    if (unanswered(message, context)) parts.push(act("answer", "refresh", "Ask for a reply", ask("regenerate")));
    if (role === "agent") {
      parts.push(act("regenerate", "refresh", "Regenerate", ask("regenerate"), WAITS));
      if (context.last && (status === "interrupted" || context.cut))
        parts.push(act("continue", "play", "Continue", ask("continue"), WAITS));
    }
    parts.push(act("edit", "pencil", "Edit", () => this.edit(), WAITS));
    parts.push(act("copy", "copy", "Copy", () => this.#copy()));
    if (this.reader && role === "agent") parts.push(act("speak", "speaker", "Read aloud", () => this.#speak(), { "aria-pressed": "false" }));
    if (role === "agent") parts.push(act("inspect", "layers", "Inspect", () => this.inspect(id)));
    return parts;
  }

  #branch({ index, count, previous, next }) {
    const to = (message) => (message ? WAITS : { disabled: true });
    const go = (message) => () => this.chat.do("switch", { message });
    return el(
      "span",
      { class: "branch", role: "group", "aria-label": `Version ${index + 1} of ${count}` },
      act("previous", "left", "Previous version", go(previous), to(previous)),
      el("span", { text: `${index + 1}/${count}`, "aria-hidden": "true" }),
      act("next", "right", "Next version", go(next), to(next)),
    );
  }

  /** Into the clipboard, which pages have only over HTTPS or from this machine; the tick says that it is there. */
  async #copy() {
    const done = await copied(this.#message.text, this.chat.notify);
    const button = this.actions.querySelector('[data-act="copy"]');
    if (!done || !button) return;
    button.replaceChildren(icon("check"));
    setTimeout(() => button.replaceChildren(icon("copy")), 1500);
  }

  /** By the browser's voice; again: stop. */
  #speak() {
    const pressed = (on) => this.actions.querySelector('[data-act="speak"]')?.setAttribute("aria-pressed", String(on));
    if (this.reader.toggle(this.#message.text, () => pressed(false))) pressed(true);
  }

  edit() {
    if (this.#editing || !this.#message) return;
    this.#editing = true;
    const field = el("textarea", { class: "edit-field", rows: "2", "aria-label": "Edit the message", dir: "auto" });
    field.value = this.#message.text;
    const done = (focus = true) => {
      this.#editing = false;
      form.remove();
      this.text.hidden = this.under.hidden = false;
      this.#showText();
      this.element.classList.remove("editing");
      if (focus) byId("message").focus();
    };
    const save = async () => {
      const text = this.#message.role === "agent" ? tidy(field.value) : field.value.replace(/\s+/gu, " ").trim();
      if (!text || text === this.#message.text) return done();
      if (await this.chat.do("edit", { message: this.id, text })) done();
    };
    onKey(field, (event) => {
      if (event.key === "Enter" && !event.shiftKey) {
        event.preventDefault();
        save();
      } else if (event.key === "Escape") {
        event.stopPropagation();
        done();
      }
    });
    const form = el(
      "div",
      { class: "edit" },
      field,
      el(
        "div",
        { class: "row end" },
        el("button", { type: "button", class: "soft", text: "Cancel", on: { click: () => done() } }),
        el("button", { type: "button", class: "primary", text: "Save as new version", on: { click: save } }),
      ),
    );
    this.text.hidden = this.under.hidden = true;
    this.element.classList.add("editing");
    this.text.after(form);
    field.focus();
    field.setSelectionRange(field.value.length, field.value.length);
  }
}

/** As the server keeps it: clean lines, at most one blank one between two. */
const tidy = (text) => text.split("\n").map((line) => line.replace(/\s+/gu, " ").trim()).join("\n").replace(/\n{3,}/g, "\n\n").trim();

/** Into the clipboard; false, and told, where this browser does not let the page do that. */
async function copied(text, notify) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    notify("This browser does not let the page copy: mark the text and copy it yourself.", "error");
    return false;
  }
}

/** A message that nothing follows: the server ended, or its reply was stopped, before there was a word. */
const unanswered = ({ role }, { last, busy }) => role === "user" && last && !busy;

function tagOf(message, context) {
  if (message.status === "interrupted") return "stopped";
  if (context.cut) return "cut at its greatest length";
  return unanswered(message, context) ? "no reply" : "";
}

const WAITS = Object.freeze({ "data-waits": true });

function act(name, picture, label, click, props = {}) {
  return iconButton(picture, label, click, { data: { act: name }, ...props });
}

/** A piece of a text; one that means somebody is underlined in the colour of its cluster. */
function piece({ text, mention }) {
  if (!mention) return text;
  const props = { class: `mention colour-${mention.cluster % 6}`, text };
  return el("span", { ...props, data: { cluster: String(mention.cluster), main: mention.main } });
}
