import assert from "node:assert/strict";
import { test } from "node:test";

import { delay } from "../js/backoff.js";
import { Connection, Refused } from "../js/socket.js";

class Clock {
  now = 0;
  timers = new Map();
  #ids = 0;
  setTimeout = (f, ms) => {
    this.timers.set(++this.#ids, { f, at: this.now + ms });
    return this.#ids;
  };
  clearTimeout = (id) => this.timers.delete(id);
  pass(ms) {
    const end = this.now + ms;
    for (;;) {
      const due = [...this.timers].filter(([, timer]) => timer.at <= end).sort((a, b) => a[1].at - b[1].at)[0];
      if (!due) break;
      this.timers.delete(due[0]);
      this.now = due[1].at;
      due[1].f();
    }
    this.now = end;
  }
}

class Socket {
  readyState = 0;
  sent = [];
  send(text) {
    this.sent.push(JSON.parse(text));
  }
  close(code) {
    this.readyState = 3;
    this.closed = code;
  }
  opened() {
    this.readyState = 1;
    this.onopen();
  }
  get(frame) {
    this.onmessage({ data: typeof frame === "string" ? frame : JSON.stringify(frame) });
  }
  lost(code = 1006) {
    this.readyState = 3;
    this.onclose({ code, reason: "" });
  }
}

function connected({ resume = () => null, token = () => null, frame = () => {}, place = () => null } = {}) {
  const clock = new Clock();
  const sockets = [];
  const urls = [];
  const statuses = [];
  const connection = new Connection({
    url: "ws://x/chat",
    open: (url) => urls.push(String(url)) && sockets.push(new Socket()) && sockets.at(-1),
    place,
    resume,
    token,
    frame,
    status: (status) => statuses.push(status),
    alternatives: 5,
    clock,
  });
  connection.connect();
  const ready = () => {
    sockets.at(-1).opened();
    sockets.at(-1).get({ type: "ready" });
  };
  return { clock, sockets, urls, statuses, connection, ready };
}

test("the URL names the conversation, that a proxy may choose a door by it", () => {
  let open = null;
  const { clock, sockets, urls, ready } = connected({ place: () => open });
  ready();
  assert.deepEqual(urls, ["ws://x/chat"]);
  open = "a&b";
  sockets[0].lost();
  clock.pass(500); // the longest that the first pause may be
  assert.deepEqual(urls.slice(1), ["ws://x/chat?conversation=a%26b"]);
});

test("hello comes first, with token, alternatives and where to go on", () => {
  const place = { conversation: "c", stream: "s", last: 3 };
  const { sockets } = connected({ resume: () => place, token: () => "secret" });
  sockets[0].opened();
  const hello = { type: "hello", version: 1, token: "secret", resume: place, alternatives: 5 };
  assert.deepEqual(sockets[0].sent, [hello]);
});

test("a request waits for ready, and resolves with its answer", async () => {
  const { connection, sockets } = connected();
  const answer = connection.request("send", { text: "hi" });
  sockets[0].opened();
  assert.equal(sockets[0].sent.length, 1);
  sockets[0].get({ type: "ready" });
  const sent = sockets[0].sent[1];
  assert.match(sent.request, /^[\w-]{1,64}$/);
  assert.deepEqual([sent.type, sent.text], ["send", "hi"]);
  sockets[0].get({ type: "accepted", request: sent.request, message: "m1" });
  assert.equal((await answer).message, "m1");
});

test("what was not answered is sent again under its old name; what was answered is not", async () => {
  const { connection, sockets, ready, clock, statuses } = connected();
  ready();
  const first = connection.request("suggest", {});
  connection.request("send", { text: "hi" });
  const [, one, two] = sockets[0].sent;
  sockets[0].get({ type: "accepted", request: one.request });
  await first;
  sockets[0].lost();
  assert.equal(statuses.at(-1).is, "lost");
  clock.pass(1000);
  assert.equal(sockets.length, 2);
  ready();
  assert.deepEqual(sockets[1].sent.slice(1), [two]);
});

test("an error rejects with code and field", async () => {
  const { connection, sockets, ready } = connected();
  ready();
  const answer = connection.request("set_decoding", { settings: { top_p: 2 } });
  const { request } = sockets[0].sent[1];
  sockets[0].get({ type: "error", code: "bad_field", field: "x.y", message: "no", request });
  await assert.rejects(answer, (error) => {
    assert.ok(error instanceof Refused);
    assert.deepEqual([error.code, error.field, error.message], ["bad_field", "x.y", "no"]);
    return true;
  });
});

test("overloaded: the same request again, after the seconds that were named", async () => {
  const { connection, sockets, ready, clock } = connected();
  ready();
  const answer = connection.request("send", { text: "hi" });
  const [, sent] = sockets[0].sent;
  sockets[0].get({ type: "overloaded", reason: "queue", retry: 2.5, request: sent.request });
  clock.pass(2400);
  assert.equal(sockets[0].sent.length, 2);
  clock.pass(200);
  assert.deepEqual(sockets[0].sent[2], sent);
  sockets[0].get({ type: "accepted", request: sent.request });
  await answer;
});

test("a silent connection is asked, then given up", () => {
  const { sockets, ready, clock, statuses } = connected();
  ready();
  clock.pass(20_000);
  assert.equal(sockets[0].sent.at(-1).type, "ping");
  sockets[0].get({ type: "pong", request: sockets[0].sent.at(-1).request });
  clock.pass(20_000);
  assert.equal(sockets[0].closed, undefined);
  clock.pass(10_000);
  assert.equal(sockets[0].closed, 1000);
  assert.equal(statuses.at(-1).is, "lost");
});

test("frames that do not fit make a new connection, after a pause", () => {
  const throwing = (frame) => {
    if (frame.type === "token") throw new Error("frames are missing");
  };
  const { sockets, ready, clock } = connected({ frame: throwing });
  const warn = console.warn;
  console.warn = () => {};
  ready();
  sockets[0].get({ type: "token", n: 9 });
  console.warn = warn;
  assert.equal(sockets[0].closed, 1000);
  assert.equal(sockets.length, 1);
  clock.pass(2000);
  assert.equal(sockets.length, 2);
});

test("no JSON makes a new connection", () => {
  const { sockets, ready, clock } = connected();
  ready();
  sockets[0].get("{");
  clock.pass(2000);
  assert.equal(sockets.length, 2);
});

test("tries grow rarer; somebody who looks need not wait", () => {
  const { connection, sockets, clock, statuses } = connected();
  for (let i = 0; i < 8; i++) {
    sockets.at(-1).lost();
    const wait = statuses.at(-1).at - Date.now();
    assert.ok(wait <= 15_000 + 5 && wait >= Math.min(15_000, 500 * 2 ** i) / 2 - 50, `${i}: ${wait}`);
    if (i === 7) break;
    clock.pass(wait + 50);
    assert.equal(sockets.length, i + 2);
  }
  connection.hurry();
  assert.equal(sockets.length, 9);
});

test("a server that goes away says when to come again", () => {
  const { sockets, ready, clock } = connected();
  ready();
  sockets[0].get({ type: "going_away", reason: "shutdown", retry: 5 });
  sockets[0].lost(1001);
  clock.pass(4900);
  assert.equal(sockets.length, 1);
  clock.pass(200);
  assert.equal(sockets.length, 2);
});

test("1008 is final until the person does something", () => {
  const { connection, sockets, clock, statuses } = connected();
  sockets[0].opened();
  sockets[0].lost(1008);
  assert.equal(statuses.at(-1).is, "refused");
  clock.pass(60_000);
  connection.hurry();
  assert.equal(sockets.length, 1);
  connection.connect();
  assert.equal(sockets.length, 2);
});

test("a connection that does not come about is tried again", () => {
  const { sockets, clock } = connected();
  clock.pass(12_000);
  assert.equal(sockets[0].closed, 1000);
  assert.equal(sockets.length, 2);
});

test("the delay is bounded and left to chance", () => {
  assert.equal(delay(0, () => 0), 250);
  assert.equal(delay(0, () => 1), 500);
  assert.equal(delay(50, () => 1), 15_000);
});
