import assert from "node:assert/strict";
import { test } from "node:test";

import { meanings, mentionsOf, pieces } from "../js/mentions.js";

const at = (start, end, cluster = 0, main = "main") => ({ start, end, cluster, main });
const shown = (text, mentions) => pieces(text, mentions).map(({ text, mention }) => [text, mention?.cluster ?? null]);

test("a text is cut where mentions begin and end, by code points", () => {
  assert.deepEqual(shown("🙂 she 🙂", [at(2, 5)]), [["🙂 ", null], ["she", 0], [" 🙂", null]]);
  assert.deepEqual(shown("she", [at(0, 3)]), [["she", 0]]);
  assert.deepEqual(shown("none", []), [["none", null]]);
});

test("of mentions that overlap the shortest is shown", () => {
  const all = [["my sister", 0], ["'s dog", 1], [" barks", null]];
  for (const mentions of [[at(0, 9, 0), at(0, 15, 1)], [at(0, 15, 1), at(0, 9, 0)]])
    assert.deepEqual(shown("my sister's dog barks", mentions), all);
  assert.deepEqual(shown("abcd", [at(0, 3, 0), at(1, 4, 1)]).map(([text]) => text).join(""), "abcd");
});

test("places outside of the text are left out, and the text stays whole", () => {
  for (const odd of [at(-1, 2), at(2, 2), at(3, 1), at(0, 9), at(NaN, 2)])
    assert.deepEqual(shown("abc", [odd]), [["abc", null]]);
});

test("what was told at the last message of the branch counts; the same data gives the same spans", () => {
  const coref = (main, spans) => ({ coref: { clusters: [{ main, spans }] } });
  const marks = { a: coref("old", { a: [[0, 1]] }), b: coref("new", { a: [[0, 2]], gone: [[0, 1]] }), c: { emotion: {} } };
  const view = { messages: ["a", "b", "c"].map((id) => ({ id })), marks };
  assert.deepEqual(mentionsOf(view)("a"), [at(0, 2, 0, "new")]);
  assert.equal(mentionsOf(view)("a"), mentionsOf({ ...view })("a"));
  assert.deepEqual(mentionsOf(view)("c"), []);
  assert.deepEqual(mentionsOf({ ...view, messages: [{ id: "a" }] })("a"), [at(0, 1, 0, "old")]);
  assert.deepEqual(mentionsOf({ ...view, marks: {} })("a"), []);
});

test("each meaning is told once, and not where the words say it themselves", () => {
  const text = "She said that she likes my sister";
  const mentions = [at(0, 3, 0, "my sister"), at(14, 17, 0, "my sister"), at(24, 33, 0, "my sister")];
  assert.deepEqual(meanings(text, mentions), [["She", "my sister", 0], ["she", "my sister", 0]]);
});
