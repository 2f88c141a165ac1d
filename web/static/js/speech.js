// Reading aloud and dictation by the browser's own voices and ears, where it has them; nothing is sent by this page.

import { byId } from "./dom.js";

const Recognition = globalThis.SpeechRecognition ?? globalThis.webkitSpeechRecognition;

export const canSpeak = () => "speechSynthesis" in globalThis && "SpeechSynthesisUtterance" in globalThis;
export const canListen = () => Boolean(Recognition);

/** One voice at a time: `toggle(text, ended)` begins, or stops what is being read. */
export class Reader {
  #now = null;

  toggle(text, ended = () => {}) {
    const same = this.#now?.text === text;
    this.stop();
    if (same) return false;
    const said = new SpeechSynthesisUtterance(text);
    said.lang = document.documentElement.lang;
    said.onend = said.onerror = () => {
      if (this.#now !== said) return;
      this.#now = null;
      ended();
    };
    said.ended = ended;
    this.#now = said;
    speechSynthesis.speak(said);
    return true;
  }

  stop() {
    const before = this.#now;
    this.#now = null;
    if (before) {
      speechSynthesis.cancel();
      before.ended();
    }
  }
}

/** The microphone button beside the field; hidden where the browser cannot listen. */
export function setUpDictation({ notify }) {
  const button = byId("dictate");
  const field = byId("message");
  button.hidden = !canListen();
  if (button.hidden) return;
  let listening = null;

  function show(on) {
    button.setAttribute("aria-pressed", String(on));
    const label = on ? "Stop dictating" : "Dictate";
    button.setAttribute("aria-label", label);
    button.title = label;
  }

  button.addEventListener("click", () => {
    if (listening) {
      listening.stop();
      return;
    }
    const before = field.value ? `${field.value.trimEnd()} ` : "";
    listening = new Recognition();
    listening.lang = navigator.language;
    listening.interimResults = true;
    listening.onresult = ({ results }) => {
      field.value = before + [...results].map((one) => one[0].transcript).join("");
      field.dispatchEvent(new Event("input"));
    };
    listening.onerror = ({ error }) => {
      const lines = { "not-allowed": "This browser does not let the page listen.", "no-speech": "Nothing was heard." };
      if (error !== "aborted") notify(lines[error] ?? `Dictation failed: ${error}.`, "error");
    };
    listening.onend = () => {
      listening = null;
      show(false);
      field.focus();
    };
    listening.start();
    show(true);
  });
  show(false);
}
