// The persona panel: show, edit, shuffle, save; personas kept in this browser; character cards in and out.

import { byId, el, iconButton, setText } from "./dom.js";
import { fileName, readCard, samplePersonas, save, writeCard } from "./http.js";
import { remember, remembered } from "./storage.js";

const KEPT = 50;

export function setUpPersona({ store, chat, notify }) {
  const name = byId("persona-name");
  const sentences = byId("persona-sentences");
  const wrong = byId("persona-wrong");
  let samples = null;
  let card = null; // { card, image } that the persona in the form came from
  let base = null; // the persona that the form shows when nothing was typed

  const typed = () => ({ name: clean(name.value), sentences: sentences.value.split("\n").map(clean).filter(Boolean) });

  function fill(persona) {
    name.value = persona.name;
    sentences.value = persona.sentences.join("\n");
    changed();
  }

  function changed() {
    const now = typed();
    const limits = store.get().server?.limits ?? {};
    const count = now.sentences.length;
    setText(byId("persona-count"), count === 1 ? "1 sentence" : `${count} sentences`);
    const problem = problemOf(now, limits);
    setText(wrong, problem ?? "");
    wrong.hidden = !problem;
    const same = equal(now, chat.persona);
    byId("persona-save").disabled = same || Boolean(problem);
    byId("persona-revert").disabled = same;
  }

  function revert() {
    card = null;
    showAbout(null);
    fill(chat.persona);
  }

  async function submit(persona = typed()) {
    try {
      await chat.setPersona(persona);
      base = persona;
      fill(persona);
      notify("The persona is saved.", "done");
    } catch (error) {
      setText(wrong, error.message);
      wrong.hidden = false;
    }
  }

  async function drawn(but) {
    samples ??= await samplePersonas();
    const others = samples.filter((one) => !equal(one, but));
    return others[Math.floor(Math.random() * others.length)] ?? but;
  }

  /** Another persona of the samples into the form (not yet saved). */
  async function shuffle() {
    try {
      const persona = await drawn(typed());
      card = null;
      showAbout(null);
      fill(persona);
    } catch (error) {
      notify(error.message, "error");
    }
  }

  /** Another persona for a chat that has not begun. Without one the server draws. */
  async function draw() {
    try {
      await chat.setPersona(await drawn(chat.persona));
    } catch (error) {
      notify(error.message, "error");
    }
  }

  name.addEventListener("input", changed);
  sentences.addEventListener("input", changed);
  byId("persona-form").addEventListener("submit", (event) => {
    event.preventDefault();
    submit();
  });
  byId("persona-revert").addEventListener("click", revert);
  byId("persona-shuffle").addEventListener("click", shuffle);

  // -- cards -----------------------------------------------------------------------------------------

  const file = byId("card-file");
  byId("card-import").addEventListener("click", () => file.click());
  file.addEventListener("change", async () => {
    const [chosen] = file.files;
    file.value = "";
    if (chosen) take(chosen);
  });

  /** A card's file: its persona into the form. */
  async function take(chosen) {
    try {
      const read = await readCard(chosen);
      const png = chosen.type === "image/png" || chosen.name.toLowerCase().endsWith(".png");
      card = { card: read.card, image: png ? chosen : null };
      fill(read.persona);
      showAbout(read);
      sentences.focus();
    } catch (error) {
      notify(error.message, "error");
    }
  }
  for (const format of ["json", "png"])
    byId(`card-${format}`).addEventListener("click", async () => {
      const persona = typed();
      try {
        save(await writeCard({ persona, format, ...card }), `${fileName(persona.name, "persona")}.${format}`);
      } catch (error) {
        notify(error.message, "error");
      }
    });

  // -- kept in this browser --------------------------------------------------------------------------

  function showKept() {
    const kept = remembered("personas", []).filter(isPersona);
    const nodes = kept.map((persona, i) => {
      const use = el(
        "button",
        { type: "button", class: "open", on: { click: () => fill(persona) } },
        el("span", { class: "name", dir: "auto", text: persona.name || persona.sentences[0] || "Nobody" }),
        el("span", { class: "about", dir: "auto", text: persona.sentences.join(" ") }),
      );
      const drop = iconButton("trash", "Forget this persona", () => {
        remember("personas", kept.filter((_, j) => j !== i));
        showKept();
        byId("keep").focus();
      });
      return el("li", {}, use, drop);
    });
    byId("kept").replaceChildren(...nodes);
  }
  byId("keep").addEventListener("click", () => {
    const persona = typed();
    const others = remembered("personas", []).filter((one) => isPersona(one) && !equal(one, persona));
    if (!remember("personas", [persona, ...others].slice(0, KEPT)))
      notify("This browser does not let the page keep anything.", "error");
    showKept();
  });
  showKept();

  store.subscribe(() => {
    const persona = chat.persona;
    if (base !== null && equal(persona, base)) return;
    const untouched = base === null || equal(typed(), base);
    base = persona;
    if (untouched) fill(persona);
    else changed();
  });

  return { draw, take };
}

function showAbout(read) {
  const box = byId("card-about");
  box.hidden = read === null;
  if (!read) return;
  const parts = [el("p", { class: "strong", text: "From the card. Save to use it." })];
  const add = (title, text) => text && parts.push(el("h3", { text: title }), el("p", { dir: "auto", text }));
  add("Creator’s notes, for you only", read.creator_notes);
  add("Its greeting, not sent", read.greeting);
  add("Left out", read.left_out.join(" "));
  add("Odd in the card", read.notes.join("; "));
  box.replaceChildren(...parts);
}

function problemOf({ name, sentences }, limits) {
  const long = sentences.findIndex((one) => [...one].length > (limits.sentence_chars ?? Infinity));
  if (long >= 0) return `Line ${long + 1} is too long: at most ${limits.sentence_chars} characters.`;
  if (sentences.length > (limits.persona_sentences ?? Infinity))
    return `Too many sentences: at most ${limits.persona_sentences}.`;
  if ([...name].length > (limits.name_chars ?? Infinity))
    return `The name is too long: at most ${limits.name_chars} characters.`;
  return null;
}

const clean = (text) => text.replace(/\s+/gu, " ").trim();
const equal = (one, other) =>
  one.name === other.name && one.sentences.join("\n") === other.sentences.join("\n");
const isPersona = (one) => typeof one?.name === "string" && Array.isArray(one.sentences);
