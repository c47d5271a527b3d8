// One cell on one kernel: what was asked, what came back, whether the kernel is busy, and what it asks for.

import { uuid } from "./ids.ts";
import { Output } from "./output.ts";
import { asObject, joined } from "./rich.ts";
import type { Header, Json, Message } from "./wire.ts";

export type KernelState = "starting" | "idle" | "busy" | "restarting" | "dead" | "unknown";

const STATES: readonly string[] = ["starting", "idle", "busy", "restarting", "dead"];
/** Requests that clients send by themselves: they do not make a kernel look busy. */
const QUIET: readonly (string | undefined)[] = ["kernel_info_request", "comm_info_request"];
/** Most requests that are followed as busy at once. */
const MAX_BUSY = 1000;
/** Longest question of input() that is shown, in UTF-16 units. */
const MAX_QUESTION = 2000;

/** Longest reason of a kernel's end that is kept, in UTF-16 units. */
const MAX_REASON = 500;

/** A question that running code asks with input() or getpass(). */
export interface Question {
  header: Header;
  text: string;
  password: boolean;
}

/** The run that has not ended yet. */
export interface Run {
  id: string;
  /** When it was started, in ms since the epoch. */
  since: number;
  /** The connection that it was sent on, 0 when it was not sent yet. */
  connection: number;
  replied: boolean;
  idle: boolean;
}

/** How the last run ended; "lost" means that no answer will come. */
export interface Ended {
  how: "ok" | "error" | "aborted" | "lost";
  ms: number;
  error?: string;
}

export interface CellOptions {
  /** The id of this client's session on the kernel; the same after each reconnect. */
  session: string;
  username: string;
  /** Hands a message to the connection; false when there is none now. */
  send: (message: Message) => boolean;
  /** Called after each change of anything that can be seen. */
  changed: () => void;
  now?: () => number;
}

/** Cell follows the protocol; it knows nothing of sockets and of the page. */
export class Cell {
  readonly output = new Output();
  kernel: KernelState = "unknown";
  count?: number;
  running?: Run;
  ended?: Ended;
  question?: Question;
  /** Why the kernel has ended; empty while it has not. */
  epitaph = "";
  /** What was said directly before the kernel was reported dead: the reason, in the words of its bridge. */
  reason = "";
  private unsent?: Message;
  /** While a restart is under way that the person asked for. */
  private held = false;
  private error?: string;
  /** The text of the last message, if that was error output. */
  private said = "";
  private busy = new Set<string>();
  private connection = 0;
  private probe = "";
  private readonly now: () => number;

  constructor(private readonly options: CellOptions) {
    this.now = options.now ?? Date.now;
  }

  /** run clears the output and sends code; without a connection it is sent as soon as there is one. */
  run(code: string): void {
    if (this.running) return;
    this.output.clear(false);
    this.ended = this.error = this.count = undefined;
    this.unsent = this.message("shell", "execute_request", {
      code, silent: false, store_history: true, user_expressions: {}, allow_stdin: true, stop_on_error: true,
    });
    this.running = { id: this.unsent.header.msg_id, since: this.now(), connection: 0, replied: false, idle: false };
    if (this.connection > 0) this.flush();
    this.options.changed();
  }

  /** resume takes up a run that an earlier load of the page had sent in the same session. */
  resume(id: string, since: number): void {
    this.connection = 1;
    this.running = { id, since, connection: 1, replied: false, idle: false };
    this.output.note("Output from before the page was loaded again is not shown.");
  }

  /** answer replies to the question; false when there is no connection to send it on. */
  answer(value: string): boolean {
    const question = this.question;
    if (!question) return false;
    const message = this.message("stdin", "input_reply", { value });
    message.parent = question.header;
    if (!this.options.send(message)) return false;
    this.question = undefined;
    this.output.stream("stdout", `${question.text}${question.password ? "········" : value}\n`);
    this.options.changed();
    return true;
  }

  /**
   * connected is called each time the connection is there. The kernel answers requests in order, so the answer to
   * a small one sent now tells whether a run sent on an earlier connection can still be answered.
   */
  connected(): void {
    this.connection++;
    const message = this.message("shell", "kernel_info_request", {});
    this.probe = this.options.send(message) ? message.header.msg_id : "";
    this.flush();
    this.options.changed();
  }

  /** restarting notes that the kernel's process is being replaced: whatever ran has ended. */
  restarting(): void {
    if (this.kernel !== "restarting" && !this.held) this.output.note("The kernel is restarting. Its variables are gone.");
    this.kernel = "restarting";
    this.busy.clear();
    if (this.running?.connection) this.end("lost");
    this.options.changed();
  }

  /** hold begins a restart that the person asked for: from now on nothing is sent to the process that goes away. */
  hold(): void {
    if (this.held) return;
    this.restarting();
    this.held = true;
  }

  /** release ends that restart with the kernel's state, or with none if it failed; code run meanwhile is sent now. */
  release(state?: string): void {
    this.held = false;
    if (state !== undefined && !this.running) this.output.note("The kernel was restarted.");
    if (this.kernel === "restarting") this.kernel = "unknown";
    this.observed(state ?? "");
    this.flush();
    this.options.changed();
  }

  /** gone notes that the kernel has ended for good, and why. */
  gone(why: string): void {
    if (this.kernel === "dead") return;
    this.kernel = "dead";
    this.epitaph = why;
    this.unsent = undefined;
    if (this.running) this.end("lost");
    this.options.changed();
  }

