// The WebSocket format "v1.kernel.websocket.jupyter.org": one binary frame per message, a table of little-endian
// 64-bit offsets, then channel, header, parent header, metadata, content and buffers. Frames come from a kernel and
// are not to be trusted: every count and offset is checked before it is used.

export const SUBPROTOCOL = "v1.kernel.websocket.jupyter.org";

/** Most segments that a frame may announce; the protocol needs 6 and one more for each buffer. */
export const MAX_SEGMENTS = 4096;

export type Json = Record<string, unknown>;

export interface Header {
  msg_id: string;
  msg_type: string;
  session: string;
  username: string;
  date: string;
  version: string;
}

export interface Message {
  channel: string;
  header: Header;
  parent: Partial<Header>;
  metadata: Json;
  content: Json;
  buffers: Uint8Array[];
}

/** What decode throws; the text says which rule the frame broke. */
export class FrameError extends Error {}

const utf8 = new TextEncoder();
const strictUtf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** encode gives the frame of a message. */
export function encode(message: Message): Uint8Array<ArrayBuffer> {
  const segments = [
    utf8.encode(message.channel),
    ...[message.header, message.parent, message.metadata, message.content].map((part) => utf8.encode(JSON.stringify(part))),
    ...message.buffers,
  ];
  const count = segments.length + 1;
  let offset = 8 * (count + 1);
  const frame = new Uint8Array(segments.reduce((sum, segment) => sum + segment.length, offset));
  const view = new DataView(frame.buffer);
  view.setBigUint64(0, BigInt(count), true);
  segments.forEach((segment, i) => {
    view.setBigUint64(8 * (i + 1), BigInt(offset), true);
    frame.set(segment, offset);
    offset += segment.length;
  });
  view.setBigUint64(8 * count, BigInt(offset), true);
  return frame;
}

/** decode reads one frame. It throws FrameError on anything malformed and never reads outside the frame. */
export function decode(frame: ArrayBuffer): Message {
  const offsets = readOffsets(frame);
  const segment = (i: number) => new Uint8Array(frame, offsets[i]!, offsets[i + 1]! - offsets[i]!);
  const header = object(segment(1), "header");
  if (typeof header.msg_id !== "string" || typeof header.msg_type !== "string") {
    throw new FrameError("the header has no msg_id or msg_type");
  }
  return {
    channel: text(segment(0), "channel"),
    header: header as unknown as Header,
    parent: object(segment(2), "parent header"),
    metadata: object(segment(3), "metadata"),
    content: object(segment(4), "content"),
    buffers: offsets.slice(5, -1).map((_, i) => segment(5 + i)),
  };
}

function readOffsets(frame: ArrayBuffer): number[] {
  const view = new DataView(frame);
  if (view.byteLength < 8) throw new FrameError("the frame is shorter than its first number");
  const announced = view.getBigUint64(0, true);
  if (announced < 6n || announced > BigInt(MAX_SEGMENTS)) throw new FrameError("the number of segments is out of range");
  const count = Number(announced);
  let last = 8 * (count + 1);
  if (last > view.byteLength) throw new FrameError("the offsets do not fit into the frame");
  const offsets: number[] = [];
  for (let i = 0; i < count; i++) {
    const offset = view.getBigUint64(8 * (i + 1), true);
    if (offset < BigInt(last) || offset > BigInt(view.byteLength)) throw new FrameError("an offset is out of range");
    last = Number(offset);
    offsets.push(last);
  }
  if (offsets[0] !== 8 * (count + 1)) throw new FrameError("the first segment does not follow the offsets");
  if (last !== view.byteLength) throw new FrameError("the last offset is not the end of the frame");
  return offsets;
}

function text(bytes: Uint8Array, what: string): string {
  try {
    return strictUtf8.decode(bytes);
  } catch {
    throw new FrameError(`the ${what} is not UTF-8`);
  }
}

function object(bytes: Uint8Array, what: string): Json {
  let value: unknown;
  try {
    value = JSON.parse(text(bytes, what));
  } catch (error) {
    throw error instanceof FrameError ? error : new FrameError(`the ${what} is not JSON`);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw new FrameError(`the ${what} is not an object`);
  return value as Json;
}
