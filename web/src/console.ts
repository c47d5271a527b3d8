// The open kernel: its cell, what the cell put out, and what the kernel asks.

import type { Api, Kernel, Spec } from "./api.ts";
import { ApiError } from "./api.ts";
import { Cell, type Ended } from "./cell.ts";
import { Channel, type Link, type Verdict } from "./channel.ts";
import { Editor } from "./editor.ts";
import { h, icon, setState, setText } from "./dom.ts";
import { OutputView } from "./outputview.ts";
import { uuid } from "./ids.ts";
import { took } from "./words.ts";

/** Shortest time between two renderings, in ms. */
const RENDER_EVERY = 80;

const STATE_WORDS: Record<string, string> = { unknown: "connecting…", starting: "starting…", restarting: "restarting…", dead: "ended" };
const LINK_WORDS: Record<Link, string> = { connecting: "connecting…", open: "", reconnecting: "reconnecting…", closed: "disconnected" };

/** What a console keeps over a reload of the page. */
export interface Saved {
  session: string;
  code: string;
  run?: { id: string; since: number };
}

/** What a console asks of the page. */
export interface Actions {
  interrupt(id: string): void;
  restart(id: string): void;
  stop(id: string): void;
  /** Starts a new kernel of the same kind with this code in its cell. */
  again(kernel: Kernel, code: string): void;
  close(id: string): void;
  denied(): void;
  /** Called when the connection is there. */
  connected(): void;
  /** Called when the kernel's state changed as its own messages tell. */
  state(id: string, state: string): void;
}

/** Console is one kernel's part of the page. */
export class Console {
  readonly element: HTMLElement;
  readonly cell: Cell;
  private readonly session: string;
  private readonly editor: Editor;
  private readonly output: OutputView;
  private readonly status = h("p", { class: "status", role: "status" });
  private readonly clock = h("span", { class: "clock", "aria-hidden": "true" });
  private readonly pill = h("span", { class: "pill" });
  private readonly epitaph = h("p", { role: "status" });
  private readonly runButton = h("button", { class: "button primary", type: "submit" }, icon("run"), "Run");
  private readonly actions: HTMLElement;
  private readonly ended: HTMLElement;
  private readonly question = h("form", { class: "question", hidden: true, submit: (event: Event) => this.answer(event) });
  private asked?: unknown;
  private channel?: Channel;
  private link: Link = "connecting";
  private pending?: ReturnType<typeof setTimeout>;
  private rendered = 0;
  private stopped = false;

  constructor(
    private readonly api: Api,
    readonly kernel: Kernel,
    private readonly page: { username: string; spec?: Spec; actions: Actions; saved?: Saved },
  ) {
    this.session = page.saved?.session ?? uuid();
    this.cell = new Cell({
      session: this.session,
      username: page.username,
      send: (message) => this.channel?.send(message) ?? false,
      changed: () => this.changed(),
    });
    this.editor = new Editor(page.saved?.code ?? "", page.spec?.language ?? "", () => this.run());
    this.output = new OutputView(this.cell.output);
    this.actions = this.kernelActions();
    this.ended = this.endedBar();
    this.element = this.build();
    if (page.saved?.run) this.cell.resume(page.saved.run.id, page.saved.run.since);
    this.cell.observed(kernel.execution_state);
  }

  /** connect opens the connection, or hurries a reconnection that is being waited for. */
  connect(): void {
    if (this.cell.kernel === "dead") return;
    this.channel ??= new Channel({
      url: this.api.channels(this.kernel.id, this.session),
      onMessage: (message) => this.cell.receive(message),
      onLink: (link) => this.linked(link),
      onBadFrame: (reason) => this.cell.output.note(`A message from the kernel was left out: ${reason}.`),
      ask: () => this.ask(),
      onEnd: (why) => this.lost(why),
    });
    this.channel.open();
  }

  /** close ends the connection; the kernel goes on. */
  close(): void {
    this.channel?.close();
    this.channel = undefined;
  }

  focus(): void {
    this.editor.focus();
  }

  /** The code in the cell. */
  get code(): string {
    return this.editor.code;
  }

  /** saved is what has to be kept over a reload; undefined when the kernel is gone. */
  saved(): Saved | undefined {
    if (this.cell.kernel === "dead") return undefined;
    const { running } = this.cell;
    return {
      session: this.session,
      code: this.code.slice(0, 200_000),
      run: running?.connection ? { id: running.id, since: running.since } : undefined,
    };
  }

  /** observed takes over what the list of kernels says. */
  observed(kernel: Kernel): void {
    if (kernel.execution_state === "dead") this.cell.gone(`This kernel is dead. ${kernel.reason ?? ""}`.trim());
    else this.cell.observed(kernel.execution_state);
  }

  /** missing is called when the list of kernels has this one no more: a connection does not always tell. */
  async missing(): Promise<void> {
    if (this.cell.kernel === "dead" || (await this.ask()) !== "gone") return;
    this.close();
    this.lost("gone");
  }

  /** stopping tells that the person is stopping the kernel; the connection may end before the request does. */
  stopping(by: boolean): void {
    this.stopped = by;
  }

  private run(): void {
    if (this.cell.running || this.cell.kernel === "dead" || !this.code.trim()) return;
    this.connect();
    this.cell.run(this.code);
    this.render();
  }

  private async ask(): Promise<Verdict> {
    try {
      const kernel = await this.api.kernel(this.kernel.id);
      if (kernel.execution_state !== "dead") return "alive";
      this.observed(kernel);
      return "gone";
    } catch (error) {
      const status = error instanceof ApiError ? error.status : 0;
      if (status === 404) return "gone";
      return status === 401 || status === 403 ? "denied" : "unknown";
    }
  }

