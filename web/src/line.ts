// One line of terminal text that can be written over, as progress bars do.

import { PLAIN, type Style } from "./ansi.ts";

/** Farthest column that a control sequence can move to. */
const MAX_COLUMN = 16 << 10;
/** Most segments in a line; later text then takes the last one's style. */
const MAX_SEGMENTS = 512;
/** What a segment counts for beside its text, so that many small ones are not free. */
const SEGMENT_COST = 16;

/** A stretch of a line in one style. */
export interface Segment {
  text: string;
  style: Style;
}

/** Line holds text in styled segments and a write position. */
export class Line {
  readonly segments: Segment[] = [];
  /** Length in UTF-16 units. */
  length = 0;
  private column = 0;

  /** What the line counts for when output is bounded, in UTF-16 units. */
  get cost(): number {
    return this.length + SEGMENT_COST * this.segments.length;
  }

  /** room says how many units fit between the write position and a greatest length; at least 1. */
  room(longest: number): number {
    return Math.max(1, longest - this.column);
  }

  /** write puts text at the write position, over what was there. */
  write(text: string, style: Style): void {
    if (this.column > this.length) this.append(" ".repeat(this.column - this.length), PLAIN);
    if (this.column === this.length) this.append(text, style);
    else this.replace(text, style);
    this.column += text.length;
  }

  move(step: { to: number } | { by: number }): void {
    const column = "to" in step ? step.to : this.column + step.by;
    this.column = Math.min(Math.max(0, column), MAX_COLUMN);
  }

  erase(whole: boolean): void {
    this.cut(whole ? 0 : this.column);
  }

  toString(): string {
    return this.segments.map((segment) => segment.text).join("");
  }

  /** replace writes over the segments from the write position on, and leaves the others as they are. */
  private replace(text: string, style: Style): void {
    const { segments, column } = this;
    const end = column + text.length;
    let first = 0;
    let start = 0;
    while (start + segments[first]!.text.length <= column) start += segments[first++]!.text.length;
    let next = first;
    let stop = start;
    while (next < segments.length && stop + segments[next]!.text.length <= end) stop += segments[next++]!.text.length;
    const pieces = [{ text, style }];
    if (start < column) pieces.unshift({ text: segments[first]!.text.slice(0, column - start), style: segments[first]!.style });
    if (next < segments.length && stop < end) {
      pieces.push({ text: segments[next]!.text.slice(end - stop), style: segments[next]!.style });
      next++;
    }
    segments.splice(first, next - first, ...pieces);
    this.length = Math.max(this.length, end);
    for (let i = Math.min(first + 3, segments.length - 1); i > 0 && i >= first; i--) this.join(i);
  }

  /** join makes a segment part of the one before it if they look the same, or if there are too many. */
  private join(i: number): void {
    const { segments } = this;
    if (!same(segments[i - 1]!.style, segments[i]!.style) && segments.length <= MAX_SEGMENTS) return;
    segments[i - 1]!.text += segments[i]!.text;
    segments.splice(i, 1);
  }

  private append(text: string, style: Style): void {
    const last = this.segments.at(-1);
    if (last && (same(last.style, style) || this.segments.length >= MAX_SEGMENTS)) last.text += text;
    else this.segments.push({ text, style });
    this.length += text.length;
  }

  /** cut removes everything from a column on. */
  private cut(column: number): void {
    const { segments } = this;
    while (this.length > column) {
      const last = segments.at(-1)!;
      const start = this.length - last.text.length;
      if (start < column) last.text = last.text.slice(0, column - start);
      else segments.pop();
      this.length = Math.max(start, column);
    }
  }
}

function same(a: Style, b: Style): boolean {
  return a === b || (a.classes === b.classes && a.fg === b.fg && a.bg === b.bg);
}
