// The chat socket: hello, requests with answers, frames handed on, and coming back after a lost connection.
// Requests that were not answered are sent again under their old names, so each is done once (docs/protocol.md).

import { delay } from "./backoff.js";

export const VERSION = 1;
const PING_EVERY = 20_000; // ms; nothing heard for that long: ask
const SILENCE = 10_000; // no answer for that long: the connection is gone
const HANDSHAKE = 10_000; // from opening to `ready`
const CALM = 5_000; // a connection that holds so long is a good one
const MOST_REPEATS = 20; // of a request that the server had no room for

const LINES = {
  conflict: "The conversation has moved on, perhaps in another window. Look, then try again.",
  internal: "The server failed at this. Try again.",
};

/** An `error` frame as the answer to a request. */
export class Refused extends Error {
  constructor(frame) {
    super(frame.message);
    this.code = frame.code;
    this.field = frame.field ?? null;
  }

  /** What to tell the reader: the server's line, where it is no code for all of a kind. */
  get line() {
    return LINES[this.code] ?? this.message;
  }
}

export class Connection {
  #socket = null;
  #waiting = new Map(); // request → { frame, resolve, reject, tries, timer }
  #tries = 0;
  #timer = null; // of the next try
  #watch = null; // of silence
  #calm = null; // of forgetting the tries
  #pause = 0; // ms that the server asked for
  #ready = false;
  #closed = false;

  /**
   * `open(url)` makes a WebSocket; `resume()` and `token()` are asked for at every hello, and `place()` for the
   * conversation that the URL names: a proxy with several doors behind it may choose by it. `frame(frame)` gets
   * every frame of the server, answers too; `status(status)` what became of the connection:
   * {is: "connecting" | "open" | "lost" | "refused", at?: time of the next try, code?, reason?}.
   */
  constructor({ url, open, resume, token, frame, status, place, alternatives = 0, clock = globalThis }) {
    Object.assign(this, { url, open, resume, token, frame, status, place, alternatives, clock });
  }

  get ready() {
    return this.#ready;
  }

  connect() {
    this.#closed = false;
    this.clock.clearTimeout(this.#timer);
    if (this.#socket) return;
    this.status({ is: "connecting", tries: this.#tries });
    const url = new URL(this.url);
    const place = this.place();
    if (place) url.searchParams.set("conversation", place);
    const socket = this.open(url);
    this.#socket = socket;
    socket.onopen = () => this.#hello();
    socket.onmessage = ({ data }) => socket === this.#socket && this.#receive(data);
    socket.onclose = ({ code, reason }) => socket === this.#socket && this.#lost(code, reason);
    this.#expect(HANDSHAKE);
  }

  /** Ask for something; resolves with the answer, rejects with Refused. Without a connection it waits for one. */
  request(type, fields = {}, name = requestName()) {
    return new Promise((resolve, reject) => {
      const entry = { frame: { type, request: name, ...fields }, resolve, reject, tries: 0, timer: null };
      this.#waiting.set(name, entry);
      if (this.#ready) this.#send(entry.frame);
    });
  }

  /** Give up this connection and make another at once, as after frames that do not fit. */
  again() {
    this.#drop();
    this.#tries += 1; // never in a tight circle
    this.#later(delay(this.#tries));
  }

  /** The reason to wait has gone (the network is back, somebody looks at the page): try now. */
  hurry() {
    if (!this.#socket && !this.#closed) this.connect();
  }

  close() {
    this.#closed = true;
    this.#drop();
    this.clock.clearTimeout(this.#timer);
  }

  #hello() {
    const hello = { type: "hello", version: VERSION };
    const token = this.token();
    if (token) hello.token = token;
    const resume = this.resume();
    if (resume) hello.resume = resume;
    if (this.alternatives) hello.alternatives = this.alternatives;
    this.#send(hello);
  }

  #receive(data) {
    let frame;
    try {
      frame = JSON.parse(data);
    } catch {
      return this.again();
    }
    if (frame === null || typeof frame !== "object") return this.again();
    this.#expect(PING_EVERY, true);
    if (frame.type === "ready") this.#begin();
    if (frame.type === "going_away") this.#pause = frame.retry * 1000;
    try {
      this.frame(frame);
    } catch (error) {
      console.warn(`connecting again: ${error.message}`);
      return this.again();
    }
    this.#answer(frame);
  }

  #begin() {
    this.#ready = true;
    this.#pause = 0;
    this.#calm = this.clock.setTimeout(() => (this.#tries = 0), CALM);
    this.status({ is: "open" });
    for (const { frame, timer } of this.#waiting.values()) if (timer === null) this.#send(frame);
  }

  #answer(frame) {
    const entry = this.#waiting.get(frame.request);
    if (!entry) return;
    if (frame.type === "overloaded" && entry.tries < MOST_REPEATS) {
      entry.tries += 1;
      entry.timer = this.clock.setTimeout(() => {
        entry.timer = null;
        if (this.#ready) this.#send(entry.frame);
      }, frame.retry * 1000);
      return;
    }
    this.#waiting.delete(frame.request);
    if (frame.type === "error") entry.reject(new Refused(frame));
    else if (frame.type === "overloaded")
      entry.reject(new Refused({ code: "overloaded", message: "The server is busy. Try again later." }));
    else entry.resolve(frame);
  }

  #send(frame) {
    if (this.#socket?.readyState === 1) this.#socket.send(JSON.stringify(frame));
  }

  /** Something must be heard within `ms`; after that long a silence a ping is sent first, if one may be. */
  #expect(ms, ask = false) {
    this.clock.clearTimeout(this.#watch);
    this.#watch = this.clock.setTimeout(() => {
      if (!ask) return this.again();
      this.#send({ type: "ping", request: requestName() });
      this.#expect(SILENCE);
    }, ms);
  }

  #lost(code, reason) {
    this.#drop();
    if (this.#closed) return;
    if (code === 1008) {
      this.#closed = true;
      this.status({ is: "refused", code, reason });
      return;
    }
    const wait = Math.max(delay(this.#tries), this.#pause);
    this.#tries += 1;
    this.#pause = 0;
    this.#later(wait);
  }

  #later(ms) {
    this.clock.clearTimeout(this.#timer);
    this.status({ is: "lost", at: Date.now() + ms, tries: this.#tries });
    this.#timer = this.clock.setTimeout(() => this.connect(), ms);
  }

  #drop() {
    const socket = this.#socket;
    this.#socket = null;
    this.#ready = false;
    this.clock.clearTimeout(this.#watch);
    this.clock.clearTimeout(this.#calm);
    if (socket) {
      socket.onclose = socket.onmessage = socket.onopen = null;
      if (socket.readyState < 2) socket.close(1000);
    }
  }
}

/** A name for a request that nobody else uses. `crypto.randomUUID` is there in secure contexts only. */
export function requestName() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
