// The gauge of the context: what the model's window went to, part by part, and what had no room in it.

import { el } from "./dom.js";

/** Parts in the order of a prompt, with the names that people read. A part that is not here is shown by its name. */
const NAMES = {
  system: "System",
  description: "Description",
  personality: "Personality",
  persona: "Persona",
  scenario: "Scenario",
  group: "Group",
  user: "You",
  lore: "Lore",
  memory: "Memory",
  summary: "Summary",
  note: "Note",
  examples: "Examples",
  history: "History",
  post_history: "Last instruction",
  reply: "Reply",
};

export const nameOf = (part) => NAMES[part] ?? part.replaceAll("_", " ").replace(/^./, (letter) => letter.toUpperCase());

/** The entries of a gauge: [part, tokens], those of a prompt in its order, what is kept for the reply, what is free. */
export function shares({ tokens, reply, free }) {
  const order = Object.keys(NAMES);
  const place = (part) => (order.indexOf(part) + order.length + 1) % (order.length + 1) + (order.includes(part) ? 0 : order.length);
  const known = Object.entries(tokens).filter(([, count]) => count > 0);
  return [...known.sort(([one], [other]) => place(one) - place(other)), ["reply", reply], ["free", free]];
}

/** Elements: the bar, its legend, and what was added or left out. */
export function gauge(account, added = [], leftOut = 0) {
  const found = shares(account);
  const total = found.reduce((sum, [, count]) => sum + count, 0) || 1;
  const used = total - account.free;
  const bar = el(
    "div",
    { class: "gauge", role: "img", "aria-label": `${used} of ${account.positions} tokens are taken` },
    ...found.map(([part, count]) => el("span", { class: `share ${part}`, vars: { "--share": String(count / total) } })),
  );
  const legend = el(
    "ul",
    { class: "gauge-legend" },
    ...found.map(([part, count]) =>
      el(
        "li",
        { class: part },
        el("span", { class: "swatch", text: part === "free" ? "Free" : nameOf(part) }),
        el("span", { class: "count", text: count.toLocaleString("en") }),
      ),
    ),
  );
  const parts = [bar, legend];
  const lost = [];
  if (leftOut) lost.push(`${leftOut} older ${leftOut === 1 ? "turn" : "turns"}`);
  if (account.examples_left_out) lost.push(`${account.examples_left_out} example dialogues`);
  const missing = added.filter((one) => one.missing);
  if (missing.length) lost.push(`${missing.length} added ${missing.length === 1 ? "text" : "texts"}`);
  if (lost.length) parts.push(el("p", { class: "quiet", text: `No room was left for ${lost.join(", ")}.` }));
  if (added.length) parts.push(addedList(added));
  return parts;
}

/** What lorebooks, memory and notes put in, and why. */
function addedList(added) {
  const items = added.map(({ kind, text, depth = null, why = "", missing = false }) =>
    el(
      "li",
      { class: missing ? "missing" : kind },
      el("span", { class: "badge kind", text: nameOf(kind) }),
      el("span", { class: "words", dir: "auto", text }),
      el("span", {
        class: "quiet why",
        text: [why, depth === null ? "" : `depth ${depth}`, missing ? "no room" : ""].filter(Boolean).join(" · "),
      }),
    ),
  );
  return el("details", { open: added.length <= 6 }, el("summary", { text: `What was added (${added.length})` }), el("ul", { class: "added" }, ...items));
}
