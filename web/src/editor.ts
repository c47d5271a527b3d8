// The cell's text field: monospaced, as tall as its text, Shift+Enter runs, Enter keeps the indentation.

import { h } from "./dom.ts";

const MIN_ROWS = 3;
const MAX_ROWS = 18;

/** Editor is the field and its prompt. */
export class Editor {
  readonly element: HTMLElement;
  private readonly field: HTMLTextAreaElement;
  private readonly mark = h("span", { class: "prompt", "aria-hidden": "true" }, "[ ]");

  constructor(code: string, language: string, run: () => void) {
    this.field = h("textarea", {
      class: "code",
      "aria-label": "Code",
      placeholder: `Type ${language ? language[0]!.toUpperCase() + language.slice(1) : "code"} here`,
      spellcheck: "false",
      autocapitalize: "off",
      autocomplete: "off",
      autocorrect: "off",
      wrap: "off",
      input: () => this.fit(),
      keydown: (event: KeyboardEvent) => {
        if (event.key !== "Enter" || event.isComposing) return;
        if (event.shiftKey || event.ctrlKey || event.metaKey) {
          event.preventDefault();
          run();
        } else if (!event.altKey) {
          this.indent(event);
        }
      },
    });
    this.field.value = code;
    this.element = h("div", { class: "editor" }, this.mark, this.field);
    this.fit();
  }

  get code(): string {
    return this.field.value;
  }

  focus(): void {
    this.field.focus();
  }

  /** prompt shows a number, "*" or a blank in the cell's brackets. */
  prompt(mark: string): void {
    const text = `[${mark}]`;
    if (this.mark.textContent !== text) this.mark.textContent = text;
  }

  private fit(): void {
    const lines = this.field.value.split("\n", MAX_ROWS).length;
    this.field.rows = Math.max(MIN_ROWS, lines);
  }

  /** indent starts the new line below the text above it, and further in after a colon. */
  private indent(event: KeyboardEvent): void {
    const { value, selectionStart } = this.field;
    const line = value.slice(value.lastIndexOf("\n", selectionStart - 1) + 1, selectionStart);
    const space = /^[ \t]*/.exec(line)![0] + (/:\s*$/.test(line) ? "    " : "");
    if (!space) return;
    event.preventDefault();
    // The one way to insert text that keeps "undo"; where it is gone, the text is set directly.
    if (!document.execCommand("insertText", false, `\n${space}`)) {
      this.field.setRangeText(`\n${space}`, selectionStart, this.field.selectionEnd, "end");
    }
    this.fit();
  }
}
