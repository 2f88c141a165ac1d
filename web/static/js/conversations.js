// The list of conversations: search, open, rename, delete, import and export.

import { ask, confirm } from "./dialogs.js";
import { byId, el, iconButton, setChildren, setText } from "./dom.js";
import { conversationsIn, exportConversation, fileName, importConversation, save } from "./http.js";
import { onKey } from "./keys.js";
import { titleOf } from "./state.js";

export function setUpConversations({ store, chat, notify, startNew, opened, take }) {
  const list = byId("conversations");
  const search = byId("search");
  const file = byId("import-file");
  const items = new Map();
  let timer = null;

  search.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => chat.list({ search: search.value.trim() }), 150);
  });
  byId("more-conversations").addEventListener("click", () => chat.list({ more: true }));
  byId("import").addEventListener("click", () => file.click());
  file.addEventListener("change", async () => {
    const [chosen] = file.files;
    file.value = "";
    if (chosen) take(chosen);
  });

  /** All conversations of a file, the latest one is shown. */
  async function bring(chosen) {
    let latest = null;
    let done = 0;
    let failure = null;
    const parts = await conversationsIn(chosen);
    for (const part of parts) {
      try {
        const id = await importConversation(part);
        latest ??= id;
        done += 1;
      } catch (error) {
        failure ??= error;
        if (!done && parts.length > 1) break; // the first of many: the others would fail alike
      }
    }
    chat.relist();
    if (latest) await chat.open(latest);
    if (failure && parts.length > 1) notify(`${done} of ${parts.length} conversations were imported. ${failure.message}`, "error");
    else if (failure) notify(failure.message, "error");
    else notify(done > 1 ? `${done} conversations were imported.` : "Imported.", "done");
  }

  onKey(list, (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    const buttons = [...list.querySelectorAll(".open")];
    const next = buttons[buttons.indexOf(document.activeElement) + step];
    if (next) {
      event.preventDefault();
      next.focus();
    }
  });

  async function remove(summary) {
    const sure = await confirm({
      title: "Delete this conversation?",
      text: `“${named(summary)}” and all its versions will be gone for good.`,
      ok: "Delete",
    });
    if (!sure) return;
    if (await chat.do("delete", { conversation: summary.id })) {
      if (chat.view.conversation === summary.id) startNew();
      chat.relist();
    }
  }

  store.subscribe(({ list: found, view, opening }, before) => {
    if (found === before.list && view.conversation === before.view?.conversation && opening === before.opening)
      return;
    const current = opening ?? view.conversation;
    const nodes = found.items.map((summary) => {
      const key = JSON.stringify([summary, summary.id === current]);
      if (items.get(summary.id)?.key !== key) {
        const old = items.get(summary.id)?.node;
        const focused = old?.contains(document.activeElement);
        const node = entry(summary, summary.id === current, { chat, remove, opened });
        old?.replaceWith(node);
        if (focused) node.querySelector(".open").focus();
        items.set(summary.id, { key, node });
      }
      return items.get(summary.id).node;
    });
    setChildren(list, nodes);
    const none = byId("no-conversations");
    none.hidden = !found.loaded || nodes.length > 0;
    setText(none, found.search ? "Nothing found." : "Your conversations will be here.");
    byId("more-conversations").hidden = !found.more;
  });

  /** What the menu of the open conversation does. */
  return {
    bring,
    rename: async () => {
      const { conversation, title } = chat.view;
      if (conversation === null) return;
      const given = await ask("rename", "rename-text", title);
      if (given !== null) await chat.do("set_title", { title: given.replace(/\s+/gu, " ").trim() });
    },
    remove: () => {
      const { conversation } = chat.view;
      if (conversation !== null) return remove({ id: conversation, title: titleOf(chat.view) });
    },
    exportAs: async (format) => {
      const { conversation } = chat.view;
      if (conversation === null) return;
      const name = fileName(titleOf(chat.view), "conversation");
      try {
        const blob = await exportConversation(conversation, format);
        save(blob, `${name}.${format === "json" ? "json" : "txt"}`);
      } catch (error) {
        notify(error.message, "error");
      }
    },
  };
}

/** Where the user has said nothing yet, a conversation is called by who greets. */
const named = ({ title, persona, preview }) => title || persona || preview || "New chat";

function entry(summary, current, { chat, remove, opened }) {
  const open = () => {
    chat.open(summary.id);
    opened();
  };
  const about = [summary.persona, summary.preview].filter(Boolean).join(" · ");
  const button = el(
    "button",
    { type: "button", class: "open", "aria-current": current ? "true" : null, on: { click: open } },
    el("span", { class: "name", dir: "auto", text: named(summary) }),
    el("span", { class: "when", text: when(summary.updated) }),
    el("span", { class: "about", dir: "auto", text: about }),
  );
  const bin = iconButton("trash", `Delete “${named(summary)}”`, () => remove(summary));
  return el("li", {}, button, bin);
}

/** When something was: the time today, the day otherwise. */
export function when(milliseconds, now = new Date()) {
  if (!milliseconds) return "";
  const then = new Date(milliseconds);
  if (then.toDateString() === now.toDateString())
    return then.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  const year = then.getFullYear() === now.getFullYear() ? {} : { year: "numeric" };
  return then.toLocaleDateString([], { day: "numeric", month: "short", ...year });
}
