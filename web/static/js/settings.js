// The settings panel: presets, a field for every decoding setting, and what concerns this page alone.

import { FIELDS, PRESETS, mostOf, parsed, presetOf, presetSettings } from "./decoding.js";
import { byId, el, setText } from "./dom.js";
import { remember, remembered } from "./storage.js";

export function setUpSettings({ store, chat }) {
  const form = byId("settings-form");
  const fields = new Map(FIELDS.map((field) => [field.name, new Field(field, change)]));
  const more = FIELDS.filter((field) => field.more).map((field) => fields.get(field.name).element);
  const first = FIELDS.filter((field) => !field.more).map((field) => fields.get(field.name).element);
  form.append(...first, el("details", {}, el("summary", { text: "More" }), ...more));
  form.addEventListener("submit", (event) => event.preventDefault());

  const presets = PRESETS.map((preset) => {
    const click = () => apply(presetSettings(preset, store.get().server?.settings ?? {}));
    const props = { type: "button", class: "chip", "aria-pressed": "false", text: preset.label, on: { click } };
    return [preset, el("button", props)];
  });
  byId("presets").append(...presets.map(([, button]) => button));

  async function apply(settings) {
    try {
      await chat.setDecoding(settings);
      show();
    } catch (error) {
      const [only] = Object.keys(settings);
      const named = Object.keys(settings).find((name) => error.message.includes(`${name}=`)) ?? only;
      fields.get(named)?.wrong(error.message);
    }
  }

  function change(field, text) {
    const { value, problem } = parsed(field, text, store.get().server?.limits);
    if (problem) fields.get(field.name).wrong(problem);
    else if (value !== chat.settings[field.name]) apply({ [field.name]: value });
    else fields.get(field.name).wrong("");
  }

  function show() {
    const { server } = store.get();
    const settings = chat.settings;
    for (const field of FIELDS) fields.get(field.name).show(settings[field.name], server?.limits ?? {});
    const current = server && presetOf(settings, server.settings);
    for (const [preset, button] of presets) button.setAttribute("aria-pressed", String(preset === current));
  }

  store.subscribe(({ view, draft, server }, before) => {
    if (view.settings === before.view?.settings && draft === before.draft && server === before.server) return;
    show();
    if (server) setText(byId("about"), `${server.server}, model ${server.model}`);
  });

  const auto = byId("auto-suggest");
  auto.checked = remembered("suggest", true) === true;
  auto.addEventListener("change", () => remember("suggest", auto.checked));
  for (const kind of Object.keys(store.get().marks)) {
    const box = byId(`show-${kind}`);
    const set = () => store.set({ marks: { ...store.get().marks, [kind]: box.checked } });
    box.checked = remembered(`marks.${kind}`, true) === true;
    box.addEventListener("change", () => {
      remember(`marks.${kind}`, box.checked);
      set();
    });
    set();
  }
  return { autoSuggest: () => auto.checked };
}

/** A number with a slider beside it, unless the range is too wide for one; a text; a switch. */
class Field {
  constructor(field, change) {
    this.field = field;
    const id = `set-${field.name}`;
    const common = { min: field.least, max: field.most, step: field.step };
    this.input = el("input", {
      id,
      type: field.flag ? "checkbox" : "text",
      inputmode: field.text ? null : Number.isInteger(field.step) ? "numeric" : "decimal",
      spellcheck: field.text ? "false" : null,
      autocomplete: "off",
      placeholder: field.empty,
      "aria-describedby": `${id}-help ${id}-wrong`,
      on: { change: () => change(field, field.flag ? String(this.input.checked) : this.input.value) },
    });
    this.slider =
      field.text || field.flag || field.most > 1000
        ? null
        : el("input", {
            type: "range",
            ...common,
            "aria-label": `${field.label}, slider`,
            on: {
              input: () => (this.input.value = this.slider.value),
              change: () => change(field, this.slider.value),
            },
          });
    this.line = el("p", { class: "wrong", id: `${id}-wrong`, role: "alert", hidden: true });
    this.element = el(
      "div",
      { class: field.text ? "setting of-text" : "setting" },
      el("label", { for: id, text: field.label }),
      this.input,
      this.slider,
      el("p", { class: "quiet", id: `${id}-help`, text: field.help }),
      this.line,
    );
  }

  show(value, limits) {
    const text = value === null || value === undefined ? "" : String(value);
    if (this.slider) {
      this.slider.max = mostOf(this.field, limits);
      this.slider.value = text;
    }
    if (this.field.flag) this.input.checked = value === true;
    else this.input.value = text;
    this.wrong("");
  }

  wrong(text) {
    setText(this.line, text);
    this.line.hidden = !text;
    this.input.setAttribute("aria-invalid", String(Boolean(text)));
  }
}
