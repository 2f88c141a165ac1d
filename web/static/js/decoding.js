// The decoding settings as the page shows them: names as in convai.core.settings.DecodingConfig, ranges as there and in
// convai.server.protocol.Limits. A test holds names and ranges against both; the server checks every number again.

/** `most` may be lowered by a limit of the same name in `ready`. `off`: the value that switches it off. */
export const FIELDS = [
  { name: "temperature", label: "Temperature", least: 0, most: 2, step: 0.05, help: "Lower: safer; higher: more surprising; 0: always the likeliest word." },
  { name: "top_p", label: "Nucleus (top-p)", least: 0.05, most: 1, step: 0.05, off: 1, help: "Only the likeliest words that together have this probability." },
  { name: "candidates", label: "Candidates", least: 1, most: 16, step: 1, off: 1, help: "So many replies are drawn, and the next-sentence head picks the best." },
  { name: "max_length", label: "Longest reply", least: 1, most: 512, step: 1, help: "In tokens." },
  { name: "seed", label: "Seed", least: 0, most: 2 ** 53 - 1, step: 1, empty: "random", help: "The same seed and the same conversation give the same reply." },
  { name: "dry_multiplier", label: "Against repeating (DRY)", least: 0, most: 5, step: 0.1, off: 0, more: true, help: "How much words lose that would go on with a repeated phrase; 0: off, 0.8 is usual." },
  { name: "dry_base", label: "DRY: growth", least: 1, most: 4, step: 0.05, more: true, help: "How much more for each token that the phrase is longer." },
  { name: "dry_allowed_length", label: "DRY: free length", least: 1, most: 50, step: 1, more: true, help: "So many tokens may be repeated for nothing." },
  { name: "dry_penalty_last_n", label: "DRY: range", least: -1, most: 8192, step: 1, off: 0, more: true, help: "The last tokens that are looked through; -1: all." },
  { name: "dry_sequence_breakers", label: "DRY: breakers", text: true, more: true, help: "What ends a phrase, in quotation marks, commas between." },
  { name: "xtc_probability", label: "Exclude top choices (XTC)", least: 0, most: 1, step: 0.05, off: 0, more: true, help: "How often the likeliest words are taken out; 0: off, 0.5 is usual." },
  { name: "xtc_threshold", label: "XTC: threshold", least: 0, most: 1, step: 0.01, more: true, help: "All words at least this probable, but the last of them; above 0.5 it does nothing." },
  { name: "top_n_sigma", label: "Top-nσ", least: 0, most: 5, step: 0.1, off: 0, more: true, help: "Only words within n standard deviations of the best; 0: off." },
  { name: "dynatemp_high", label: "Dynamic temperature, high", least: 0, most: 5, step: 0.05, off: 0, more: true, help: "The temperature where all words are equal, in place of the one above; 0: off." },
  { name: "dynatemp_low", label: "Dynamic temperature, low", least: 0, most: 5, step: 0.05, more: true, help: "The temperature where the model is sure." },
  { name: "dynatemp_exponent", label: "Dynamic temperature, exponent", least: 0.1, most: 10, step: 0.1, more: true, help: "Above 1: it rises later." },
  { name: "temperature_last", label: "Temperature last", least: 0, most: 1, step: 1, flag: true, off: false, more: true, help: "The temperature comes behind the other filters." },
  { name: "top_k", label: "Top-k", least: 0, most: 1000, step: 1, off: 0, more: true, help: "Only the k likeliest words; 0: off." },
  { name: "min_p", label: "Min-p", least: 0, most: 1, step: 0.01, off: 0, more: true, help: "Only words at least this share as likely as the best; 0: off." },
  { name: "typical_p", label: "Typical-p", least: 0.05, most: 1, step: 0.05, off: 1, more: true, help: "Locally typical words; 1: off." },
  { name: "repetition_penalty", label: "Repetition penalty", least: 0.5, most: 2, step: 0.05, off: 1, more: true, help: "Makes words of the reply less likely to come again; 1: off." },
  { name: "frequency_penalty", label: "Frequency penalty", least: -2, most: 2, step: 0.1, off: 0, more: true, help: "Words lose this for every time they were said; 0: off." },
  { name: "presence_penalty", label: "Presence penalty", least: -2, most: 2, step: 0.1, off: 0, more: true, help: "Words that were said lose this once; 0: off." },
  { name: "repeat_last_n", label: "Range of the penalties", least: -1, most: 8192, step: 1, empty: "this reply", more: true, help: "The last tokens of the conversation that count; -1: all; empty: this reply alone." },
  { name: "logit_bias", label: "Bias of words", text: true, more: true, help: 'More or less likely, with the space before them: " pizza": -5, " rain": 2; false is never.' },
  { name: "no_repeat_ngram", label: "No phrase twice", least: 0, most: 10, step: 1, off: 0, more: true, help: "No so many tokens in a row twice in a reply; 0: off." },
  { name: "no_repeat_own_ngram", label: "Nor from earlier replies", least: 0, most: 10, step: 1, off: 0, more: true, help: "No so many tokens in a row of what the bot said before; 0: off." },
  { name: "min_length", label: "Shortest reply", least: 0, most: 512, step: 1, more: true, help: "In tokens." },
  { name: "num_beams", label: "Beams", least: 1, most: 16, step: 1, off: 1, more: true, help: "Beam search instead of sampling; 1: off. The reply comes at once." },
  { name: "length_penalty", label: "Length penalty", least: 0, most: 5, step: 0.1, more: true, help: "Of beam search: higher prefers longer replies." },
  { name: "adapter", label: "Adapter", text: true, more: true, help: "Which of the server’s models writes the replies; empty: its own." },
];

