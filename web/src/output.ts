// What a cell has put out, as rows, bounded in lines and bytes: old rows go first, and how many went is counted.

import { AnsiReader, PLAIN, type Sink, type Style } from "./ansi.ts";
import { Line, type Segment } from "./line.ts";
import { asObject, choose, joined, megabytes } from "./rich.ts";
import type { Json } from "./wire.ts";

export interface Limits {
  /** Lines of text. */
  lines: number;
  /** UTF-16 units of text. */
  text: number;
  /** UTF-16 units of image data. */
  images: number;
  /** Longest line; a longer one goes on in a new row. */
  line: number;
}

export const LIMITS: Limits = { lines: 5000, text: 2 << 20, images: 32 << 20, line: 16 << 10 };

export type RowKind = "stdout" | "stderr" | "result" | "display" | "error" | "note" | "image";

/** A row of the output. `revision` grows with each change, `id` never changes. */
export interface Row {
  readonly id: number;
  kind: RowKind;
  revision: number;
  segments: readonly Segment[];
  /** Set for images only. */
  image?: { url: string; alt: string; width?: number; height?: number };
  /** How many lines and units of text, and units of image data, it counts for. */
  lines: number;
  text: number;
  images: number;
  displayID?: string;
}

/** Output is the bounded list of rows. */
export class Output {
  rows: Row[] = [];
  /** Lines that are gone because of the limits. */
  dropped = 0;
  private nextID = 1;
  private totals = { lines: 0, text: 0, images: 0 };
  private open?: { row: Row; line: Line };
  private readers = new Map<RowKind, AnsiReader>();
  private clearBeforeNext = false;

  constructor(private readonly limits: Limits = LIMITS) {}

  /** stream adds text of stdout or stderr. */
  stream(name: "stdout" | "stderr", text: string): void {
    this.beforeOutput();
    let reader = this.readers.get(name);
    if (!reader) this.readers.set(name, (reader = new AnsiReader()));
    // What would be dropped at once is not even read.
    const excess = text.length - this.limits.text;
    if (excess > 0) {
      const cut = text.indexOf("\n", excess) + 1 || excess;
      this.dropped += countLines(text.slice(0, cut));
      text = text.slice(cut);
    }
    reader.feed(text, this.sink(name));
    this.trim();
  }

  /** rich adds an execute_result or display_data. */
  rich(kind: "result" | "display", content: Json): void {
    this.beforeOutput();
    const id = asObject(content.transient).display_id;
    const row = this.push(kind);
    if (typeof id === "string") row.displayID = id;
    this.fill(row, kind, content);
    this.trim();
  }

  /** update replaces what display_data with the same id showed; without one it does nothing. */
  update(content: Json): void {
    const id = asObject(content.transient).display_id;
    if (typeof id !== "string") return;
    for (const row of this.rows) if (row.displayID === id) this.fill(row, "display", content);
    this.trim();
  }

  /** error adds a traceback. */
  error(content: Json): void {
    this.beforeOutput();
    const traceback = Array.isArray(content.traceback) ? content.traceback.filter((l) => typeof l === "string").join("\n") : "";
    const row = this.push("error");
    this.setText(row, traceback || `${joined(content.ename)}: ${joined(content.evalue)}`);
    this.trim();
  }

  /** note adds a sentence of the page's own. */
  note(text: string): void {
    this.setText(this.push("note"), text);
  }

  /** clear empties the output now, or just before the next output. */
  clear(wait: boolean): void {
    this.clearBeforeNext = wait;
    if (wait) return;
    this.rows = [];
    this.dropped = 0;
    this.totals = { lines: 0, text: 0, images: 0 };
    this.open = undefined;
    this.readers.clear();
  }

  private beforeOutput(): void {
    if (this.clearBeforeNext) this.clear(false);
  }

  /** openLine gives the line that a stream writes to now: the unfinished one, or a new row. */
  private openLine(kind: "stdout" | "stderr"): { row: Row; line: Line } {
    if (this.open?.row.kind !== kind) {
      const row = this.push(kind);
      const line = new Line();
      row.segments = line.segments;
      this.open = { row, line };
    }
    return this.open!;
  }

