// What one can do in the chat, over the socket and the store. No element of the page is touched here.

import { EMPTY, resume, take, withEarlier, writing } from "./state.js";
import { Connection, Refused } from "./socket.js";
import { token } from "./storage.js";

const LIST = 50;
const SUGGESTIONS = 3;
export const INITIAL = Object.freeze({
  view: EMPTY,
  link: { is: "connecting", tries: 0 },
  server: null, // the `ready` frame
  draft: { persona: null, settings: {}, scene: {} }, // of a chat that has not begun; no persona: the server draws one
  outbox: [], // what was typed and is not yet in the conversation: { request, text }
  live: { message: null, tokens: [] }, // tokens of the reply that is being written, or was last
  cut: new Set(), // replies that ended at their greatest length
  list: { items: [], more: false, search: "", loaded: false },
  opening: null, // the conversation that was asked for
  suggesting: false,
  learnt: null, // the last change of what is remembered of the person
  marks: { emotion: true, coref: true }, // kinds that are shown
});

export class Chat {
  #mine = new Set(); // requests of this window that bring replies
  #listTimer = null;
  #unauthorized = false;
  #onState = []; // who waits for the next `state`

  /**
   * `notify(text, kind)` tells the person something; `askToken()` asks for the server's token, and
   * whether to `keep` it; `wanted()` is the conversation that will be opened, while there is none.
   */
  constructor(options) {
    const { store, notify, askToken, autoSuggest, url, usualUser = () => null, wanted = () => null } = options;
    Object.assign(this, { store, notify, askToken, autoSuggest, usualUser });
    this.connection = new Connection({
      url,
      open: options.open ?? ((at) => new WebSocket(at)),
      place: () => this.view.conversation ?? wanted(),
      alternatives: 5,
      token: () => token.get(),
      resume: () => resume(this.view),
      frame: (frame) => this.#frame(frame),
      status: (link) => this.#status(link),
    });
  }

  get view() {
    return this.store.get().view;
  }

  get writing() {
    return writing(this.view);
  }

  // -- frames --------------------------------------------------------------------------------------