/** Named ways to draw; what they do not name is as the model has it. */
export const PRESETS = [
  { name: "model", label: "Model’s own", settings: {} },
  { name: "steady", label: "Steady", settings: { temperature: 0.4, top_p: 0.8 } },
  { name: "lively", label: "Lively", settings: { temperature: 1, top_p: 0.95 } },
  { name: "greedy", label: "Greedy", settings: { temperature: 0, candidates: 1, num_beams: 1 } },
  { name: "best", label: "Best of 8", settings: { temperature: 0.9, top_p: 0.9, candidates: 8, num_beams: 1 } },
  { name: "beam", label: "Beam search", settings: { num_beams: 4, candidates: 1 } },
];

/** What presets leave alone: they are about how words are chosen. */
const APART = new Set(["seed", "adapter", "max_length", "min_length"]);

/** All settings of a preset, over the model's `own`. */
export function presetSettings(preset, own) {
  const all = Object.fromEntries(Object.entries(own).filter(([name]) => !APART.has(name)));
  return { ...all, ...preset.settings };
}

/** The preset that these settings are, or null. */
export function presetOf(settings, own) {
  return (
    PRESETS.find((preset) =>
      Object.entries(presetSettings(preset, own)).every(([name, value]) => settings[name] === value),
    ) ?? null
  );
}

/** What was typed for a field: { value } or { problem }. */
export function parsed(field, text, limits = {}) {
  if (field.text) return { value: text };
  if (field.flag) return { value: text === "true" };
  const clean = text.trim();
  if (clean === "" && field.empty) return { value: null };
  const most = mostOf(field, limits);
  const value = Number(clean);
  const whole = Number.isInteger(field.step);
  const kind = whole ? "whole number" : "number";
  if (clean === "" || !Number.isFinite(value) || value < field.least || value > most || (whole && !Number.isInteger(value)))
    return { problem: `Use a ${kind} from ${field.least} to ${most}.` };
  return { value };
}

export const mostOf = (field, limits) => Math.min(field.most, limits[field.name] ?? Infinity);
