// A group: who is in the conversation, a button for each to let it speak, who answers, whose cards are shown.

import { byId, el, iconButton, setText } from "./dom.js";
import { writing } from "./state.js";

const COLOURS = 6;

/** Who said a message, in a group: { name, colour }; null elsewhere, and for the user. */
export function speakerOf(scene, message) {
  const members = scene?.group?.members ?? [];
  const at = members.findIndex((one) => one.persona === (message.persona ?? 1));
  if (at < 0 || message.role !== "agent") return null;
  return { name: members[at].name, colour: String(at % COLOURS) };
}

/** Those who have not left. */
export const present = (scene) => (scene?.group?.members ?? []).filter((one) => one.here !== false);

export function setUpGroup({ store, chat, notify }) {
  const box = byId("group-box");
  const bar = byId("group-bar");
  const order = byId("group-order");
  const cards = byId("group-cards");

  async function change(given) {
    try {
      await chat.connection.request("set_group", given);
      return true;
    } catch (error) {
      notify(error.message, "error");
      return false;
    }
  }

  order.addEventListener("change", () => change({ order: order.value }));
  cards.addEventListener("change", () => change({ cards: cards.value }));

  function member(one, colour) {
    const mute = el("input", { type: "checkbox", checked: !one.muted, on: { change: () => change(mute.checked ? { unmute: one.name } : { mute: one.name }) } });
    const share = Math.round((one.talkativeness ?? 0.5) * 100);
    const label = el("label", { class: "check" }, mute, el("span", { dir: "auto", text: `${one.name}, talkative ${share} %` }));
    const leave = iconButton("close", `${one.name} leaves`, () => change({ remove: one.name }));
    return el("li", { data: { member: colour } }, label, leave);
  }

  function speak(one, colour, busy) {
    const title = `Let ${one.name} speak`;
    const click = () => chat.do("speak", { member: one.name });
    return el("button", { type: "button", class: "chip speaker", title, "aria-label": title, disabled: busy, data: { member: colour }, dir: "auto", text: one.name, on: { click } });
  }

  store.subscribe(({ view }, before) => {
    const busy = writing(view) !== null;
    if (view.scene === before.view?.scene && busy === (before.view ? writing(before.view) !== null : null)) return;
    const group = view.conversation === null ? null : (view.scene?.group ?? null);
    box.hidden = bar.hidden = !group;
    if (!group) return;
    const colour = (one) => String(group.members.indexOf(one) % COLOURS);
    const there = present(view.scene);
    byId("group-members").replaceChildren(...there.map((one) => member(one, colour(one))));
    const held = bar.contains(document.activeElement) ? document.activeElement.textContent : null;
    bar.replaceChildren(...there.map((one) => speak(one, colour(one), busy)));
    if (held !== null) (([...bar.children].find((one) => one.textContent === held && !one.disabled)) ?? byId("message")).focus();
    order.value = group.order ?? "talk";
    cards.value = group.cards ?? "swap";
    setText(byId("group-now"), there.map((one) => one.name).join(", "));
  });

  /** A character comes into the conversation that is open. */
  return { add: (id) => change({ add: id }) };
}
