import assert from "node:assert/strict";
import { test } from "node:test";
import golden0 from "./testdata/v1_0buf.bin";
import golden3 from "./testdata/v1_3buf.bin";
import { decode, encode, FrameError, MAX_SEGMENTS, type Message } from "./wire.ts";

const copy = (bytes: Uint8Array) => bytes.slice().buffer as ArrayBuffer;

/** frame lays out a count, offsets and a body as they are given, right or wrong. */
function frame(count: bigint, offsets: bigint[], body: Uint8Array = new Uint8Array()): ArrayBuffer {
  const buffer = new ArrayBuffer(8 * (offsets.length + 1) + body.length);
  const view = new DataView(buffer);
  [count, ...offsets].forEach((n, i) => view.setBigUint64(8 * i, n, true));
  new Uint8Array(buffer).set(body, 8 * (offsets.length + 1));
  return buffer;
}

/** parts gives a well laid out frame of texts. */
function parts(...texts: string[]): ArrayBuffer {
  const bodies = texts.map((text) => new TextEncoder().encode(text));
  let offset = 8 * (texts.length + 2);
  const offsets = [offset, ...bodies.map((body) => (offset += body.length))].map(BigInt);
  return frame(BigInt(offsets.length), offsets, new Uint8Array(bodies.flatMap((body) => [...body])));
}

const HEADER = '{"msg_id":"m1","msg_type":"status"}';

test("golden frames decode and encode to the same bytes", () => {
  for (const [golden, channel, buffers] of [[golden0, "shell", []], [golden3, "iopub", [[1, 2, 3], [], [65, 66]]]] as const) {
    const message = decode(copy(golden));
    assert.equal(message.channel, channel);
    assert.equal(message.header.msg_id, "m1");
    assert.equal(message.header.msg_type, "comm_msg");
    assert.deepEqual(message.content, { comm_id: "c1", data: {} });
    assert.deepEqual(message.buffers.map((buffer) => [...buffer]), buffers);
    assert.deepEqual([...encode(message)], [...golden]);
  }
});

test("text outside ASCII survives", () => {
  const message: Message = { ...decode(copy(golden0)), content: { text: "žluťoučký 🐎 \u2028" } };
  assert.deepEqual(decode(copy(encode(message))).content, message.content);
});

test("malformed frames are refused", () => {
  const big = 1n << 40n;
  const hostile: Record<string, ArrayBuffer> = {
    empty: new ArrayBuffer(0),
    "half a number": new ArrayBuffer(7),
    "no segments": frame(0n, []),
    "five offsets": frame(5n, [48n, 48n, 48n, 48n, 48n]),
    "2^31 segments": frame(1n << 31n, [56n, 56n, 56n, 56n, 56n, 56n]),
    "2^64-1 segments": frame((1n << 64n) - 1n, [56n, 56n, 56n, 56n, 56n, 56n]),
    "more segments than allowed": frame(BigInt(MAX_SEGMENTS) + 1n, []),
    "offsets beyond the end": frame(100n, [56n, 56n]),
    "first offset inside the table": frame(6n, [8n, 56n, 56n, 56n, 56n, 56n]),
    "gap after the table": frame(6n, [57n, 57n, 57n, 57n, 57n, 57n], new Uint8Array(1)),
    "offset going back": frame(6n, [56n, 60n, 58n, 60n, 60n, 60n], new Uint8Array(4)),
    "offset beyond the frame": frame(6n, [56n, 56n, 56n, 56n, 56n, big]),
    "end before the frame's": frame(6n, [56n, 56n, 56n, 56n, 56n, 56n], new Uint8Array(1)),
    "empty header": parts("iopub", "", "{}", "{}", "{}"),
    "header without id": parts("iopub", '{"msg_type":"status"}', "{}", "{}", "{}"),
    "header with a number for id": parts("iopub", '{"msg_id":1,"msg_type":"status"}', "{}", "{}", "{}"),
    "header that is a list": parts("iopub", "[]", "{}", "{}", "{}"),
    "content that is null": parts("iopub", HEADER, "{}", "{}", "null"),
    "content cut off": parts("iopub", HEADER, "{}", "{}", '{"a":'),
    "metadata followed by more": parts("iopub", HEADER, "{}", "{}{}", "{}"),
  };
  for (const [what, bytes] of Object.entries(hostile)) assert.throws(() => decode(bytes), FrameError, what);
});

test("bytes that are no UTF-8 are refused", () => {
  const bytes = new Uint8Array(parts("iopub", HEADER, "{}", "{}", '{"a":"xx"}'));
  bytes[bytes.length - 3] = 0xff;
  assert.throws(() => decode(bytes.buffer), FrameError);
});

test("every truncated and every one-byte-changed golden frame decodes or throws a FrameError", () => {
  for (let length = 0; length < golden3.length; length++) assert.throws(() => decode(copy(golden3.subarray(0, length))), FrameError);
  for (let at = 0; at < golden3.length; at++) {
    for (const bit of [1, 0x80]) {
      const bytes = golden3.slice();
      bytes[at]! ^= bit;
      try {
        decode(bytes.buffer);
      } catch (error) {
        assert.ok(error instanceof FrameError, `byte ${at}: ${error}`);
      }
    }
  }
});