  private linked(link: Link): void {
    this.link = link;
    if (link !== "open") return this.changed();
    this.cell.connected();
    this.page.actions.connected();
  }

  private lost(why: "gone" | "denied" | "closed"): void {
    this.channel = undefined;
    if (why === "denied") this.page.actions.denied();
    else if (why === "gone") this.cell.gone(this.stopped ? "You stopped this kernel." : `This kernel has ended. ${this.cell.reason || "It was stopped, or it was idle for too long."}`);
    else this.cell.output.note("The gateway closed the connection. Run the cell again to connect anew.");
    this.changed();
  }

  /** changed renders soon; many changes in a row are rendered together. */
  private changed(): void {
    const wait = Math.max(0, this.rendered + RENDER_EVERY - performance.now());
    this.pending ??= setTimeout(() => this.render(), wait);
  }

  /** render brings the element up to date. */
  render(): void {
    clearTimeout(this.pending);
    this.pending = undefined;
    this.rendered = performance.now();
    const { cell } = this;
    const dead = cell.kernel === "dead";
    const state = dead || this.link === "open" ? cell.kernel : "reconnecting";
    setState(this.pill, state);
    setText(this.pill, state === "reconnecting" ? LINK_WORDS[this.link] : (STATE_WORDS[state] ?? state));
    if (this.link === "open" || dead) this.page.actions.state(this.kernel.id, cell.kernel);
    this.output.render();
    this.renderQuestion();
    this.editor.prompt(cell.running ? "*" : String(cell.count ?? " "));
    this.runButton.disabled = dead || cell.running !== undefined;
    this.actions.hidden = dead;
    this.ended.hidden = !dead;
    setText(this.epitaph, cell.epitaph);
    setText(this.status, this.summary());
    this.tick();
  }

  /** tick shows how long the cell has been running; call it about once a second. */
  tick(): void {
    const { running } = this.cell;
    const ms = running ? Date.now() - running.since : 0;
    setText(this.clock, running && ms > 1500 ? took(ms).replace(/\.\d/, "") : "");
  }

  private summary(): string {
    const { cell, link } = this;
    if (cell.question) return "The code asks for input.";
    if (cell.running && !cell.running.connection) return link === "open" ? "Waiting…" : "Runs as soon as the kernel is connected.";
    if (cell.running) return cell.kernel === "starting" ? "Runs as soon as the kernel is ready." : "Running…";
    return cell.ended ? ending(cell.ended) : "";
  }

  private renderQuestion(): void {
    const { question } = this.cell;
    if (question === this.asked) return;
    this.asked = question;
    this.question.hidden = !question;
    if (!question) return this.question.replaceChildren();
    const type = question.password ? "password" : "text";
    const input = h("input", { type, name: "answer", id: "answer", autocomplete: "off", spellcheck: "false" });
    this.question.replaceChildren(
      h("label", { for: "answer" }, h("small", {}, "Your code asks"), h("span", {}, question.text.trim() || "Input")),
      h("div", { class: "field" }, input, h("button", { class: "button primary" }, "Answer")),
    );
    input.focus();
  }

  private answer(event: Event): void {
    event.preventDefault();
    const input = this.question.elements.namedItem("answer") as HTMLInputElement;
    if (this.cell.answer(input.value)) this.editor.focus();
    else setText(this.status, "Not connected now; try again in a moment.");
  }

  private build(): HTMLElement {
    const { spec } = this.page;
    const title = spec?.title ?? this.kernel.name;
    const form = h(
      "form",
      { class: "cell", submit: (event: Event) => (event.preventDefault(), this.run()) },
      this.editor.element,
      h("div", { class: "cell-bar" }, this.runButton, h("span", { class: "keys" }, h("kbd", {}, "Shift"), " + ", h("kbd", {}, "Enter")), this.status, this.clock),
    );
    return h(
      "section",
      { class: "card console", "aria-label": `${title}, ${this.kernel.id.slice(0, 8)}` },
      h(
        "header",
        { class: "console-head" },
        spec?.logo ? h("img", { class: "logo", src: spec.logo, alt: "" }) : undefined,
        h("h2", {}, title),
        h("code", { class: "id", title: this.kernel.id }, this.kernel.id.slice(0, 8)),
        this.pill,
        this.actions,
      ),
      this.ended,
      form,
      this.question,
      this.output.element,
    );
  }

  private kernelActions(): HTMLElement {
    const { actions } = this.page;
    const { id } = this.kernel;
    const button = (name: "interrupt" | "restart" | "stop", words: string) =>
      h("button", { class: "button quiet", type: "button", click: () => actions[name](id) }, icon(name), words);
    return h("div", { class: "console-actions" }, button("interrupt", "Interrupt"), button("restart", "Restart"), button("stop", "Stop"));
  }

  private endedBar(): HTMLElement {
    const { actions } = this.page;
    return h(
      "div",
      { class: "ended", hidden: true },
      this.epitaph,
      h("button", { class: "button", type: "button", click: () => actions.again(this.kernel, this.code) }, "Start a new one with this code"),
      h("button", { class: "button quiet", type: "button", click: () => actions.close(this.kernel.id) }, "Close"),
    );
  }
}

function ending({ how, ms, error }: Ended): string {
  if (how === "ok") return `Done in ${took(ms)}`;
  if (how === "error") return `Ended with ${error ?? "an error"} after ${took(ms)}`;
  return how === "aborted" ? "Not run: an earlier cell failed." : "Ended without an answer.";
}
