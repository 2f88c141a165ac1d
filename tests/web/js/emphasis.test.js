import assert from "node:assert/strict";
import { test } from "node:test";

import { emphasised } from "../js/emphasis.js";

// As much of a document as the module asks for.
globalThis.document = {
  createElement: (tag) => {
    const node = { tag, children: [], append: (...more) => node.children.push(...more) };
    return node;
  },
};
const written = (node) => (typeof node === "string" ? node : `<${node.tag}>${node.children.map(written).join("")}</${node.tag}>`);
const shown = (text, parts = [{ text }]) => emphasised(text, parts, (part) => (part.mention ? `[${part.text}]` : part.text)).map(written).join("");

test("what stands between asterisks is set off, the signs are not shown", () => {
  assert.equal(shown("*waves* hi, you are **late**!"), "<em>waves</em> hi, you are <strong>late</strong>!");
  assert.equal(shown('*She nods.* "Yes."\n\n*And smiles.*'), '<em>She nods.</em> "Yes."\n\n<em>And smiles.</em>');
});

test("other asterisks stay", () => {
  for (const text of ["2 * 3 * 4", "2*3*4", "a* b*", "*", "**", "* one\n* two", "no sign at all", ""]) assert.equal(shown(text), text);
});

test("parts that mean somebody keep being such, also across a sign", () => {
  const parts = [{ text: "*my " }, { text: "sister*", mention: {} }, { text: " waves" }];
  assert.equal(shown("*my sister* waves", parts), "<em>my [sister]</em> waves");
});
