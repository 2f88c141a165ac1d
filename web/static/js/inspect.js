// The inspect drawer: the exact input of a reply as word, position and segment rows, every token of the reply
// shaded by its probability with the alternatives beside it, and the candidates with their scores.

import { byId, el, setText } from "./dom.js";
import { gauge, nameOf } from "./gauge.js";
import { onKey } from "./keys.js";
import { writing } from "./state.js";

export function setUpInspect({ store, chat, panel }) {
  const box = byId("inspect");
  let wanted = null; // the message that was asked for, null: the last reply
  let shown = null; // what the box shows
  let asked = 0;

  const lastReply = () => chat.view.messages.filter((one) => one.role === "agent").at(-1)?.id ?? null;

  function say(text) {
    shown = text;
    box.replaceChildren(el("p", { class: "quiet", text }));
  }

  async function refresh() {
    if (panel.current() !== "inspect") return;
    const { view, live } = store.get();
    if (wanted && !view.messages.some((one) => one.id === wanted)) wanted = null;
    const message = wanted ?? lastReply();
    if (message === null) return say("The input of a reply will be here, token by token, once there is one.");
    if (writing(view) === message) {
      shown = null;
      box.replaceChildren(
        el("p", { class: "quiet", text: "Being written; the whole input follows when it is done." }),
        tokenList(live.message === message ? live.tokens.map(fromToken) : []),
      );
      return;
    }
    const status = view.messages.find((one) => one.id === message).status;
    const key = `${message} ${status} ${view.messages.find((one) => one.id === message).text}`;
    if (shown === key) return;
    shown = key;
    const number = ++asked;
    box.setAttribute("aria-busy", "true");
    try {
      const answer = await chat.inspect(message);
      const said = view.messages.find((one) => one.id === message).text;
      const anew = (drawn, words) => chat.do("regenerate", { message, begun: beginning(said, drawn, words) });
      if (number === asked && shown === key) box.replaceChildren(...explained(answer, anew));
    } catch (error) {
      if (number === asked) say(error.message);
    } finally {
      box.setAttribute("aria-busy", "false");
    }
  }

  store.subscribe(({ view, live }, before) => {
    if (view.messages !== before.view?.messages || live !== before.live) refresh();
  });

  return {
    refresh,
    show(message) {
      wanted = message;
      panel.show("inspect");
    },
  };
}

const fromToken = ({ text, logprob, alternatives }) => ({ text, logprob, alternatives });

function explained(answer, anew) {
  const { rows, candidates = [], chosen = null, left_out = 0, settings = null, account = null, added = [] } = answer;
  const groups = [];
  for (const row of rows) {
    const last = groups.at(-1);
    if (last && last.part === row.part && last.item === row.item) last.rows.push(row);
    else groups.push({ part: row.part, item: row.item, rows: [row] });
  }
  const reply = rows.filter((row) => row.part === "reply" && typeof row.logprob === "number");
  const parts = [];
  if (account) {
    parts.push(el("h2", { text: "The context" }));
    parts.push(...gauge(account, added, left_out));
  }
  if (reply.length) {
    const mean = Math.exp(reply.reduce((sum, row) => sum + row.logprob, 0) / reply.length);
    parts.push(
      el("h2", { text: "The reply, word by word" }),
      el("p", { class: "quiet", text: `Shaded by probability; ${percent(mean)} a token on average. Look at a word for what else it might have been, and draw the reply anew from there.` }),
      tokenList(reply, anew),
    );
  }
  if (candidates.length > 1) parts.push(el("h2", { text: "Candidates" }), candidateList(candidates, chosen));
  parts.push(el("h2", { text: "The exact input" }));
  parts.push(el("p", { class: "quiet", text: `${rows.length} tokens. Each has a word, a position and a segment, and the model reads the sum of the three.` }));
  parts.push(legend());
  parts.push(...groups.map(group));
  if (settings) parts.push(settingsList(settings));
  return parts;
}

