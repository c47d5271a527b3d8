// The list of a person's running kernels.

import type { Kernel, Spec } from "./api.ts";
import { h, type Icon, icon, setState, setText } from "./dom.ts";
import { ago, count } from "./words.ts";

export interface ListActions {
  open(id: string): void;
  interrupt(id: string): void;
  restart(id: string): void;
  stop(id: string): void;
}

interface Item {
  element: HTMLElement;
  open: HTMLButtonElement;
  dot: HTMLElement;
  details: HTMLElement;
}

/** KernelList keeps one element for each kernel, so that focus stays where it is while the list is refreshed. */
export class KernelList {
  readonly element = h("ul", { class: "kernels" });
  private readonly items = new Map<string, Item>();

  constructor(private readonly actions: ListActions) {}

  /** show brings the list up to date; `now` is the gateway's time in ms. */
  show(kernels: Kernel[], specs: Spec[], selected: string | undefined, now: number): void {
    const there = new Set(kernels.map((kernel) => kernel.id));
    for (const [id, item] of this.items) {
      if (there.has(id)) continue;
      item.element.remove();
      this.items.delete(id);
    }
    for (const kernel of kernels) {
      const item = this.items.get(kernel.id) ?? this.add(kernel, specs.find((spec) => spec.name === kernel.name));
      const state = kernel.execution_state;
      setState(item.dot, state);
      setText(item.details, details(kernel, now));
      item.element.classList.toggle("selected", kernel.id === selected);
      if (kernel.id === selected) item.open.setAttribute("aria-current", "true");
      else item.open.removeAttribute("aria-current");
    }
  }

  private add(kernel: Kernel, spec?: Spec): Item {
    const title = spec?.title ?? kernel.name;
    const short = kernel.id.slice(0, 8);
    const dot = h("span", { class: "dot" });
    const detail = h("span", { class: "details" });
    const open = h(
      "button",
      { class: "open", click: () => this.actions.open(kernel.id) },
      dot,
      h("span", { class: "title" }, title, " ", h("code", { class: "id", title: kernel.id }, short)),
      detail,
    );
    const button = (name: "interrupt" | "restart" | "stop", words: string) =>
      h(
        "button",
        { class: "icon-button", title: words, "aria-label": `${words} ${title} ${short}`, click: () => this.actions[name](kernel.id) },
        icon(name as Icon),
      );
    const element = h(
      "li",
      { class: "kernel" },
      open,
      h("div", { class: "kernel-actions" }, button("interrupt", "Interrupt"), button("restart", "Restart"), button("stop", "Stop")),
    );
    const item = { element, open, dot, details: detail };
    this.items.set(kernel.id, item);
    this.element.append(element);
    return item;
  }
}

function details(kernel: Kernel, now: number): string {
  const words = [kernel.execution_state];
  if (kernel.execution_state === "dead" && kernel.reason) return `dead: ${kernel.reason}`;
  const active = ago(kernel.last_activity, now);
  if (active) words.push(`active ${active}`);
  words.push(kernel.connections > 0 ? count(kernel.connections, "connection") : "not connected");
  return words.join(" · ");
}
