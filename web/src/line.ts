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
    if (this.column < this.length) {
      const rest = this.cut(this.column);
      this.append(text, style);
      let covered = text.length;
      for (const segment of rest) {
        if (covered < segment.text.length) this.append(segment.text.slice(covered), segment.style);
        covered = Math.max(0, covered - segment.text.length);
      }
    } else {
      this.append(text, style);
    }
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

  private append(text: string, style: Style): void {
    const last = this.segments.at(-1);
    if (last && (same(last.style, style) || this.segments.length >= MAX_SEGMENTS)) last.text += text;
    else this.segments.push({ text, style });
    this.length += text.length;
  }

  /** cut removes everything from a column on and returns it. */
  private cut(column: number): Segment[] {
    const removed: Segment[] = [];
    while (this.length > column) {
      const last = this.segments.pop()!;
      const start = this.length - last.text.length;
      this.length = start;
      if (start < column) {
        this.append(last.text.slice(0, column - start), last.style);
        removed.unshift({ text: last.text.slice(column - start), style: last.style });
        break;
      }
      removed.unshift(last);
    }
    return removed;
  }
}

function same(a: Style, b: Style): boolean {
  return a === b || (a.classes === b.classes && a.fg === b.fg && a.bg === b.bg);
}
