// Files that are dropped on the page: a character, who greets; a lorebook; a conversation into the list.

import { byId } from "./dom.js";

const CARDS = /\.(png|charx|ya?ml)$/i;
const CHATS = /\.(jsonl|txt)$/i;
const NEAR = 20_000; // characters that tell what a JSON file is

/** What is done with a file that somebody brings, dropped or chosen, whatever it is. */
export const taker = ({ card, book, conversation, notify }) => async (file) => {
  const kind = await kindOf(file);
  if (kind === "card") card(file);
  else if (kind === "conversation") conversation(file);
  else if (kind === "book") book(file);
  else notify(`${file.name}: bring a character card (PNG, JSON, CHARX, YAML), a lorebook or a conversation (JSON, JSONL, text).`, "error");
};

export function setUpDrop(take) {
  const cover = byId("drop");
  let depth = 0; // dragenter and dragleave come for every element on the way

  const hasFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");

  function show(on) {
    depth = on ? depth : 0;
    cover.hidden = !on;
  }

  addEventListener("dragenter", (event) => {
    if (!hasFiles(event) || document.querySelector("dialog[open]")) return;
    depth += 1;
    show(true);
  });
  addEventListener("dragleave", () => {
    depth -= 1;
    if (depth <= 0) show(false);
  });
  addEventListener("dragover", (event) => hasFiles(event) && event.preventDefault());
  addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    show(false);
    const [file] = event.dataTransfer.files;
    if (file) take(file);
  });
}

/** What a file is by its name, and a JSON file by how it begins: "card", "conversation", "book" or null. */
export async function kindOf(file) {
  if (CARDS.test(file.name)) return "card";
  if (CHATS.test(file.name)) return "conversation";
  if (!/\.json$/i.test(file.name)) return null;
  const begin = await file.slice(0, NEAR).text();
  if (/"(turns|mapping|is_user|messages)"\s*:/.test(begin)) return "conversation";
  const world = /^\s*\{\s*"(entries|name|spec|kind)"/.test(begin) && /"entries"\s*:/.test(begin);
  return world && !/"(first_mes|mes_example|personality|chara_card)/.test(begin) ? "book" : "card";
}
