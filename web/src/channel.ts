// The WebSocket to one kernel, kept up: it comes back by itself with the same session, so that the kernel's bridge
// can send what was missed meanwhile.

import { decode, encode, FrameError, type Message, SUBPROTOCOL } from "./wire.ts";

/** What a lost connection means, as the gateway's REST interface tells it. */
export type Verdict = "alive" | "gone" | "denied" | "unknown";

export type Link = "connecting" | "open" | "reconnecting" | "closed";

export interface ChannelOptions {
  /** The address, with the session in it. */
  url: string;
  onMessage: (message: Message) => void;
  /** Called at each change of the link. */
  onLink: (link: Link) => void;
  /** Called for a frame that could not be read; the connection goes on. */
  onBadFrame: (reason: string) => void;
  /** Asks what has become of the kernel; called after a loss. */
  ask: () => Promise<Verdict>;
  /** Called once when the connection will not come back by itself. */
  onEnd: (why: "gone" | "denied" | "closed") => void;
}

/** How long an attempt may take before it counts as lost, in ms. */
const OPEN_TIMEOUT = 15_000;
/** Longest wait between two attempts, in ms. */
const MAX_WAIT = 15_000;
/** Most bytes that wait in the browser to be sent; more means that the link is stuck. */
const MAX_UNSENT = 64 << 20;

/** Channel keeps one WebSocket open until `close`, or until the kernel is gone. `open` starts it. */
export class Channel {
  link: Link = "connecting";
  private socket?: WebSocket;
  private attempt = 0;
  private timer?: ReturnType<typeof setTimeout>;
  private ended = false;

  constructor(private readonly options: ChannelOptions) {}

  /** open makes the first attempt, or the next one at once when one is being waited for. */
  open(): void {
    if (this.ended || this.socket) return;
    clearTimeout(this.timer);
    const socket = new WebSocket(this.options.url, [SUBPROTOCOL]);
    this.socket = socket;
    socket.binaryType = "arraybuffer";
    this.timer = setTimeout(() => this.lost(socket, 0), OPEN_TIMEOUT);
    socket.onopen = () => {
      clearTimeout(this.timer);
      this.attempt = 0;
      this.change("open");
    };
    socket.onmessage = (event) => this.received(event.data);
    socket.onclose = (event) => this.lost(socket, event.code);
  }

  /** send hands a message to the browser; false when there is no connection now. */
  send(message: Message): boolean {
    const { socket } = this;
    if (!socket || socket.readyState !== WebSocket.OPEN || socket.bufferedAmount > MAX_UNSENT) return false;
    socket.send(encode(message));
    return true;
  }

  /** close ends the connection for good; no callback follows. */
  close(): void {
    this.ended = true;
    this.link = "closed";
    clearTimeout(this.timer);
    this.drop();
  }

  private received(data: unknown): void {
    if (!(data instanceof ArrayBuffer)) return this.options.onBadFrame("a text frame came where only binary ones belong");
    let message: Message;
    try {
      message = decode(data);
    } catch (error) {
      if (!(error instanceof FrameError)) throw error;
      return this.options.onBadFrame(error.message);
    }
    this.options.onMessage(message);
  }

  /** lost handles the end of one socket, however it came. */
  private async lost(socket: WebSocket, code: number): Promise<void> {
    if (this.socket !== socket) return;
    this.drop();
    clearTimeout(this.timer);
    this.change("reconnecting");
    const verdict = await this.options.ask().catch((): Verdict => "unknown");
    if (this.ended || this.socket) return;
    if (verdict === "gone" || verdict === "denied") return this.end(verdict);
    if (code === 1000 || code === 1001) return this.end("closed");
    const wait = Math.min(250 * 2 ** this.attempt++, MAX_WAIT);
    this.timer = setTimeout(() => this.open(), wait * (0.5 + Math.random() / 2));
  }

  private end(why: "gone" | "denied" | "closed"): void {
    this.ended = true;
    this.change("closed");
    this.options.onEnd(why);
  }

  private drop(): void {
    const { socket } = this;
    this.socket = undefined;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }

  private change(link: Link): void {
    this.link = link;
    this.options.onLink(link);
  }
}
