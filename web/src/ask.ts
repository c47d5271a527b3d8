// Questions and notices of the page's own.

import { h, icon } from "./dom.ts";

/** Most notices on the page at once. */
const MAX_NOTICES = 3;

/** confirm asks before something that cannot be undone; it resolves to the answer. */
export function confirm(title: string, text: string, action: string): Promise<boolean> {
  return new Promise((resolve) => {
    const dialog = h(
      "dialog",
      { class: "dialog", "aria-labelledby": "dialog-title" },
      h("h2", { id: "dialog-title" }, title),
      h("p", {}, text),
      h(
        "form",
        { method: "dialog", class: "actions" },
        h("button", { class: "button", value: "no", autofocus: true }, "Cancel"),
        h("button", { class: "button danger", value: "yes" }, action),
      ),
    );
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** Notices shows what went wrong, in the server's words, until it is dismissed or outdated. */
export class Notices {
  readonly element = h("div", { class: "notices", role: "alert" });

  /** show adds a notice; one with the same text is not repeated. */
  show(text: string): void {
    for (const old of this.element.children) if (old.firstChild?.textContent === text) return;
    const notice: HTMLElement = h(
      "div",
      { class: "notice" },
      h("p", {}, text),
      h("button", { class: "icon-button", "aria-label": "Dismiss", click: () => notice.remove() }, icon("close")),
    );
    this.element.append(notice);
    while (this.element.children.length > MAX_NOTICES) this.element.firstChild?.remove();
  }

  clear(): void {
    this.element.replaceChildren();
  }
}