  private sink(kind: "stdout" | "stderr"): Sink {
    return {
      text: (text: string, style: Style) => {
        for (let at = 0; at < text.length; ) {
          const { row, line } = this.openLine(kind);
          const piece = text.slice(at, at + line.room(this.limits.line));
          at += piece.length;
          line.write(piece, style);
          this.measure(row, 1, line.cost);
          if (line.length >= this.limits.line) this.open = undefined;
        }
      },
      newline: () => {
        this.openLine(kind);
        this.open = undefined;
      },
      move: (step) => this.openLine(kind).line.move(step),
      erase: (whole) => {
        const { row, line } = this.openLine(kind);
        line.erase(whole);
        this.measure(row, 1, line.cost);
      },
    };
  }

  private push(kind: RowKind): Row {
    this.open = undefined;
    const row: Row = { id: this.nextID++, kind, revision: 0, segments: [], lines: 0, text: 0, images: 0 };
    this.rows.push(row);
    this.measure(row, 1, 0);
    return row;
  }

  private fill(row: Row, kind: "result" | "display", content: Json): void {
    const rich = choose(content.data, content.metadata);
    row.image = undefined;
    if (rich.kind === "image") {
      row.kind = "image";
      row.image = { url: rich.url, alt: rich.alt, width: rich.width, height: rich.height };
      row.segments = [];
      this.measure(row, 1, 0, rich.url.length);
    } else {
      row.kind = rich.kind === "note" ? "note" : kind;
      this.setText(row, rich.text);
    }
  }

  private setText(row: Row, text: string): void {
    const lines = parseBlock(shortened(text, this.limits.text >> 2));
    row.segments = lines.flatMap((line, i) => (i ? [{ text: "\n", style: PLAIN }, ...line.segments] : line.segments));
    this.measure(row, lines.length, lines.reduce((sum, line) => sum + line.cost, 0));
  }

  /** measure notes that a row changed and what it counts for now. */
  private measure(row: Row, lines: number, text: number, images = 0): void {
    this.totals.lines += lines - row.lines;
    this.totals.text += text - row.text;
    this.totals.images += images - row.images;
    Object.assign(row, { lines, text, images });
    row.revision++;
  }

  /** trim drops the oldest rows beyond the limits (a tenth late, so that it is seldom), but never the newest. */
  private trim(): void {
    const { limits, totals } = this;
    if (totals.lines > limits.lines * 1.1 || totals.text > limits.text * 1.1) {
      let gone = 0;
      while (gone < this.rows.length - 1 && (totals.lines > limits.lines || totals.text > limits.text)) {
        const row = this.rows[gone++]!;
        this.dropped += row.lines;
        this.measure(row, 0, 0);
      }
      this.rows.splice(0, gone);
    }
    for (const row of totals.images > limits.images ? this.rows.slice(0, -1) : []) {
      if (totals.images <= limits.images) break;
      if (!row.image) continue;
      row.image = undefined;
      row.kind = "note";
      this.setText(row, "An older image was removed to save memory.");
    }
  }
}

/** parseBlock reads a text that arrives whole, such as a traceback, into lines. */
function parseBlock(text: string): Line[] {
  let line = new Line();
  const lines = [line];
  new AnsiReader().feed(text, {
    text: (piece, style) => line.write(piece, style),
    newline: () => lines.push((line = new Line())),
    move: (step) => line.move(step),
    erase: (whole) => line.erase(whole),
  });
  return lines;
}

/** shortened keeps the beginning and the end of a text that is too long. */
function shortened(text: string, longest: number): string {
  if (text.length <= longest) return text;
  const half = longest >> 1;
  return `${text.slice(0, half)}\n… ${megabytes(text.length - 2 * half)} left out …\n${text.slice(-half)}`;
}

function countLines(text: string): number {
  let count = 0;
  for (let at = text.indexOf("\n"); at >= 0; at = text.indexOf("\n", at + 1)) count++;
  return count;
}
