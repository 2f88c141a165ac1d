// Who is meant by which words: the links of a branch (`coref` marks, docs/protocol.md) as spans of its messages.

const NONE = Object.freeze([]);
const known = new WeakMap(); // data of a mark → message → mentions: the same object as long as nothing changed

/** The mentions of every message: a function of a message's id. What was told last about the branch counts. */
export function mentionsOf(view) {
  const last = view.messages.findLast((message) => view.marks[message.id]?.coref);
  const data = last && view.marks[last.id].coref;
  if (!data) return () => NONE;
  if (!known.has(data)) known.set(data, spread(data));
  const found = known.get(data);
  return (id) => found.get(id) ?? NONE;
}

/** message → [{ start, end, cluster, main }]; what does not read as a link counts as none. */
function spread({ clusters }) {
  const found = new Map();
  (Array.isArray(clusters) ? clusters : []).forEach(({ main, spans }, cluster) => {
    for (const [id, places] of Object.entries(spans ?? {}))
      for (const [start, end] of places) {
        if (!found.has(id)) found.set(id, []);
        found.get(id).push({ start, end, cluster, main: String(main) });
      }
  });
  return found;
}

/**
 * A text cut where mentions begin and end: [{ text, mention }]. Places are code points, as in the protocol. Where
 * mentions overlap ("my sister" in "my sister's dog") the shortest one is shown.
 */
export function pieces(text, mentions) {
  const points = [...text];
  const fit = mentions.filter(({ start, end }) => start >= 0 && start < end && end <= points.length);
  const cuts = [...new Set([0, points.length, ...fit.flatMap(({ start, end }) => [start, end])])].sort((a, b) => a - b);
  const found = [];
  for (let i = 0; i + 1 < cuts.length; i++) {
    const [from, to] = [cuts[i], cuts[i + 1]];
    const over = fit.filter(({ start, end }) => start <= from && to <= end);
    const mention = over.reduce((one, other) => (one && one.end - one.start <= other.end - other.start ? one : other), null);
    found.push({ text: points.slice(from, to).join(""), mention });
  }
  return found;
}

/** What a message's words mean, where they say it otherwise: [[words, main, cluster]], each pair once. */
export function meanings(text, mentions) {
  const points = [...text];
  const found = new Map();
  for (const { start, end, main, cluster } of mentions) {
    const words = points.slice(start, end).join("");
    if (words && words.toLowerCase() !== main.toLowerCase()) found.set(`${words}\0${main}`, [words, main, cluster]);
  }
  return [...found.values()];
}
