// What the bot remembers of the person: shown, written, corrected, forgotten, and the switch for all of it.

import { confirm } from "./dialogs.js";
import { when } from "./conversations.js";
import { byId, el, iconButton, setText } from "./dom.js";
import { onKey } from "./keys.js";
import { Refused } from "./socket.js";

const PAGE = 100;

export function setUpMemory({ store, chat, panel, notify }) {
  const list = byId("facts");
  const wrong = byId("memory-wrong");
  const onSwitch = byId("memory-on");
  const history = byId("memory-history");
  const more = byId("more-facts");
  let facts = [];
  let asked = 0;

  const request = (type, fields = {}) => chat.connection.request(type, fields);

  function tell(error) {
    if (!(error instanceof Refused)) throw error;
    setText(wrong, error.message);
    wrong.hidden = false;
  }

  /** Ask for something, then show what there is now. False where it was refused. */
  async function change(type, fields) {
    try {
      await request(type, fields);
    } catch (error) {
      tell(error);
      return false;
    }
    await refresh();
    return true;
  }

  async function refresh({ further = false } = {}) {
    if (panel.current() !== "you" || !chat.connection.ready) return;
    const number = ++asked;
    const after = further && facts.length ? { after: facts.at(-1).id } : {};
    try {
      const answer = await request("list_facts", { history: history.checked, limit: PAGE, ...after });
      if (number !== asked) return;
      wrong.hidden = true;
      facts = further ? [...facts, ...answer.items] : answer.items;
      onSwitch.checked = answer.enabled;
      byId("memory-there").hidden = false;
      more.hidden = !answer.more;
      show(answer.enabled);
    } catch (error) {
      byId("memory-there").hidden = true; // this server keeps none
      tell(error);
    }
  }

  function show(enabled) {
    const held = list.contains(document.activeElement);
    list.replaceChildren(...facts.map(entry));
    if (held) byId("new-fact").focus();
    byId("forget-all").hidden = !facts.length;
    const none = enabled ? "Nothing yet. Tell something about yourself, here or in a conversation." : "The memory is off: nothing is learnt or recalled.";
    setText(byId("no-facts"), none);
    byId("no-facts").hidden = facts.length > 0 && enabled;
  }

  function entry(fact) {
    const past = Boolean(fact.instead);
    const text = el("p", { class: "fact", dir: "auto", text: fact.text });
    const said = fact.aside ? "in passing" : fact.said && fact.said !== fact.text ? `“${fact.said}”` : fact.said ? "" : "written here";
    const about = [said, when(fact.time), past ? "no longer" : ""].filter(Boolean).join(" · ");
    const buttons = past
      ? [iconButton("undo", `Bring back: ${fact.text}`, () => change("restore_fact", { fact: fact.id }))]
      : [iconButton("pencil", `Correct: ${fact.text}`, () => edit(fact, item))];
    if (fact.conversation)
      buttons.push(iconButton("link", `Where it was said: ${fact.text}`, () => chat.open(fact.conversation)));
    buttons.push(iconButton("trash", `Forget: ${fact.text}`, () => change("forget", { fact: fact.id })));
    const item = el("li", { class: past ? "past" : null }, el("div", {}, text, el("p", { class: "quiet", text: about })), el("div", { class: "tools" }, ...buttons));
    return item;
  }

  function edit(fact, item) {
    const field = el("input", { value: fact.text, "aria-label": "The fact", autocomplete: "off", maxlength: "300", dir: "auto" });
    onKey(field, async (event) => {
      if (event.key === "Escape") {
        event.stopPropagation();
        item.replaceWith(entry(fact));
      } else if (event.key === "Enter") {
        event.preventDefault();
        const text = clean(field.value);
        if (!text || text === fact.text) item.replaceWith(entry(fact));
        else await change("edit_fact", { fact: fact.id, text });
      }
    });
    item.replaceChildren(field);
    field.focus();
  }

  byId("fact-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    const field = byId("new-fact");
    const text = clean(field.value);
    if (text && (await change("remember", { text }))) field.value = "";
    field.focus();
  });
  onSwitch.addEventListener("change", () => change("set_memory", { enabled: onSwitch.checked }));
  history.addEventListener("change", () => refresh());
  more.addEventListener("click", () => refresh({ further: true }));
  byId("forget-all").addEventListener("click", async () => {
    const sure = await confirm({
      title: "Forget everything?",
      text: "All that you told of yourself will be gone for good; the conversations stay.",
      ok: "Forget",
    });
    if (sure) await change("forget", {});
  });

  store.subscribe(({ learnt, link }, before) => {
    if (learnt !== before.learnt && learnt) {
      const kept = learnt.kept ?? [];
      const texts = (learnt.replaced?.length ? kept : kept.filter((fact) => !fact.aside)).map((fact) => fact.text);
      if (texts.length && panel.current() !== "you") notify(`Remembered: ${texts.join(" ")}`, "done");
      refresh();
    } else if (link !== before.link && link.is === "open") refresh();
  });
  return { refresh };
}

const clean = (text) => text.replace(/\s+/gu, " ").trim();
