// Who is in a conversation beside persona and turns: characters from cards and their greetings, the author's note,
// lorebooks. All of it is kept by the server.

import { byId, el, iconButton, setText } from "./dom.js";
import { dropImported, importBook, importCharacter, imported, save, exportCharacter, fileName } from "./http.js";

const OFFERED = 6; // characters that a chat which has not begun offers

export function setUpScene({ store, chat, panel, notify, group, opened }) {
  let characters = [];
  let books = [];

  /** Do something; what goes wrong is told. Undefined then. */
  async function attempt(what) {
    try {
      return await what();
    } catch (error) {
      notify(error.message, "error");
    }
  }

  const refresh = () =>
    attempt(async () => {
      if (panel.current() !== "persona") return;
      [characters, books] = await Promise.all([imported("characters"), imported("books")]);
      showCharacters();
      showBooks();
    });

  // -- characters ----------------------------------------------------------------------------------------

  const cardFile = byId("character-file");
  for (const opener of ["character-import", "welcome-import"]) byId(opener).addEventListener("click", () => cardFile.click());
  cardFile.addEventListener("change", () => {
    const [chosen] = cardFile.files;
    cardFile.value = "";
    if (chosen) take(chosen);
  });

  /** A card's file becomes a character that is kept, and greets in a new conversation. */
  const take = (file) =>
    attempt(async () => {
      const read = await importCharacter(file);
      await chat.begin({ character: read.id, greeting: 0 });
      showAbout(read);
      if (panel.covers()) greeted(read);
      else panel.show("persona");
      await refresh();
    });

  const talkWith = (one) =>
    attempt(async () => {
      await chat.begin({ character: one.id, greeting: 0 });
      if (panel.covers()) greeted(one);
    });

  /** On a phone the panel stands before what the character says. */
  function greeted(one) {
    panel.close();
    opened();
    const unused = one.unused?.length ? " What of the card is not shown to the model is told under Persona." : "";
    notify(`You talk with ${one.name || "the character"} now.${unused}`, "done");
  }

  /** One more in the conversation that is open: a group; where none is, the one that is talked with. */
  const join = async (one) => (chat.view.conversation === null ? talkWith(one) : group.add(one.id));

  function showAbout(read) {
    const box = byId("card-about");
    const parts = [el("p", { class: "strong", text: `You talk with ${read.name || "the character"} now.` })];
    const add = (title, text) => text && parts.push(el("h3", { text: title }), el("p", { dir: "auto", text }));
    add("Creator’s notes, for you only", read.creator_notes);
    add("Not shown to the model", (read.unused ?? []).join(", "));
    add("Odd in the card", (read.notes ?? []).join("; "));
    box.replaceChildren(...parts);
    box.hidden = false;
  }

  function showCharacters() {
    const items = characters.map((one) => {
      const about = [several(one.greetings.length, "greeting"), one.entries && several(one.entries, "lore entry")];
      const talk = el(
        "button",
        { type: "button", class: "open", on: { click: () => talkWith(one) } },
        el("span", { class: "name", dir: "auto", text: one.name || "Nobody" }),
        el("span", { class: "about", text: about.filter(Boolean).join(", ") }),
      );
      const out = iconButton("download", `Export ${one.name}`, () =>
        attempt(async () => save(await exportCharacter(one.id), `${fileName(one.name, "character")}.png`)),
      );
      const letIn = iconButton("plus", `Let ${one.name} into this conversation`, () => join(one));
      return el("li", {}, talk, letIn, out, bin("characters", one));
    });
    byId("characters").replaceChildren(...items);
  }

  /** Where nothing was said yet: the characters that were imported, the latest first. */
  async function offer() {
    const there = await imported("characters").catch(() => []); // what is wrong is told by what is tried next
    const some = there.slice(0, OFFERED).map((one) =>
      el("button", { type: "button", class: "chip", dir: "auto", text: one.name || "Nobody", on: { click: () => talkWith(one) } }),
    );
    const box = byId("welcome-characters");
    box.querySelector(".row").replaceChildren(...some);
    box.hidden = !some.length;
  }

  function bin(kind, one) {
    return iconButton("trash", `Delete ${one.name || "it"}`, () =>
      attempt(async () => {
        await dropImported(kind, one.id);
        await refresh();
      }),
    );
  }

  const greeting = byId("greeting");
  greeting.addEventListener("change", () => attempt(() => chat.connection.request("greet", { greeting: Number(greeting.value) })));

  function showGreetings({ character, messages }) {
    // As they are said: with the names in the place of macros.
    const names = { char: character?.name ?? "", user: chat.scene.user?.name || "you" };
    const flat = (text) => text.replace(/\s+/gu, " ").trim();
    const told = (text) => flat(text.replace(/\{\{(char|user)\}\}/gi, (_, who) => names[who.toLowerCase()]));
    const found = (character?.greetings ?? []).map(told);
    // Only at the begin: a greeting is the first thing that is said.
    const begin = messages.every((one) => one.role === "agent") && messages.length < 2;
    byId("greeting-box").hidden = found.length < 2 || !begin;
    if (byId("greeting-box").hidden) return;
    const short = (text) => (text.length > 70 ? `${text.slice(0, 69)}…` : text);
    greeting.replaceChildren(...found.map((text, i) => el("option", { value: String(i), text: `${i + 1}. ${short(text)}` })));
    const at = found.findIndex((text) => messages.length && flat(messages[0].text) === text);
    greeting.value = String(Math.max(at, 0));
  }

  // -- the author's note -----------------------------------------------------------------------------------

  const text = byId("note-text");
  const depth = byId("note-depth");

  const saveNote = () => attempt(() => chat.setScene({ note: { text: text.value.trim(), depth: Number(depth.value) || 0 } }));
  text.addEventListener("change", saveNote);
  depth.addEventListener("change", saveNote);

  // -- lorebooks -------------------------------------------------------------------------------------------

  const file = byId("book-file");
  byId("book-import").addEventListener("click", () => file.click());
  file.addEventListener("change", () => {
    const [chosen] = file.files;
    file.value = "";
    if (chosen) takeBook(chosen);
  });

  const takeBook = (chosen) =>
    attempt(async () => {
      const book = await importBook(chosen);
      const used = inUse().map((one) => one.id);
      books = [book, ...books];
      await chat.setScene({ books: [book.id, ...used] });
      panel.show("persona");
      await refresh();
    });

  /** The imported books that are in this conversation, which knows them by name and size. */
  const inUse = () => {
    const there = chat.scene.books ?? [];
    return books.filter(({ id, name, entries }) => there.some((one) => one === id || (one.name === name && one.entries === entries)));
  };

  function showBooks() {
    const used = new Set(inUse().map((one) => one.id));
    const items = books.map((one) => {
      const box = el("input", { type: "checkbox", checked: used.has(one.id), on: { change: change } });
      const label = el("label", { class: "check" }, box, el("span", { dir: "auto", text: `${one.name || "Lorebook"}, ${several(one.entries, "entry")}` }));
      function change() {
        if (box.checked) used.add(one.id);
        else used.delete(one.id);
        attempt(() => chat.setScene({ books: [...used] }));
      }
      return el("li", {}, label, bin("books", one));
    });
    byId("books").replaceChildren(...items);
  }

  let shown = null;
  store.subscribe(({ view, draft, link }, before) => {
    const fresh = link.is === "open" && view.conversation === null;
    if (fresh && (before.link?.is !== "open" || before.view?.conversation !== null)) offer();
    if (view === before.view && draft === before.draft) return;
    const scene = chat.scene;
    showGreetings({ character: scene.character, messages: view.messages });
    const now = scene.character ? [`The card of ${scene.character.name || "a character"}`, scene.character.entries && several(scene.character.entries, "lore entry")] : [];
    setText(byId("character-now"), now.filter(Boolean).join(", "));
    byId("character-now").hidden = !now.length;
    if (scene === shown) return;
    shown = scene;
    if (document.activeElement !== text) text.value = scene.note?.text ?? "";
    if (document.activeElement !== depth) depth.value = String(scene.note?.depth ?? 4);
    showBooks();
  });

  return { refresh, take, takeBook };
}

const several = (count, what) => `${count} ${count === 1 ? what : what.replace(/y$/, "ie")}${count === 1 ? "" : "s"}`;
