// What goes over plain HTTP beside the socket: cards, sample personas, conversations as files.

import { token } from "./storage.js";

async function ask(path, options = {}) {
  const headers = { ...options.headers };
  if (token.get()) headers.authorization = `Bearer ${token.get()}`;
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch {
    throw new Error("The server cannot be reached. Try again in a moment.");
  }
  if (response.ok) return response;
  const answer = await response.json().catch(() => null);
  throw new Error(answer?.error?.message ?? `The server answered ${response.status}.`);
}

export async function samplePersonas() {
  return (await (await ask("api/personas")).json()).personas;
}

/** The persona in a card's file, with what there is to know about it. */
export async function readCard(file) {
  const headers = { "content-type": "application/octet-stream" };
  return (await ask("api/cards/read", { method: "POST", headers, body: file })).json();
}

/** A persona as a card's file; what `card` and `image` it came from is kept in it. */
export async function writeCard({ persona, format, card = null, image = null }) {
  const body = new FormData();
  body.set("persona", JSON.stringify(persona));
  body.set("format", format);
  if (card) body.set("card", JSON.stringify(card));
  if (image) body.set("image", image);
  return (await ask("api/cards/write", { method: "POST", body })).blob();
}

/** Characters, lorebooks or who one was (`kind`: "characters", "books", "you") that are kept, the latest first. */
export async function imported(kind) {
  return (await (await ask(`api/${kind}`)).json())[kind];
}

const bytes = { "content-type": "application/octet-stream" };
const take = (kind) => async (file) => (await ask(`api/${kind}`, { method: "POST", headers: bytes, body: file })).json();
export const importCharacter = take("characters");
export const importBook = take("books");

/** Keep who one is, for other chats and devices; it with its id. */
export async function keepYou(user) {
  const headers = { "content-type": "application/json" };
  return (await ask("api/you", { method: "POST", headers, body: JSON.stringify(user) })).json();
}

export const dropImported = (kind, id) => ask(`api/${kind}/${encodeURIComponent(id)}`, { method: "DELETE" });

/** A character as a card's PNG. */
export async function exportCharacter(id) {
  return (await ask(`api/characters/${encodeURIComponent(id)}/export?format=png`)).blob();
}

/** A whole conversation as JSON, or the branch that is shown as text. */
export async function exportConversation(id, format) {
  const path = `api/conversations/${encodeURIComponent(id)}/export?format=${format}`;
  return (await ask(path)).blob();
}

/** A new conversation from a file that was exported, here or by SillyTavern or ChatGPT; its id. */
export async function importConversation(file) {
  const format = file.name.toLowerCase().endsWith(".txt") ? "text" : "json";
  const headers = { "content-type": format === "json" ? "application/json" : "text/plain" };
  const answer = await ask(`api/conversations/import?format=${format}`, { method: "POST", headers, body: file });
  return (await answer.json()).conversation;
}

/**
 * The conversations in a file, each as a file of its own: ChatGPT exports all of them as one list, oldest last. `most`
 * of them are taken, the latest.
 */
export async function conversationsIn(file, most = 100) {
  if (!/\.json$/i.test(file.name)) return [file];
  let found;
  try {
    found = JSON.parse(await file.text());
  } catch {
    return [file]; // the server says what is wrong with it
  }
  if (!Array.isArray(found) || !found.every((one) => one?.mapping)) return [file];
  const latest = [...found].sort((one, other) => (other.update_time ?? 0) - (one.update_time ?? 0)).slice(0, most);
  return latest.map((one) => new File([JSON.stringify(one)], "conversation.json", { type: "application/json" }));
}

/** Save a blob under a name, as a click on a link would. */
export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** A name for a file, from a title. */
export function fileName(text, otherwise) {
  const clean = text.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-+|-+$/g, "");
  return clean.slice(0, 60) || otherwise;
}