function legend() {
  const entries = [["persona", "persona"], ["user", "you"], ["agent", "bot"], ["reply", "this reply"]];
  const items = entries.map(([part, text]) => el("span", { class: `swatch ${part}`, text }));
  return el("p", { class: "legend" }, ...items);
}

/** The tokens of one sentence or turn, each a column of word, position and segment, as in the figure. */
function group({ part, item, rows }) {
  const speaker = rows.some((row) => row.segment === "<speaker1>") ? "user" : "agent";
  const kind = part === "history" ? speaker : part;
  const who = part === "history" ? `${speaker === "user" ? "you" : "bot"}, turn ${item + 1}` : `${item + 1}`;
  const title = part === "reply" ? nameOf(part) : `${nameOf(part)} · ${who}`;
  const columns = rows.map(({ text, position, segment }) =>
    el(
      "li",
      {},
      el("span", { class: "word", text: visible(text) }),
      el("span", { class: "hidden", text: " position " }),
      el("span", { class: "position", text: String(position), vars: { "--at": String(Math.min(1, position / 256)) } }),
      el("span", { class: "hidden", text: " segment " }),
      el("span", { class: "segment", text: segment.replace(/[<>]/g, "") }),
    ),
  );
  const names = ["word", "position", "segment"].map((name) => el("span", { text: name }));
  return el(
    "section",
    { class: `group ${kind}`, "aria-label": title },
    el("h3", { text: title }),
    el("div", { class: "figure" }, el("div", { class: "names", "aria-hidden": "true" }, ...names), el("ol", { class: "columns" }, ...columns)),
  );
}

/** Tokens one after another as buttons; arrow keys go from one to the next, and what else it might have been
 * stands in one box below, for eyes and screen readers alike. */
function tokenList(rows, anew = null) {
  const about = el("div", { class: "about-token", "aria-live": "polite" });
  const texts = rows.map((row) => row.text);
  const from = (i) => (instead) => anew(texts, [...texts.slice(0, i), instead]);
  const buttons = rows.map((row, i) => {
    const p = typeof row.logprob === "number" ? Math.exp(row.logprob) : null;
    const show = () => aboutToken(about, row, p, buttons[i], buttons, anew && from(i));
    return el("button", {
      type: "button",
      class: i > 0 && /^\S/.test(row.text) ? "token joined" : "token", // a piece of the word before it
      text: shownAs(row.text),
      tabindex: i === 0 ? "0" : "-1",
      "aria-label": `${shownAs(row.text, "blank")}${p === null ? "" : `, ${percent(p)}`}`,
      vars: { "--p": p === null ? "0" : p.toFixed(3) },
      on: { mouseenter: show, focus: show, click: show },
    });
  });
  const list = el("div", { class: "shaded", role: "toolbar", "aria-label": "Tokens of the reply" }, ...buttons);
  onKey(list, (event) => {
    const at = buttons.indexOf(document.activeElement);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: buttons.length - 1 }[event.key];
    if (at < 0 || to === undefined || !buttons[to]) return;
    event.preventDefault();
    buttons[at].tabIndex = -1;
    buttons[to].tabIndex = 0;
    buttons[to].focus();
  });
  const drawn = rows.filter((row) => typeof row.logprob === "number");
  if (drawn.length) {
    // The one that the model was least sure of says most.
    const least = drawn.reduce((one, other) => (other.logprob < one.logprob ? other : one));
    const at = rows.indexOf(least);
    aboutToken(about, least, Math.exp(least.logprob), buttons[at], buttons, anew && from(at));
  }
  return el("div", { class: "reply-tokens" }, list, about);
}

