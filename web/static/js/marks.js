// What emotion and coreference found in a message, shown quietly below its text.
//
// `marks` frames and messages bring data by kind (docs/protocol.md). A kind is shown by the function that is
// registered for it: `show(data, message, mentions)` gives an element, or null. Kinds without one are left alone.

import { el, icon } from "./dom.js";
import { meanings } from "./mentions.js";
import { showTip, hideTip, tipOn } from "./tip.js";

const EMOTIONS = 4; // of all that the model knows
const EMOJI = 5;
const SHOWN = new Map();

export function registerMarks(kind, show) {
  SHOWN.set(kind, show);
}

/** The elements for all marks of a message, in a fixed order. */
export function markElements(marks, message, mentions = []) {
  return [...SHOWN]
    .map(([kind, show]) => show(marks?.[kind] ?? null, message, mentions))
    .filter((element) => element !== null);
}

const pairs = (given) => (Array.isArray(given) ? given.filter((one) => Array.isArray(one)) : []);

registerMarks("emotion", (data) => {
  const emoji = pairs(data?.emoji).slice(0, EMOJI);
  const emotions = Object.entries(data?.emotions ?? {}).sort((a, b) => b[1] - a[1]).slice(0, EMOTIONS);
  if (!emoji.length && !emotions.length) return null;
  const said = [...emotions.slice(0, 2), ...emoji.slice(0, 2)].map(([name, p]) => `${name} ${percent(p)}`);
  return el(
    "button",
    {
      type: "button",
      class: "mark emotion",
      "aria-label": `Mood: ${said.join(", ")}`,
      on: tipOn(() => mood(emotions, emoji, data)),
    },
    el("span", { "aria-hidden": "true", text: emoji[0]?.[0] ?? emotions[0][0] }),
  );
});

/** The mood in full: emotions and emoji with their probabilities, the words by the attention they got. */
function mood(emotions, emoji, { words, attention }) {
  const parts = [];
  if (emotions.length) parts.push(el("ul", { class: "bars" }, ...emotions.map(([name, p]) => bar(name, p))));
  if (emoji.length) parts.push(el("ul", { class: "emoji" }, ...emoji.map(([sign, p]) => el("li", {}, el("span", { text: sign }), percent(p)))));
  if (Array.isArray(words) && words.length && Array.isArray(attention)) {
    const most = Math.max(...attention, 1e-9);
    const shaded = words.map((word, i) => el("span", { text: word, vars: { "--p": String((attention[i] ?? 0) / most) } }));
    parts.push(el("h3", { text: "What it looked at" }), el("p", { class: "attended", dir: "auto" }, ...shaded));
  }
  return parts;
}

function bar(name, p) {
  return el("li", { vars: { "--p": String(p) } }, el("span", { text: name }), el("span", { class: "p", text: percent(p) }));
}

/** "he: my brother", for those who do not hover over the words themselves. */
registerMarks("coref", (_, message, mentions) => {
  const found = meanings(message.text, mentions);
  if (!found.length) return null;
  const said = found.map(([words, main]) => `${words}: ${main}`).join("; ");
  const light = (on) => found.forEach(([, , cluster]) => look(String(cluster), on));
  return el(
    "button",
    {
      type: "button",
      class: "mark meant",
      "aria-label": `Who is meant: ${said}`,
      on: tipOn(() => [meaningList(found)], light),
    },
    icon("link"),
  );
});

function meaningList(found) {
  const items = found.map(([words, main, cluster]) =>
    el(
      "li",
      {},
      el("span", { class: `mention colour-${cluster % 6}`, dir: "auto", text: words }),
      el("span", { class: "quiet", text: " means " }),
      el("span", { dir: "auto", text: main }),
    ),
  );
  return el("ul", { class: "meanings" }, ...items);
}

/** Mentions of one cluster light up together, and the pointer is told who is meant. */
export function setUpMentions(log) {
  log.addEventListener("mouseover", (event) => {
    const mention = event.target.closest?.(".mention");
    if (!mention) return;
    look(mention.dataset.cluster, true);
    showTip(mention, [el("p", { dir: "auto", text: mention.dataset.main })]);
  });
  log.addEventListener("mouseout", (event) => {
    const mention = event.target.closest?.(".mention");
    if (!mention) return;
    look(mention.dataset.cluster, false);
    hideTip();
  });
}

function look(cluster, on) {
  for (const one of document.querySelectorAll(`#messages .mention[data-cluster="${cluster}"]`))
    one.classList.toggle("looked-at", on);
}

function percent(p) {
  return `${Math.round(100 * p)} %`;
}