  /** observed takes over a state that the list of kernels reported, while nothing better is known. */
  observed(state: string): void {
    if (this.held) return;
    if (this.kernel !== "unknown" && this.kernel !== "starting" && this.kernel !== "restarting") return;
    if (!STATES.includes(state) || state === "dead" || state === this.kernel) return;
    this.kernel = state as KernelState;
    this.options.changed();
  }

  /** receive handles one message from the kernel. */
  receive(message: Message): void {
    const type = message.header.msg_type;
    if (message.channel === "iopub") this.listen(type, message.content);
    if (message.channel === "iopub" && type === "status") this.status(message);
    else if (message.channel === "iopub" && this.mine(message)) this.shown(type, message);
    else if (message.channel === "stdin" && type === "input_request") this.ask(message);
    else if (message.channel === "shell") this.reply(type, message);
    this.options.changed();
  }

  /** listen keeps what is said directly before "dead", to whomever it is said. */
  private listen(type: string, content: Json): void {
    if (type === "status" && content.execution_state === "dead") this.reason = this.said;
    this.said = type === "stream" && content.name === "stderr" ? joined(content.text).trim().slice(0, MAX_REASON) : "";
  }

  /** mine says whether a message belongs to this client's requests, or to nobody's. */
  private mine({ parent }: Message): boolean {
    return !parent.msg_id || parent.session === this.options.session;
  }

  private status({ content, parent }: Message): void {
    const state = content.execution_state;
    if (typeof state !== "string" || !STATES.includes(state)) return;
    const id = parent.msg_id ?? "";
    if (state === "restarting") return this.restarting();
    if (state === "dead") return; // the connection finds out why and says it
    if (state === "busy" && this.busy.size < MAX_BUSY && !QUIET.includes(parent.msg_type)) this.busy.add(id);
    if (state === "idle") this.busy.delete(id);
    if (state === "starting") this.busy.clear();
    if (state === "starting" || this.kernel !== "busy" || !QUIET.includes(parent.msg_type)) {
      this.kernel = state === "starting" ? state : this.busy.size > 0 ? "busy" : "idle";
    }
    if (state === "idle" && this.running?.id === id) {
      this.running.idle = true;
      if (this.running.replied) this.end(this.error === undefined ? "ok" : "error");
    }
  }

  private shown(type: string, { content, parent }: Message): void {
    if (type === "stream") {
      const name = content.name === "stderr" ? "stderr" : "stdout";
      if (typeof content.text === "string") this.output.stream(name, content.text);
    } else if (type === "execute_result" || type === "display_data") {
      this.output.rich(type === "execute_result" ? "result" : "display", content);
    } else if (type === "update_display_data") {
      this.output.update(content);
    } else if (type === "error") {
      this.output.error(content);
      this.error = joined(content.ename) || "error";
    } else if (type === "clear_output") {
      this.output.clear(content.wait === true);
    } else if (type === "execute_input" && parent.msg_id === this.running?.id) {
      if (typeof content.execution_count === "number") this.count = content.execution_count;
    }
  }

  private ask({ header, content, parent }: Message): void {
    if (parent.session !== this.options.session) return;
    const text = typeof content.prompt === "string" ? content.prompt.slice(0, MAX_QUESTION) : "";
    this.question = { header, text, password: content.password === true };
  }

  private reply(type: string, { content, parent }: Message): void {
    if (type === "kernel_info_reply" && parent.msg_id === this.probe) this.probed();
    if (type !== "execute_reply" || !this.running || parent.msg_id !== this.running.id) return;
    if (typeof content.execution_count === "number") this.count = content.execution_count;
    this.question = undefined;
    this.pages(content);
    if (content.status === "aborted") return this.end("aborted");
    if (content.status === "error") this.error ??= joined(content.ename) || "error";
    this.running.replied = true;
    if (this.running.idle) this.end(this.error === undefined ? "ok" : "error");
  }

  /** probed is called when the kernel has answered all that was sent before the current connection. */
  private probed(): void {
    if (this.busy.size === 0) this.kernel = "idle";
    const run = this.running;
    if (!run?.connection || run.connection === this.connection) return;
    if (run.replied) return this.end(this.error === undefined ? "ok" : "error");
    this.output.note("No answer to this run will come: the connection or the kernel was lost on the way.");
    this.end("lost");
  }

  /** pages shows what "obj?" puts into a pager. */
  private pages(content: Json): void {
    if (!Array.isArray(content.payload)) return;
    for (const payload of content.payload.slice(0, 10).map(asObject)) {
      if (payload.source === "page") this.output.rich("display", payload);
    }
  }

  private end(how: Ended["how"]): void {
    this.ended = { how, ms: this.now() - this.running!.since, error: this.error };
    this.running = this.question = undefined;
  }

  private flush(): void {
    if (this.held || !this.unsent || !this.running || !this.options.send(this.unsent)) return;
    this.running.connection = this.connection;
    this.unsent = undefined;
  }

  private message(channel: string, type: string, content: Json): Message {
    const { session, username } = this.options;
    const header = { msg_id: uuid(), msg_type: type, session, username, date: new Date(this.now()).toISOString(), version: "5.4" };
    return { channel, header, parent: {}, metadata: {}, content, buffers: [] };
  }
}
