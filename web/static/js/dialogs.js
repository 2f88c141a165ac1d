// Questions in dialogs: native `dialog` elements, which keep the focus and close with Escape.

import { byId, setText } from "./dom.js";
import { onKey } from "./keys.js";

function answered(dialog) {
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "ok"), { once: true });
  });
}

/** A text, or null when it was cancelled. Enter in the field is OK, not the first button of the form. */
export async function ask(dialogId, fieldId, text = "") {
  const dialog = byId(dialogId);
  const field = byId(fieldId);
  field.value = text;
  const enter = (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    dialog.close("ok");
  };
  const deaf = onKey(field, enter);
  const done = answered(dialog);
  field.focus();
  field.select();
  const ok = await done;
  deaf();
  return ok ? field.value : null;
}

export function confirm({ title, text, ok }) {
  setText(byId("confirm-title"), title);
  setText(byId("confirm-text"), text);
  setText(byId("confirm-ok"), ok);
  return answered(byId("confirm"));
}
