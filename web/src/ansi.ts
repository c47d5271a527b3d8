// Terminal text as kernels print it: colours and styles (SGR) are kept, carriage return, backspace and "erase line"
// move and erase within one line, and every other control sequence is dropped.

/** How a stretch of text looks: CSS classes for what the page's theme decides, and colours that the text chose itself. */
export interface Style {
  readonly classes: string;
  readonly fg?: string;
  readonly bg?: string;
}

export const PLAIN: Style = { classes: "" };

/** Where the reader puts what it read. */
export interface Sink {
  text(text: string, style: Style): void;
  newline(): void;
  /** The write position moves to `to` columns from the start of the line, or by `by` columns. */
  move(step: { to: number } | { by: number }): void;
  /** Erases from the write position to the end of the line, or the whole line. */
  erase(whole: boolean): void;
}

/** Longest unfinished escape sequence that is kept for the next piece of text. */
const MAX_PENDING = 4096;

// These three patterns are the whole grammar.
const CONTROL = /[\x00-\x08\x0a-\x1f\x7f-\x9f]/g;
const SEQUENCE = /\x1b(?:\[([0-?]*)[ -/]*([@-~])|\][^\x07\x1b]*(?:\x07|\x1b\\)|[PX^_][^\x1b]*\x1b\\|[ -/]*[0-OQ-WYZ\\`-~])/y;
const UNFINISHED = /\x1b(?:\[[0-?]*[ -/]*|\][^\x07\x1b]*\x1b?|[PX^_][^\x1b]*\x1b?|[ -/]*)$/y;

/** AnsiReader reads text piece by piece; style and an unfinished sequence carry over to the next piece. */
export class AnsiReader {
  private attributes = new Attributes();
  private style = PLAIN;
  private pending = "";

  /** feed reads one piece and calls the sink for each part, in order. */
  feed(piece: string, sink: Sink): void {
    const input = this.pending + piece;
    this.pending = "";
    let at = 0;
    for (;;) {
      CONTROL.lastIndex = at;
      const found = CONTROL.exec(input);
      const end = found ? found.index : input.length;
      if (end > at) sink.text(input.slice(at, end), this.style);
      if (!found) return;
      const next = found[0] === "\x1b" ? this.escape(input, end, sink) : control(input, end, sink);
      if (next < 0) {
        this.pending = input.slice(end);
        return;
      }
      at = next;
    }
  }

  /** escape handles the sequence at `at` and returns where the text goes on, or -1 when the sequence is unfinished. */
  private escape(input: string, at: number, sink: Sink): number {
    SEQUENCE.lastIndex = at;
    const found = SEQUENCE.exec(input);
    if (!found) {
      UNFINISHED.lastIndex = at;
      return input.length - at <= MAX_PENDING && UNFINISHED.test(input) ? -1 : at + 1;
    }
    const parameters = found[1] ?? "";
    if (found[2] === "m") {
      this.attributes.apply(parameters);
      this.style = this.attributes.style();
    } else if (found[2] === "K") {
      sink.erase(parameters === "2" || parameters === "1");
    } else if (found[2] === "C" || found[2] === "D") {
      const by = Math.min(Number(parameters) || 1, 1000);
      sink.move({ by: found[2] === "C" ? by : -by });
    } else if (found[2] === "G") {
      sink.move({ to: Math.min(Number(parameters) || 1, 1000) - 1 });
    }
    return SEQUENCE.lastIndex;
  }
}

function control(input: string, at: number, sink: Sink): number {
  const char = input[at];
  if (char === "\n") sink.newline();
  else if (char === "\r") sink.move({ to: 0 });
  else if (char === "\b") sink.move({ by: -1 });
  return at + 1;
}

/** Attributes is the state that SGR sequences ("ESC [ … m") change. */
class Attributes {
  private flags = new Set<string>();
  private fg: Colour = {};
  private bg: Colour = {};

  style(): Style {
    const classes = [...this.flags];
    if (this.fg.name) classes.push(`fg-${this.fg.name}`);
    if (this.bg.name) classes.push(`bg-${this.bg.name}`);
    if (classes.length === 0 && !this.fg.css && !this.bg.css) return PLAIN;
    return { classes: classes.join(" "), fg: this.fg.css, bg: this.bg.css };
  }

  apply(parameters: string): void {
    const codes = parameters.slice(0, 200).split(/[;:]/).map((code) => Number(code) || 0);
    for (let i = 0; i < codes.length; i++) {
      const code = codes[i]!;
      if (code === 38 || code === 48) {
        const [colour, used] = extended(codes.slice(i + 1));
        if (code === 38) this.fg = colour;
        else this.bg = colour;
        i += used;
      } else {
        this.one(code);
      }
    }
  }

  private one(code: number): void {
    const on = { 1: "bold", 2: "dim", 3: "italic", 4: "underline", 7: "inverse", 9: "strike" }[code];
    const off = { 22: ["bold", "dim"], 23: ["italic"], 24: ["underline"], 27: ["inverse"], 29: ["strike"] }[code];
    if (on) this.flags.add(on);
    else if (off) off.forEach((flag) => this.flags.delete(flag));
    else if (code === 0) {
      this.flags.clear();
      this.fg = this.bg = {};
    } else if (code >= 30 && code <= 37) this.fg = { name: String(code - 30) };
    else if (code >= 90 && code <= 97) this.fg = { name: String(code - 82) };
    else if (code === 39) this.fg = {};
    else if (code >= 40 && code <= 47) this.bg = { name: String(code - 40) };
    else if (code >= 100 && code <= 107) this.bg = { name: String(code - 92) };
    else if (code === 49) this.bg = {};
  }
}

/** A colour of the theme (0 to 15) by name, or one of the text's own as CSS. */
interface Colour {
  name?: string;
  css?: string;
}

/** extended reads what follows 38 or 48 and says how many codes it used. */
function extended(codes: number[]): [Colour, number] {
  const byte = (i: number) => Math.min(Math.max(codes[i] ?? 0, 0), 255);
  if (codes[0] === 2) return [{ css: `rgb(${byte(1)} ${byte(2)} ${byte(3)})` }, 4];
  if (codes[0] !== 5) return [{}, 1];
  const index = byte(1);
  if (index < 16) return [{ name: String(index) }, 2];
  if (index >= 232) {
    const grey = 8 + (index - 232) * 10;
    return [{ css: `rgb(${grey} ${grey} ${grey})` }, 2];
  }
  const level = (n: number) => (n === 0 ? 0 : 55 + n * 40);
  const cube = index - 16;
  return [{ css: `rgb(${level(Math.floor(cube / 36))} ${level(Math.floor(cube / 6) % 6)} ${level(cube % 6)})` }, 2];
}
