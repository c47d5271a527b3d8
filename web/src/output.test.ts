import assert from "node:assert/strict";
import { test } from "node:test";
import { type Limits, LIMITS, Output, type Row } from "./output.ts";

const text = (row: Row) => row.segments.map((segment) => segment.text).join("");
const texts = (output: Output) => output.rows.map(text);
const styled = (row: Row) => row.segments.map(({ text, style }) => [text, style.classes]);

/** printed gives the rows of stdout after these pieces. */
function printed(...pieces: string[]): string[] {
  const output = new Output();
  for (const piece of pieces) output.stream("stdout", piece);
  return texts(output);
}

test("lines", () => {
  assert.deepEqual(printed("one\ntwo"), ["one", "two"]);
  assert.deepEqual(printed("one", " and\n", "two\n"), ["one and", "two"]);
  assert.deepEqual(printed("\n\nx"), ["", "", "x"]);
});

test("carriage return writes over, as progress bars do", () => {
  assert.deepEqual(printed("10%\r20%\r100%\ndone"), ["100%", "done"]);
  assert.deepEqual(printed("abcdef\rxy"), ["xycdef"]);
  assert.deepEqual(printed("abc\r", "\nnext"), ["abc", "next"]);
  assert.deepEqual(printed("abcdef\rxy\x1b[K"), ["xy"]);
  assert.deepEqual(printed("abcdef\x1b[2K\rxy"), ["xy"]);
  assert.deepEqual(printed("abc\b\bX"), ["aXc"]);
  assert.deepEqual(printed("a\x1b[3Cb"), ["a   b"]);
  assert.deepEqual(printed("windows\r\nline\r\n"), ["windows", "line"]);
});

test("other control sequences are dropped, also when they arrive in pieces", () => {
  assert.deepEqual(printed("a\x1b[2J\x1b[?25lb\x07\x00"), ["ab"]);
  assert.deepEqual(printed("a\x1b]8;;http://x/\x1b\\link\x1b]8;;\x07b"), ["alinkb"]);
  assert.deepEqual(printed("a\x1b", "[3", "1mred"), ["ared"]);
  assert.deepEqual(printed("a\x1b]0;tit", "le\x1b", "\\b"), ["ab"]);
  assert.deepEqual(printed("a\x1bP1$r\x1b\\b\x1b(Bc"), ["abc"]);
  assert.equal(printed(`\x1b]${"x".repeat(9000)}`)[0]!.length > 8000, true);
});

test("colours and styles", () => {
  const output = new Output();
  output.stream("stdout", "\x1b[1;31mbold red\x1b[22m red\x1b[0m plain \x1b[38;5;208m\x1b[48;2;1;2;300mown\x1b[m\n\x1b[94mbright\x1b[39m\x1b[38;5;3mtheme");
  const [first, second] = output.rows as [Row, Row];
  assert.deepEqual(styled(first).slice(0, 3), [["bold red", "bold fg-1"], [" red", "fg-1"], [" plain ", ""]]);
  assert.deepEqual(first.segments[3]!.style, { classes: "", fg: "rgb(255 135 0)", bg: "rgb(1 2 255)" });
  assert.deepEqual(styled(second), [["bright", "fg-12"], ["theme", "fg-3"]]);
});

test("a style goes on over lines and pieces, for each stream by itself", () => {
  const output = new Output();
  output.stream("stdout", "\x1b[32mgreen\n");
  output.stream("stderr", "plain\n");
  output.stream("stdout", "still");
  assert.deepEqual(output.rows.map((row) => [row.kind, ...styled(row)[0]!]), [["stdout", "green", "fg-2"], ["stderr", "plain", ""], ["stdout", "still", "fg-2"]]);
});

const small: Limits = { lines: 100, text: 10_000, images: 1000, line: 500 };

test("the oldest lines go first, and are counted", () => {
  const output = new Output(small);
  for (let i = 0; i < 1000; i++) output.stream("stdout", `line ${i}\n`);
  assert.equal(texts(output).at(-1), "line 999");
  assert.ok(output.rows.length <= 110 && output.rows.length >= 100);
  assert.equal(output.rows.length + output.dropped, 1000);
  assert.equal(texts(output)[0], `line ${output.dropped}`);
});

test("one large piece is bounded like many small ones", () => {
  const output = new Output(small);
  output.stream("stdout", Array.from({ length: 50_000 }, (_, i) => `line ${i}`).join("\n"));
  assert.ok(output.rows.length <= 110);
  assert.equal(texts(output).at(-1), "line 49999");
  assert.equal(output.rows.length + output.dropped, 50_000);
});

test("a line without end goes on in new rows", () => {
  const output = new Output(small);
  output.stream("stdout", "x".repeat(60_000));
  assert.ok(texts(output).every((row) => row.length <= 500));
  assert.ok(texts(output).join("").length <= 11_000);
});