  #frame(frame) {
    const before = this.view;
    if (frame.type === "ready") this.store.set({ server: frame });
    if (frame.type === "error" && !frame.request) this.#lineless(frame);
    // The server goes on telling of a conversation that was left for one that has not begun.
    if (before.conversation === null && frame.n && frame.type !== "state") return;
    let view;
    try {
      view = take(before, frame);
    } catch (error) {
      this.store.set({ view: { ...before, stream: "unknown" } }); // so that a state comes, not more of these
      throw error;
    }
    if (view === before) return;
    this.store.set({ view });
    this.#noted(frame);
  }

  #noted(frame) {
    const { outbox, live, cut } = this.store.get();
    const messages = frame.messages ?? [];
    const arrived = new Set([...messages, frame.message].map((one) => one?.request).filter(Boolean));
    if (outbox.some((one) => arrived.has(one.request)))
      this.store.set({ outbox: outbox.filter((one) => !arrived.has(one.request)) });
    switch (frame.type) {
      case "state":
        this.store.set({ opening: null, live: INITIAL.live, suggesting: false });
        this.#onState.splice(0).forEach((done) => done());
        break;
      case "started":
        this.store.set({ live: { message: frame.message.id, tokens: [] } });
        break;
      case "token":
        this.store.set({ live: { message: live.message, tokens: [...live.tokens, frame] } });
        break;
      case "finished":
        if (frame.reason === "length") this.store.set({ cut: new Set(cut).add(frame.message.id) });
        if (this.#mine.has(frame.message.request) && this.autoSuggest()) this.suggest({ quietly: true });
        break;
      case "failed":
        this.notify(`The reply failed: ${frame.error}`, "error");
        break;
      case "suggestions":
        this.store.set({ suggesting: false });
        break;
      case "memory":
        this.store.set({ learnt: frame });
        break;
      case "deleted":
        this.startNew();
        break;
    }
    if (["path", "finished", "stopped", "title", "deleted", "persona"].includes(frame.type)) this.relist();
  }

  /** An error that answers no request. */
  #lineless(frame) {
    this.#unauthorized = frame.code === "unauthorized";
    if (this.#unauthorized) return; // the socket closes, and then a token is asked for
    if (frame.code === "not_found" && this.view.conversation) {
      this.notify("This conversation is no longer there.", "error");
      this.startNew();
    } else this.notify(frame.message, "error");
  }

  async #status(link) {
    this.store.set({ link });
    if (link.is === "open") this.list();
    if (link.is !== "refused" || !this.#unauthorized) return;
    this.#unauthorized = false;
    token.forget(); // one that is not taken any more is not to be tried for ever
    const given = await this.askToken();
    if (!given) return;
    token.set(given.token, given.keep);
    this.connection.connect();
  }

  // -- conversations -------------------------------------------------------------------------------

  startNew() {
    this.store.set({ view: EMPTY, opening: null, live: INITIAL.live, outbox: [], suggesting: false });
  }

  async open(conversation) {
    if (conversation === this.view.conversation) return;
    this.store.set({ opening: conversation, outbox: [] });
    try {
      await this.connection.request("open", { conversation });
    } catch (error) {
      this.store.set({ opening: null });
      this.#tell(error);
    }
  }

  /** Begin the conversation that the draft describes, unless one is open. */
  async begun(character = null) {
    if (this.view.conversation !== null) return;
    const { persona, settings, scene } = this.store.get().draft;
    const { books = [], user = this.usualUser(), note } = scene;
    const shown = new Promise((resolve) => this.#onState.push(resolve));
    const who = character ?? (persona && { persona });
    await this.connection.request("new", { ...who, settings, ...(user && { user }), ...(note?.text && { note }) });
    await shown; // it follows the answer
    this.relist();
    if (books.length) await this.connection.request("set_scene", { books });
    this.store.set({ draft: { ...this.store.get().draft, scene: {} } });
  }

  /** A new conversation with a character, which greets. */
  begin(character) {
    this.startNew();
    return this.begun(character);
  }

  async list({ search = this.store.get().list.search, more = false } = {}) {
    const { items } = this.store.get().list;
    const after = more ? items.at(-1)?.id : undefined;
    if (!more) this.store.set({ list: { ...this.store.get().list, search } });
    try {
      const answer = await this.connection.request("list", { search, limit: LIST, ...(after && { after }) });
      if (this.store.get().list.search !== search) return; // something else was typed meanwhile
      const all = more ? [...items, ...answer.items] : answer.items;
      this.store.set({ list: { items: all, more: Boolean(answer.more), search, loaded: true } });
    } catch (error) {
      this.#tell(error);
    }
  }

  relist() {
    clearTimeout(this.#listTimer);
    this.#listTimer = setTimeout(() => this.connection.ready && this.list(), 250);
  }

  async earlier() {
    const [first] = this.view.messages;
    if (!first || !this.view.earlier) return;
    try {
      const answer = await this.connection.request("history", { before: first.id });
      if (this.view.messages[0]?.id === first.id) this.store.set({ view: withEarlier(this.view, answer) });
    } catch (error) {
      this.#tell(error);
    }
  }

  // -- inside a conversation -----------------------------------------------------------------------

  /** Say something. False when it was refused: then the text is still the person's to keep. */
  async send(text) {
    const name = this.#reply();
    this.store.set({ outbox: [...this.store.get().outbox, { request: name, text }] });
    try {
      await this.begun();
      const after = this.view.messages.at(-1)?.id;
      await this.connection.request("send", { text, ...(after && { after }) }, name);
      return true;
    } catch (error) {
      this.store.set({ outbox: this.store.get().outbox.filter((one) => one.request !== name) });
      this.#tell(error);
      return false;
    }
  }

  #reply() {
    const name = crypto.getRandomValues(new Uint32Array(4)).join("-");
    this.#mine.add(name);
    return name;
  }

  /** Ask for something that needs no more than an answer; false when it was refused. */
  async do(type, fields = {}) {
    const brings = ["regenerate", "edit", "continue", "speak"].includes(type);
    try {
      await this.connection.request(type, fields, brings ? this.#reply() : undefined);
      return true;
    } catch (error) {
      this.#tell(error);
      return false;
    }
  }

  /** Lines that the person might say; with a hint those that begin with it. */
  async suggest({ quietly = false, hint = "" } = {}) {
    try {
      await this.begun();
      this.store.set({ suggesting: true });
      await this.connection.request("suggest", { count: SUGGESTIONS, ...(hint && { hint }) });
    } catch (error) {
      this.store.set({ suggesting: false });
      if (!quietly) this.#tell(error);
    }
  }

  /** The persona from the next reply on. Rejects with the server's line. */
  async setPersona(persona) {
    if (this.view.conversation === null)
      this.store.set({ draft: { ...this.store.get().draft, persona } });
    else await this.connection.request("set_persona", { persona });
  }

  /** Some decoding settings from the next reply on. Rejects with the server's line. */
  async setDecoding(settings) {
    const { draft } = this.store.get();
    if (this.view.conversation === null)
      this.store.set({ draft: { ...draft, settings: { ...draft.settings, ...settings } } });
    else await this.connection.request("set_decoding", { settings });
  }

  /** The user, the author's note, lorebooks from the next reply on. Rejects with the server's line. */
  async setScene(given) {
    const { draft } = this.store.get();
    if (this.view.conversation === null) this.store.set({ draft: { ...draft, scene: { ...draft.scene, ...given } } });
    else await this.connection.request("set_scene", given);
  }

  /** What is in the conversation, or is to be in it. */
  get scene() {
    const { view, draft } = this.store.get();
    return view.conversation === null ? { user: this.usualUser(), ...draft.scene } : (view.scene ?? EMPTY);
  }

  /** The exact input of a reply. Rejects with the server's line. */
  inspect(message) {
    return this.connection.request("inspect", { message });
  }

  /** The persona that is shown: of the conversation, or of the draft. */
  get persona() {
    const { view, draft } = this.store.get();
    return view.conversation === null ? (draft.persona ?? EMPTY.persona) : view.persona;
  }

  /** The decoding settings in use, all of them. */
  get settings() {
    const { view, draft, server } = this.store.get();
    return { ...server?.settings, ...(view.conversation === null ? draft.settings : view.settings) };
  }

  #tell(error) {
    if (!(error instanceof Refused)) throw error;
    this.notify(error.line, "error");
  }
}
