// What stands between asterisks, as characters of cards write what they do: *waves*, **never**.

import { el } from "./dom.js";

const MARKED = /(?<![\p{L}\p{N}*])(\*{1,2})(?![\s*])([^*\n]+?)(?<!\s)\1(?![\p{L}\p{N}*])/gu;
const PLAIN = null;
const SIGN = -1;

/** Nodes of a text that is cut into `parts` ({ text, ... }), each made by `node`; signs of emphasis become elements. */
export function emphasised(text, parts, node) {
  const found = text.includes("*") ? [...text.matchAll(MARKED)] : [];
  if (!found.length) return parts.map(node);
  const style = new Array(text.length).fill(PLAIN); // of each unit: SIGN, PLAIN, or which of those found it is in
  found.forEach(({ index, 0: whole, 1: sign }, which) => {
    style.fill(which, index, index + whole.length);
    style.fill(SIGN, index, index + sign.length);
    style.fill(SIGN, index + whole.length - sign.length, index + whole.length);
  });
  const nodes = [];
  let open = PLAIN;
  let at = 0;
  for (const part of parts) {
    const end = at + part.text.length;
    while (at < end) {
      const now = style[at];
      let to = at + 1;
      while (to < end && style[to] === now) to++;
      const made = now === SIGN ? null : node({ ...part, text: text.slice(at, to) });
      if (now === PLAIN) nodes.push(made);
      else if (now !== SIGN && now === open) nodes.at(-1).append(made);
      else if (now !== SIGN) nodes.push(el(found[now][1].length > 1 ? "strong" : "em", {}, made));
      if (now !== SIGN) open = now;
      at = to;
    }
  }
  return nodes;
}
