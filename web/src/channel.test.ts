import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { Channel, type Verdict } from "./channel.ts";
import golden from "./testdata/v1_0buf.bin";

/** Socket stands in for the browser's WebSocket. */
class Socket {
  static OPEN = 1;
  static made: Socket[] = [];
  readyState = 0;
  bufferedAmount = 0;
  binaryType = "";
  sent: unknown[] = [];
  onopen?: (() => void) | null;
  onmessage?: ((event: { data: unknown }) => void) | null;
  onclose?: ((event: { code: number }) => void) | null;

  constructor(
    readonly url: string,
    readonly protocols: string[],
  ) {
    Socket.made.push(this);
  }

  send(data: unknown): void {
    this.sent.push(data);
  }

  close(): void {
    this.readyState = 3;
  }

  opened(): void {
    this.readyState = 1;
    this.onopen?.();
  }

  closed(code: number): void {
    this.readyState = 3;
    this.onclose?.({ code });
  }
}

interface Trial {
  channel: Channel;
  events: string[];
  verdict: Verdict;
}

/** trial makes a channel with a WebSocket and timers that the test drives. */
async function trial(body: (trial: Trial) => Promise<void>): Promise<void> {
  Socket.made = [];
  Object.assign(globalThis, { WebSocket: Socket });
  mock.timers.enable({ apis: ["setTimeout"] });
  const events: string[] = [];
  const made: Trial = { events, verdict: "alive", channel: undefined as unknown as Channel };
  made.channel = new Channel({
    url: "ws://host/api/kernels/k/channels?session_id=s",
    onMessage: (message) => events.push(message.header.msg_type),
    onLink: (link) => events.push(link),
    onBadFrame: () => events.push("bad"),
    ask: async () => made.verdict,
    onEnd: (why) => events.push(`end: ${why}`),
  });
  try {
    await body(made);
  } finally {
    mock.timers.reset();
  }
}

/** settled lets what was promised happen. */
const settled = () => new Promise<void>((resolve) => setImmediate(resolve));
declare function setImmediate(then: () => void): void;

test("offers v1 and hands on messages; frames that cannot be read do not end it", () =>
  trial(async ({ channel, events }) => {
    channel.open();
    const [socket] = Socket.made as [Socket];
    assert.deepEqual(socket.protocols, ["v1.kernel.websocket.jupyter.org"]);
    socket.opened();
    socket.onmessage!({ data: golden.slice().buffer });
    socket.onmessage!({ data: new ArrayBuffer(3) });
    socket.onmessage!({ data: "text" });
    assert.deepEqual(events, ["open", "comm_msg", "bad", "bad"]);
  }));

test("comes back with the same session after any code but 1000 and 1001", async () => {
  for (const code of [1006, 1008, 1011, 1012, 1013, 4000]) {
    await trial(async ({ channel, events }) => {
      channel.open();
      Socket.made[0]!.opened();
      Socket.made[0]!.closed(code);
      await settled();
      mock.timers.tick(250);
      assert.equal(Socket.made.length, 2);
      assert.equal(Socket.made[1]!.url, Socket.made[0]!.url);
      Socket.made[1]!.opened();
      assert.deepEqual(events, ["open", "reconnecting", "open"]);
    });
  }
});

test("stays away after 1000 and 1001, and when the kernel is gone or refused", async () => {
  for (const [code, verdict, why] of [[1000, "alive", "closed"], [1001, "unknown", "closed"], [1006, "gone", "gone"], [1000, "gone", "gone"], [1006, "denied", "denied"]] as const) {
    await trial(async (made) => {
      made.verdict = verdict;
      made.channel.open();
      Socket.made[0]!.opened();
      Socket.made[0]!.closed(code);
      await settled();
      mock.timers.tick(60_000);
      assert.equal(Socket.made.length, 1);
      assert.equal(made.events.at(-1), `end: ${why}`);
    });
  }
});

test("waits longer after each failure, but not for ever, and not when told to hurry", () =>
  trial(async (made) => {
    made.verdict = "unknown";
    made.channel.open();
    for (let i = 0; i < 20; i++) {
      Socket.made.at(-1)!.closed(1006);
      await settled();
      mock.timers.tick(15_000);
      assert.equal(Socket.made.length, i + 2);
    }
    Socket.made.at(-1)!.closed(1006);
    await settled();
    made.channel.open();
    assert.equal(Socket.made.length, 22);
  }));

test("an attempt that hangs is given up", () =>
  trial(async ({ channel }) => {
    channel.open();
    mock.timers.tick(15_000);
    await settled();
    mock.timers.tick(250);
    assert.equal(Socket.made.length, 2);
    Socket.made[0]!.opened();
    assert.equal(channel.link, "reconnecting");
  }));

test("sends only on an open link that is not stuck", () =>
  trial(async ({ channel }) => {
    const header = { msg_id: "m", msg_type: "t", session: "s", username: "u", date: "", version: "5.4" };
    const message = { channel: "shell", header, parent: {}, metadata: {}, content: {}, buffers: [] };
    channel.open();
    const [socket] = Socket.made as [Socket];
    assert.equal(channel.send(message), false);
    socket.opened();
    assert.equal(channel.send(message), true);
    socket.bufferedAmount = 2 ** 31;
    assert.equal(channel.send(message), false);
    assert.equal(socket.sent.length, 1);
    channel.close();
    assert.equal(channel.send(message), false);
    socket.closed(1006);
    await settled();
    mock.timers.tick(60_000);
    assert.equal(Socket.made.length, 1);
  }));