test("writing over styled text agrees with a plain model, wherever it starts", () => {
  let seed = 7;
  const random = (n: number) => (seed = (seed * 48271) % 2147483647) % n;
  for (let round = 0; round < 200; round++) {
    const output = new Output();
    let model = "";
    let column = 0;
    for (let step = 0; step < 30; step++) {
      const piece = String.fromCharCode(97 + random(26)).repeat(1 + random(5));
      column = random(3) === 0 ? random(Math.max(1, model.length)) : column;
      output.stream("stdout", `\x1b[${column + 1}G\x1b[3${random(3)}m${piece}`);
      model = model.slice(0, column) + piece + model.slice(column + piece.length);
      column += piece.length;
      if (random(8) === 0) {
        output.stream("stdout", "\x1b[K");
        model = model.slice(0, column);
      }
    }
    assert.equal(texts(output)[0], model);
  }
});

test("hostile rewriting of one line stays fast and small", () => {
  const output = new Output();
  const started = performance.now();
  output.stream("stdout", Array.from({ length: 16_000 }, (_, i) => `\x1b[3${i % 8}mx`).join(""));
  output.stream("stdout", "\rX".repeat(100_000));
  output.stream("stdout", "\x1b[999C".repeat(100_000) + "end");
  assert.ok(performance.now() - started < 5000);
  assert.ok(output.rows.every((row) => row.segments.length <= 513));
  assert.ok(texts(output).join("").length < 100_000);
});

test("20 MB of prints arrive bounded and in time", () => {
  const output = new Output();
  const started = performance.now();
  for (let i = 0; i < 20_000; i++) output.stream("stdout", `${i} ${"y".repeat(1000)}\n`);
  assert.ok(performance.now() - started < 5000);
  assert.ok(output.rows.length <= LIMITS.lines * 1.1);
  assert.match(texts(output).at(-1)!, /^19999 y+$/);
});

const png = (length: number) => ({ data: { "image/png": "A".repeat(length), "text/plain": "<Figure>" }, metadata: {} });

test("images become data addresses; the oldest go when there are too many", () => {
  const output = new Output(small);
  for (let i = 0; i < 5; i++) output.rich("display", png(400));
  assert.deepEqual(output.rows.map((row) => row.kind), ["note", "note", "note", "image", "image"]);
  assert.match(output.rows[4]!.image!.url, /^data:image\/png;base64,A+$/);
  assert.equal(output.rows[4]!.image!.alt, "<Figure>");
});

test("markup from the kernel is never more than a picture or a note", () => {
  const output = new Output();
  output.rich("display", { data: { "image/svg+xml": "<svg onload='x()'>\"</svg>" } });
  output.rich("display", { data: { "text/html": "<script>x()</script>", "text/plain": "<IPython.core.display.HTML object>" } });
  output.rich("result", { data: { "text/html": "<b>x</b>", "text/plain": "<b> & plain" } });
  output.rich("display", { data: { "image/png": 'x" onerror="y' } });
  output.rich("display", { data: { "application/javascript": "x()" } });
  output.rich("display", { data: 7, metadata: null });
  assert.match(output.rows[0]!.image!.url, /^data:image\/svg\+xml;charset=utf-8,%3Csvg%20onload/);
  assert.deepEqual(output.rows.map((row) => row.kind), ["image", "note", "result", "note", "note", "note"]);
  assert.equal(text(output.rows[2]!), "<b> & plain");
});

test("image sizes are taken only when they make sense", () => {
  const output = new Output();
  for (const width of [320, -1, "9", 1e9]) output.rich("display", { data: { "image/png": "AAAA" }, metadata: { "image/png": { width, height: 10 } } });
  assert.deepEqual(output.rows.map((row) => row.image!.width), [320, undefined, undefined, undefined]);
});

test("update_display_data replaces what was shown under the same id", () => {
  const output = new Output();
  output.rich("display", { data: { "text/plain": "one" }, transient: { display_id: "a" } });
  output.stream("stdout", "between\n");
  const before = output.rows[0]!.revision;
  output.update({ data: { "text/plain": "two" }, transient: { display_id: "a" } });
  output.update({ data: { "text/plain": "three" }, transient: { display_id: "unknown" } });
  assert.deepEqual(texts(output), ["two", "between"]);
  assert.ok(output.rows[0]!.revision > before);
});

test("clear_output at once and before the next output", () => {
  const output = new Output();
  output.stream("stdout", "old");
  output.clear(true);
  assert.deepEqual(texts(output), ["old"]);
  output.stream("stdout", "new");
  assert.deepEqual(texts(output), ["new"]);
  output.clear(false);
  assert.deepEqual(texts(output), []);
});

test("a traceback keeps its colours, its beginning and its end", () => {
  const output = new Output({ ...small, lines: 5000, text: 40_000 });
  output.error({ ename: "E", evalue: "v", traceback: ["\x1b[31mfirst\x1b[0m", ...Array.from({ length: 4000 }, (_, i) => `frame ${i}`), "E: v"] });
  output.error({ ename: "ValueError", evalue: "bad", traceback: "no list" });
  const [long, short] = output.rows as [Row, Row];
  assert.deepEqual(styled(long)[0], ["first", "fg-1"]);
  assert.match(text(long), /left out[^]*E: v$/);
  assert.ok(text(long).length < 11_000);
  assert.equal(text(short), "ValueError: bad");
});
