import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";

import { onKey } from "../js/keys.js";

const FOLDER = new URL("../js/", import.meta.url);

function pressed(target, key, more = {}) {
  target.dispatchEvent(Object.assign(new Event("keydown"), { key, keyCode: 13, isComposing: false, ...more }));
}

test("a key of an input method is not the page's, in the order of Chromium and in Safari's", () => {
  const field = new EventTarget();
  const heard = [];
  const end = onKey(field, (event) => heard.push(event.key));
  // Chromium and Firefox tell of the key, then that the composition has ended
  pressed(field, "Enter", { isComposing: true, keyCode: 229 });
  field.dispatchEvent(new Event("compositionend"));
  // Safari the other way round
  field.dispatchEvent(new Event("compositionend"));
  pressed(field, "Enter", { keyCode: 229 });
  pressed(field, "Escape", { keyCode: 229 });
  pressed(field, "Process", { keyCode: 229 });
  assert.deepEqual(heard, []);
  pressed(field, "Enter");
  assert.deepEqual(heard, ["Enter"]);
  end();
  pressed(field, "Enter");
  assert.deepEqual(heard, ["Enter"]);
});

test("nothing else listens to keys", () => {
  const others = readdirSync(FOLDER).filter((name) => name !== "keys.js");
  assert.ok(others.length > 10);
  for (const name of others) {
    const text = readFileSync(new URL(name, FOLDER), "utf8");
    assert.doesNotMatch(text, /\bkey(down|up|press)\b|isComposing|\.keyCode\b/, name);
  }
});
