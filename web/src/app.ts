// The page: who is signed in, the kernels, the open one, and how to connect other clients.

import { Api, ApiError, type Kernel, type Me, type Spec } from "./api.ts";
import { confirm, Notices } from "./ask.ts";
import { connectPanel } from "./connect.ts";
import { type Actions, Console, type Saved } from "./console.ts";
import { h, setText } from "./dom.ts";
import { KernelList } from "./list.ts";
import { Store } from "./store.ts";

/** How often the list is refreshed while the page can be seen, in ms, and how long after failures at most. */
const REFRESH = 4000;
const MAX_REFRESH = 30_000;
/** Most kernels open in one page; opening another closes the connection that was used least recently. */
const MAX_OPEN = 8;

class Page implements Actions {
  private me: Me = { username: "", name: "", initials: "" };
  private specs: Spec[] = [];
  private kernels: Kernel[] = [];
  private selected?: string;
  /** In the order in which they were last chosen. */
  private readonly consoles = new Map<string, Console>();
  private readonly store = new Store(window.sessionStorage);
  private readonly notices = new Notices();
  private readonly list = new KernelList({
    open: (id) => this.open(id),
    interrupt: (id) => this.interrupt(id),
    restart: (id) => this.restart(id),
    stop: (id) => this.stop(id),
  });
  private readonly empty = h("p", { class: "hint" });
  private readonly starters = h("div", { class: "starters" });
  private readonly stage = h("div", { class: "stage" });
  private timer?: ReturnType<typeof setTimeout>;
  private failures = 0;

  constructor(private readonly api: Api) {}

  /** start loads everything once and goes on refreshing. */
  async start(): Promise<void> {
    try {
      [this.me, this.specs] = await Promise.all([this.api.me(), this.api.specs()]);
    } catch (error) {
      this.failed(error);
      this.timer = setTimeout(() => void this.start(), 3000);
      return;
    }
    this.notices.clear();
    this.build();
    await this.refresh();
    this.restore();
    this.watch();
  }

  mount(root: HTMLElement): void {
    root.replaceChildren(this.notices.element);
  }

  private build(): void {
    document.getElementById("who")!.replaceChildren(
      h("span", { class: "avatar", "aria-hidden": "true" }, this.me.initials),
      h("span", { class: "name" }, this.me.name),
      h("button", { class: "button quiet", click: () => void this.signOut() }, "Sign out"),
    );
    this.starters.replaceChildren(
      ...this.specs.map((spec) =>
        h(
          "button",
          { class: "starter", click: (event: Event) => void this.launch(spec.name, event.currentTarget as HTMLButtonElement) },
          spec.logo ? h("img", { class: "logo", src: spec.logo, alt: "" }) : h("span", { class: "logo letter", "aria-hidden": "true" }, spec.title.slice(0, 1)),
          h("span", {}, h("small", {}, "Start"), h("b", {}, spec.title)),
        ),
      ),
    );
    document.getElementById("main")!.replaceChildren(
      this.notices.element,
      h(
        "div",
        { class: "side" },
        h("section", { class: "card", "aria-labelledby": "start-title" }, h("h2", { id: "start-title" }, "Start a kernel"), this.starters),
        h("section", { class: "card", "aria-labelledby": "kernels-title" }, h("h2", { id: "kernels-title" }, "Your kernels"), this.list.element, this.empty),
      ),
      h("div", { class: "work" }, this.stage, connectPanel(this.api.address, this.me.username)),
    );
    this.show();
  }

  /** restore opens what an earlier load of the page had open. */
  private restore(): void {
    const { selected, consoles } = this.store.take();
    for (const [id, saved] of Object.entries(consoles)) {
      if (this.kernels.some((kernel) => kernel.id === id)) this.console(id, saved).connect();
    }
    if (selected && this.consoles.has(selected)) this.open(selected);
  }

