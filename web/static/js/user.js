// Who the person is, as they want to be known: a name, a few sentences; several of them, kept by the server.

import { byId, el, iconButton, setText } from "./dom.js";
import { dropImported, imported, keepYou } from "./http.js";
import { remember, remembered } from "./storage.js";

export function setUpUser({ store, chat, panel, notify }) {
  const name = byId("user-name");
  const sentences = byId("user-sentences");
  const wrong = byId("user-wrong");
  let base = null; // what the form shows when nothing was typed
  let kept = []; // the latest first

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

  const wentWrong = (error) => {
    setText(wrong, error.message);
    wrong.hidden = false;
  };

  async function use(user) {
    try {
      await chat.setScene({ user });
      remember("user", user); // new chats begin with it
      if (!equal(user, NOBODY) && !kept.some((one) => equal(one, user))) kept = [await keepYou(user), ...kept];
      fill(user);
      showKept();
      notify(equal(user, NOBODY) ? "You are nobody in particular." : "The bot knows you so from the next reply on.", "done");
    } catch (error) {
      wentWrong(error);
    }
  }

  async function drop(one) {
    try {
      await dropImported("you", one.id);
      await refresh();
      name.focus();
    } catch (error) {
      wentWrong(error);
    }
  }

  /** Those that the server keeps, and once those that this browser kept before servers did. */
  async function refresh() {
    if (panel.current() !== "you") return;
    try {
      for (const user of remembered("users", []).filter(isUser).reverse()) await keepYou(user);
      remember("users", []);
      kept = await imported("you");
      showKept();
    } catch (error) {
      wentWrong(error);
    }
  }

  function showKept() {
    const items = kept.map((user) => {
      const open = el(
        "button",
        { type: "button", class: "open", on: { click: () => use({ name: user.name, sentences: user.sentences }) } },
        el("span", { class: "name", dir: "auto", text: user.name || user.sentences[0] }),
        el("span", { class: "about", dir: "auto", text: user.sentences.join(" ") }),
      );
      return el("li", {}, open, iconButton("trash", `Drop ${user.name || "this one"}`, () => drop(user)));
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

  store.subscribe(() => {
    const user = chat.scene.user ?? NOBODY;
    if (base !== null && equal(user, base)) return;
    if (base === null || equal(typed(), base)) fill(user);
    else changed();
  });
  return { refresh };
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