function aboutToken(box, row, p, button, buttons, anew) {
  for (const other of buttons) other.classList.toggle("looked-at", other === button);
  const listed = (row.alternatives ?? []).map(([text, logprob]) => ({ text, logprob, drawn: false }));
  const drawn = row.logprob == null ? null : listed.find((one) => isDrawn(row, one));
  if (drawn) drawn.drawn = true;
  else if (row.logprob != null) listed.push({ text: row.text, logprob: row.logprob, drawn: true });
  const bars = listed.map(({ text, logprob, drawn }) =>
    el(
      "li",
      { class: drawn ? "drawn" : null, vars: { "--p": Math.exp(logprob).toFixed(3) } },
      anew && !drawn && text.trim() ? instead(row, text, anew) : el("span", { class: "word", text: visible(text.trim()) || "␣" }),
      el("span", { class: "p", text: percent(Math.exp(logprob)) }),
    ),
  );
  if (!bars.length) bars.push(el("li", { text: p === null ? "no probability is known" : percent(p) }));
  const again = anew && el("button", { type: "button", class: "soft small", text: "Draw anew from here", on: { click: () => anew("") } });
  box.replaceChildren(el("ul", { class: "bars" }, ...bars), ...(again ? [again] : []));
}

/**
 * What a reply begins with that is drawn anew: `words` of the tokens that were `drawn`, behind what the reply `said`
 * went on from itself. Its end, where it is a token, is none of its words.
 */
export function beginning(said, drawn, words) {
  const clean = (parts) => parts.join("").replace(/\s+/gu, " ").trim();
  const whole = [drawn, drawn.slice(0, -1)].map(clean).find((text) => said.endsWith(text)) ?? said;
  const known = words.filter((word, i) => i < drawn.length - 1 || said.includes(word.trim()));
  return clean([said.slice(0, said.length - whole.length), ...known]);
}

/** Another token of the same place: a reply that goes on with it. */
function instead(row, text, anew) {
  const gap = /^\s/.test(row.text) && !/^\s/.test(text) ? " " : "";
  const label = `Draw anew with “${text.trim()}” in its place`;
  return el("button", { type: "button", class: "link word", text: visible(text.trim()), title: label, "aria-label": label, on: { click: () => anew(gap + text) } });
}

/** Whether an alternative is the token that was drawn: it may have lost the blank in front of a word, and its
 * probability comes from another sum. */
const isDrawn = (row, { text, logprob }) =>
  text.trim() === row.text.trim() && Math.abs(logprob - row.logprob) < 0.05;

function candidateList(candidates, chosen) {
  const order = candidates.map((one, i) => ({ ...one, i })).sort((a, b) => b.score - a.score);
  const items = order.map(({ text, score, logprob, i }) =>
    el(
      "li",
      { class: i === chosen ? "chosen" : null },
      el("span", { class: "score", text: score.toFixed(2), title: "score of the next-sentence head" }),
      el("span", { class: "words", dir: "auto", text }),
      el(
        "span",
        { class: "more" },
        i === chosen ? el("span", { class: "badge", text: "chosen" }) : null,
        typeof logprob === "number" ? el("span", { class: "quiet", text: `log p ${logprob.toFixed(1)}` }) : null,
      ),
    ),
  );
  return el("ol", { class: "candidates" }, ...items);
}

function settingsList(settings) {
  const entries = Object.entries(settings).map(([name, value]) => `${name} ${value ?? "none"}`);
  const details = el("details", {}, el("summary", { text: "Drawn with" }), el("p", { class: "mono" }));
  setText(details.lastChild, entries.join(" · "));
  return details;
}

/** A token of a reply; its end is a control token. */
const shownAs = (text, blank = "␣") => (/^<.*>$/.test(text) ? "end" : text.trim() || blank);

/** Blanks are part of a token: show where they are. */
const visible = (text) => text.replaceAll(" ", "·").replaceAll("\n", "⏎");

function percent(p) {
  if (p >= 0.995) return "100 %";
  return p >= 0.1 ? `${Math.round(100 * p)} %` : `${(100 * p).toPrecision(2)} %`;
}
