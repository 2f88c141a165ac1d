// Keyboard shortcuts, and the dialog that lists them. Keys are those of the place on the keyboard, so that Alt
// with a letter works where it types another sign.

import { byId, el } from "./dom.js";
import { onKey } from "./keys.js";

/** `run(action)` is called with the name of what was asked for; true when there was something to do. */
const ALT = {
  KeyN: ["new", "New chat"],
  KeyL: ["search", "Search conversations"],
  KeyM: ["message", "Write a message"],
  KeyR: ["regenerate", "Regenerate the last reply"],
  KeyC: ["continue", "Continue a reply that was stopped or cut"],
  KeyZ: ["undo", "Undo the last exchange"],
  KeyG: ["suggest", "Suggest what to say"],
  KeyU: ["edit", "Edit what you said last"],
  Comma: ["previous", "Previous version of the last reply"],
  Period: ["next", "Next version of the last reply"],
  KeyP: ["persona", "Persona"],
  KeyY: ["you", "You, and what is remembered of you"],
  KeyS: ["settings", "Settings"],
  KeyI: ["inspect", "Inspect the last reply"],
};

const SHOWN = { Comma: ",", Period: "." };

export function setUpShortcuts(run) {
  const list = byId("shortcut-list");
  const keys = (...names) => names.flatMap((name, i) => [i ? " + " : null, el("kbd", { text: name })]);
  const row = (names, text) => list.append(el("dt", {}, ...keys(...names)), el("dd", { text }));
  row(["Enter"], "Send");
  row(["Shift", "Enter"], "A new line (it is sent as a blank)");
  row(["Esc"], "Stop the reply; close what is open");
  row(["↑"], "In an empty field: edit what you said last");
  for (const [code, [, text]] of Object.entries(ALT)) row(["Alt", SHOWN[code] ?? code.slice(3)], text);
  row(["?"], "This list");

  onKey(document, (event) => {
    if (document.querySelector("dialog[open]")) return;
    const typing = event.target.closest?.("input, textarea, select");
    let action = null;
    if (event.altKey && !event.ctrlKey && !event.metaKey && !event.shiftKey) action = ALT[event.code]?.[0];
    else if (event.key === "Escape") action = "escape";
    else if (event.key === "?" && !typing && !event.ctrlKey && !event.metaKey) action = "shortcuts";
    if (action && run(action)) event.preventDefault();
  });
}
