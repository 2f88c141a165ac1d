// Who the person is, as they want to be known: a name, a few sentences; several of them, kept in this browser.

import { byId, el, iconButton, setText } from "./dom.js";
import { remember, remembered } from "./storage.js";

const KEPT = 20;

export function setUpUser({ store, chat, notify }) {
  const name = byId("user-name");
  const sentences = byId("user-sentences");
  const wrong = byId("user-wrong");
  let base = null; // what the form shows when nothing was typed

  const typed = () => ({ name: clean(name.value), sentences: sentences.value.split("\n").map(clean).filter(Boolean) });

  function fill(user) {
    base = user;
    name.value = user.name;
    sentences.value = user.sentences.join("\n");
    changed();
  }

  function changed() {
    const same = equal(typed(), chat.scene.user ?? NOBODY);
    byId("user-save").disabled = same;
    wrong.hidden = true;
  }

  async function use(user) {
    try {
      await chat.setScene({ user });
      remember("user", user); // new chats begin with it
      if (!equal(user, NOBODY)) {
        const others = remembered("users", []).filter((one) => isUser(one) && !equal(one, user));
        remember("users", [user, ...others].slice(0, KEPT));
      }
      fill(user);
      showKept();
      notify(equal(user, NOBODY) ? "You are nobody in particular." : "The bot knows you so from the next reply on.", "done");
    } catch (error) {
      setText(wrong, error.message);
      wrong.hidden = false;
    }
  }

  function showKept() {
    const kept = remembered("users", []).filter(isUser);
    const items = kept.map((user, i) => {
      const open = el(
        "button",
        { type: "button", class: "open", on: { click: () => use(user) } },
        el("span", { class: "name", dir: "auto", text: user.name || user.sentences[0] }),
        el("span", { class: "about", dir: "auto", text: user.sentences.join(" ") }),
      );
      const drop = iconButton("trash", `Drop ${user.name || "this one"}`, () => {
        remember("users", kept.filter((_, j) => j !== i));
        showKept();
        name.focus();
      });
      return el("li", {}, open, drop);
    });
    byId("users").replaceChildren(...items);
  }

  name.addEventListener("input", changed);
  sentences.addEventListener("input", changed);
  byId("user-form").addEventListener("submit", (event) => {
    event.preventDefault();
    use(typed());
  });
  byId("user-nobody").addEventListener("click", () => use(NOBODY));
  showKept();

  store.subscribe(() => {
    const user = chat.scene.user ?? NOBODY;
    if (base !== null && equal(user, base)) return;
    if (base === null || equal(typed(), base)) fill(user);
    else changed();
  });
}

/** Who new chats begin with, from this browser. */
export function usualUser() {
  const user = remembered("user", null);
  return isUser(user) && !equal(user, NOBODY) ? user : null;
}

const NOBODY = Object.freeze({ name: "", sentences: [] });
const clean = (text) => text.replace(/\s+/gu, " ").trim();
const equal = (one, other) => one.name === other.name && one.sentences.join("\n") === other.sentences.join("\n");
const isUser = (one) => typeof one?.name === "string" && Array.isArray(one.sentences);