  private watch(): void {
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "visible") void this.refresh();
    });
    window.addEventListener("online", () => {
      this.consoles.forEach((open) => open.connect());
      void this.refresh();
    });
    window.addEventListener("pagehide", () => this.save());
    // A page that comes back as it was takes its sessions out of the store again: they are this page's alone.
    window.addEventListener("pageshow", (event) => {
      if (event.persisted) this.store.take();
    });
    setInterval(() => this.consoles.get(this.selected ?? "")?.tick(), 1000);
  }

  private save(): void {
    const consoles: Record<string, Saved> = {};
    for (const [id, open] of this.consoles) {
      const saved = open.saved();
      if (saved) consoles[id] = saved;
    }
    this.store.put({ selected: this.selected, consoles });
  }

  private async refresh(): Promise<void> {
    clearTimeout(this.timer);
    if (document.visibilityState !== "visible") return;
    try {
      this.kernels = await this.api.kernels();
      this.failures = 0;
      this.compare();
    } catch (error) {
      this.failures++;
      this.failed(error);
    }
    this.show();
    clearTimeout(this.timer);
    this.timer = setTimeout(() => void this.refresh(), Math.min(REFRESH * 2 ** this.failures, MAX_REFRESH));
  }

  /** compare tells the open consoles what the list says. */
  private compare(): void {
    for (const [id, open] of this.consoles) {
      const kernel = this.kernels.find((kernel) => kernel.id === id);
      if (kernel) open.observed(kernel);
      else void open.missing();
    }
  }

  private show(): void {
    this.list.show(this.kernels, this.specs, this.selected, Date.now() + this.api.clockAhead);
    const waiting = this.failures > 0 ? "The gateway does not answer. Trying again…" : "";
    setText(this.empty, waiting || (this.kernels.length === 0 ? "None is running." : ""));
    this.empty.hidden = this.empty.textContent === "";
    const open = this.consoles.get(this.selected ?? "");
    const next = open?.element ?? this.welcome;
    if (this.stage.firstChild !== next) this.stage.replaceChildren(next);
  }

  private readonly welcome = h(
    "section",
    { class: "card welcome" },
    h("h2", {}, "No kernel is open"),
    h("p", {}, "Start one, or choose one of yours, and type a first cell here. Every kernel runs in a sandbox of its own."),
  );

  /** open shows a kernel's console and connects it. */
  private open(id: string): void {
    if (!this.consoles.has(id) && !this.kernels.some((kernel) => kernel.id === id)) return;
    const open = this.console(id);
    this.consoles.delete(id);
    this.consoles.set(id, open);
    for (const [old, oldest] of this.consoles) {
      if (this.consoles.size <= MAX_OPEN) break;
      oldest.close();
      this.consoles.delete(old);
    }
    this.selected = id;
    this.show();
    open.render();
    open.connect();
    open.focus();
  }

  private console(id: string, saved?: Saved): Console {
    const existing = this.consoles.get(id);
    if (existing) return existing;
    const kernel = this.kernels.find((kernel) => kernel.id === id)!;
    const spec = this.specs.find((spec) => spec.name === kernel.name);
    const made = new Console(this.api, kernel, { username: this.me.username, spec, actions: this, saved });
    this.consoles.set(id, made);
    return made;
  }

  private async launch(name: string, button?: HTMLButtonElement, code?: string): Promise<void> {
    if (button) button.disabled = true;
    await this.attempt(async () => {
      const kernel = await this.api.start(name);
      this.kernels = [...this.kernels.filter((other) => other.id !== kernel.id), kernel];
      this.console(kernel.id, code === undefined ? undefined : Store.fresh(code));
      this.open(kernel.id);
    });
    if (button) button.disabled = false;
  }

  again(kernel: Kernel, code: string): void {
    void this.launch(kernel.name, undefined, code);
  }

  interrupt(id: string): void {
    void this.attempt(() => this.api.interrupt(id));
  }

  async restart(id: string): Promise<void> {
    if (!(await confirm("Restart this kernel?", "What runs now ends, and its variables are gone. Files stay.", "Restart"))) return;
    const cell = this.consoles.get(id)?.cell;
    cell?.hold();
    let state: string | undefined;
    await this.attempt(async () => (state = (await this.api.restart(id)).execution_state));
    cell?.release(state);
    void this.refresh();
  }

  async stop(id: string): Promise<void> {
    if (!(await confirm("Stop this kernel?", "What runs now ends, and its variables are gone. Files stay.", "Stop"))) return;
    const open = this.consoles.get(id);
    open?.stopping(true);
    await this.attempt(async () => {
      await this.api.stop(id);
      await open?.missing();
    });
    open?.stopping(false);
    void this.refresh();
  }

  close(id: string): void {
    this.consoles.get(id)?.close();
    this.consoles.delete(id);
    this.show();
  }

  connected(): void {
    void this.refresh();
  }

  denied(): void {
    this.signIn();
  }

  state(id: string, state: string): void {
    const kernel = this.kernels.find((kernel) => kernel.id === id);
    if (!kernel || kernel.execution_state === state || state === "unknown" || state === "dead") return;
    kernel.execution_state = state;
    this.show();
  }

  /** attempt does something that may be refused, and shows the refusal. */
  private async attempt(action: () => Promise<unknown>): Promise<void> {
    this.notices.clear();
    try {
      await action();
    } catch (error) {
      this.failed(error);
    }
  }

  private failed(error: unknown): void {
    if (!(error instanceof ApiError)) throw error;
    if (error.status === 401) this.signIn();
    else if (this.failures === 0) this.notices.show(error.message);
  }

  private signIn(): void {
    window.location.replace(new URL("login", this.api.base));
  }

  private async signOut(): Promise<void> {
    await this.attempt(async () => {
      await this.api.logout();
      this.consoles.forEach((open) => open.close());
      this.consoles.clear();
      this.store.clear();
      this.signIn();
    });
  }
}

const page = new Page(new Api(new URL(".", window.location.href), () => document.cookie));
page.mount(document.getElementById("main")!);
void page.start();
