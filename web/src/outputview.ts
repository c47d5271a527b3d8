// Shows an Output. Rows only ever go away at the front or all at once, so the elements follow by number.

import { h } from "./dom.ts";
import type { Output, Row } from "./output.ts";
import { count } from "./words.ts";

/** OutputView keeps an element up to date with an Output. */
export class OutputView {
  readonly element = h("div", { class: "output", role: "region", "aria-label": "Output", tabindex: 0, hidden: true });
  private readonly dropped = h("p", { class: "row note", hidden: true });
  private readonly body = h("div");
  private shown: { id: number; revision: number; element: HTMLElement }[] = [];

  /** Whether the end is to be kept in sight: until the person scrolls away from it. */
  private following = true;

  constructor(private readonly output: Output) {
    this.element.append(this.dropped, this.body);
    this.element.addEventListener("scroll", () => {
      const { scrollHeight, scrollTop, clientHeight } = this.element;
      this.following = scrollHeight - scrollTop - clientHeight < 32;
    });
    this.body.addEventListener("load", () => this.follow(), true); // images get their height late
  }

  /** render brings the element up to date. */
  render(): void {
    const { element, output } = this;
    element.hidden = output.rows.length === 0;
    if (output.rows.length === 0) this.following = true;
    this.dropped.hidden = output.dropped === 0;
    this.dropped.textContent = `${count(output.dropped, "earlier line")} left out to keep the page fast.`;
    this.removeOld(output.rows[0]?.id ?? Infinity);
    const added = document.createDocumentFragment();
    output.rows.forEach((row, i) => {
      const shown = this.shown[i];
      if (shown?.revision === row.revision) return;
      const next = rowElement(row);
      if (shown) shown.element.replaceWith(next);
      else added.append(next);
      this.shown[i] = { id: row.id, revision: row.revision, element: next };
    });
    this.body.append(added);
    this.follow();
  }

  private follow(): void {
    if (this.following) this.element.scrollTop = this.element.scrollHeight;
  }

  private removeOld(first: number): void {
    let gone = 0;
    while (gone < this.shown.length && this.shown[gone]!.id < first) this.shown[gone++]!.element.remove();
    this.shown.splice(0, gone);
  }
}

function rowElement(row: Row): HTMLElement {
  if (row.image) {
    const { url, alt, width, height } = row.image;
    const image = h("img", { src: url, alt, width, height });
    return h("div", { class: "row image" }, image);
  }
  const element = h("div", { class: `row ${row.kind}` });
  for (const { text, style } of row.segments) {
    if (!style.classes && !style.fg && !style.bg) {
      element.append(text);
      continue;
    }
    const span = h("span", { class: style.classes || undefined }, text);
    // Colours that were chosen for another background are drawn towards the page's own.
    if (style.fg) span.style.color = `color-mix(in srgb, ${style.fg} 60%, var(--ink))`;
    if (style.bg) span.style.backgroundColor = `color-mix(in srgb, ${style.bg} 35%, var(--card))`;
    element.append(span);
  }
  element.append("\n"); // an empty row has its height, and copied text has its line ends
  return element;
}
