// The open conversation as the frames tell it: a pure reducer. It means what convai/bench/view.py means, and
// a test holds the two together over random histories.

/** Frames that do not fit what is known: connect again with `resume`, or open the conversation again. */
export class ProtocolError extends Error {}

export const EMPTY = Object.freeze({
  conversation: null,
  stream: "",
  last: 0,
  title: "",
  persona: { name: "", sentences: [] },
  settings: {},
  scene: null, // character, user, note and books, as the server tells them
  messages: [],
  earlier: 0,
  suggestions: [],
  marks: {}, // message → kind → what was found
});

const ANSWERS = new Set(
  "ready accepted error overloaded pong conversations earlier inspected facts going_away".split(" "),
);

/** The view after a frame; the same object for an answer, and for a change that was seen before. */
export function take(view, frame) {
  if (frame.type === "state") return fromState(frame);
  if (ANSWERS.has(frame.type) || !Number.isInteger(frame.n)) return view;
  if (view.conversation === null) throw new ProtocolError(`${frame.type} ${frame.n} before any state`);
  if (frame.n <= view.last) return view;
  if (frame.n > view.last + 1) {
    throw new ProtocolError(`${frame.type} ${frame.n} follows ${view.last}: frames are missing`);
  }
  const change = Object.hasOwn(CHANGES, frame.type) ? CHANGES[frame.type] : null; // unknown: it only counts
  return { ...view, ...(change ? change(view, frame) : {}), last: frame.n };
}

/** The view with earlier messages in front: the answer to `history`. */
export function withEarlier(view, answer) {
  const known = new Set(view.messages.map((message) => message.id));
  const added = answer.messages.filter((message) => !known.has(message.id)).map(message);
  return {
    ...view,
    messages: [...added, ...view.messages],
    earlier: answer.more ? Math.max(1, view.earlier - added.length) : 0,
    marks: { ...marksOf(added), ...view.marks },
  };
}

/** The reply that is being written, or null. */
export function writing(view) {
  const last = view.messages.at(-1);
  return last?.status === "streaming" ? last.id : null;
}

/** What a conversation is called: its title, what the user said first, or who greets. */
export function titleOf({ title, messages, persona, scene }) {
  const said = messages.find((one) => one.role === "user");
  return title || said?.text || scene?.character?.name || persona.name || messages[0]?.text || "New chat";
}

/** What to say in `hello` after a lost connection, or null. */
export function resume(view) {
  if (view.conversation === null) return null;
  return { conversation: view.conversation, stream: view.stream, last: view.last };
}

const CHANGES = {
  path: (view, { keep, messages }) => {
    const kept = upTo(view, keep);
    const added = messages.map(message);
    return { ...kept, messages: [...kept.messages, ...added], marks: { ...view.marks, ...marksOf(added) } };
  },
  started: (view, frame) => {
    const begun = message(frame.message);
    const kept = upTo(view, begun.parent);
    return { ...kept, messages: [...kept.messages, begun] };
  },
  token: (view, frame) => {
    const last = written(view, frame.message);
    return { messages: ended(view, { ...last, text: last.text + frame.text }) };
  },
  finished: (view, frame) => {
    written(view, frame.message.id);
    return { messages: ended(view, message(frame.message)) };
  },
  stopped: rest,
  failed: rest,
  suggestions: (view, frame) => ({ suggestions: frame.lines }),
  marks: (view, frame) => ({
    marks: {
      ...view.marks,
      [frame.message]: { ...view.marks[frame.message], [frame.kind]: frame.data },
    },
  }),
  memory: () => ({}), // the person's, not the conversation's
  persona: (view, frame) => ({ persona: persona(frame.persona) }),
  scene: (view, frame) => ({ scene: frame.scene }),
  decoding: (view, frame) => ({ settings: frame.settings }),
  title: (view, frame) => ({ title: frame.title }),
  deleted: () => ({ conversation: null, messages: [], earlier: 0 }),
};

function fromState(frame) {
  const messages = frame.messages.map(message);
  return {
    conversation: frame.conversation,
    stream: frame.stream,
    last: frame.n,
    title: frame.title,
    persona: persona(frame.persona),
    settings: frame.settings,
    scene: frame.scene ?? null,
    messages,
    earlier: frame.earlier ?? 0,
    suggestions: [],
    marks: marksOf(messages),
  };
}

/** Only the messages up to `keep`; suggestions were for what followed. */
function upTo(view, keep) {
  if (keep == null) return { messages: [], earlier: 0, suggestions: [] };
  const at = view.messages.findIndex((one) => one.id === keep);
  if (at < 0) throw new ProtocolError(`message ${keep} is not on the branch that is shown`);
  return { messages: view.messages.slice(0, at + 1), suggestions: [] };
}

function rest(view, frame) {
  written(view, frame.id);
  return { messages: ended(view, ...(frame.message ? [message(frame.message)] : [])) };
}

function ended(view, ...last) {
  return [...view.messages.slice(0, -1), ...last];
}

function written(view, id) {
  if (writing(view) !== id) throw new ProtocolError(`reply ${id} is not being written`);
  return view.messages.at(-1);
}

function persona(given) {
  return { name: given.name ?? "", sentences: given.sentences ?? [] };
}

/** A message with the defaults of the fields that may be left out. */
function message(given) {
  return {
    ...given,
    parent: given.parent ?? null,
    status: given.status ?? "complete",
    siblings: { index: 0, count: 1, previous: null, next: null, ...given.siblings },
    candidates: given.candidates ?? [],
    chosen: given.chosen ?? null,
  };
}

function marksOf(messages) {
  return Object.fromEntries(
    messages
      .filter((one) => one.marks && Object.keys(one.marks).length)
      .map((one) => [one.id, { ...one.marks }]),
  );
}
