import assert from "node:assert/strict";
import { test } from "node:test";
import { Cell } from "./cell.ts";
import type { Json, Message } from "./wire.ts";

/** Kernel plays the other side: it keeps what was sent and answers as a kernel would. */
class Kernel {
  sent: Message[] = [];
  online = true;
  now = 1000;
  readonly cell = new Cell({
    session: "mine",
    username: "ada",
    send: (message) => this.online && this.sent.push(message) > 0,
    changed: () => {},
    now: () => this.now,
  });

  last(type: string): Message {
    return this.sent.findLast((message) => message.header.msg_type === type)!;
  }

  say(channel: string, type: string, content: Json, parent: Message["parent"] = this.last("execute_request").header): void {
    const header = { msg_id: `k${Math.random()}`, msg_type: type, session: "kernel", username: "", date: "", version: "5.4" };
    this.cell.receive({ channel, header, parent, metadata: {}, content, buffers: [] });
  }

  status(state: string, parent?: Message["parent"]): void {
    this.say("iopub", "status", { execution_state: state }, parent);
  }

  get texts(): string[] {
    return this.cell.output.rows.map((row) => row.segments.map((segment) => segment.text).join(""));
  }
}

/** connected gives a kernel whose cell is connected and idle. */
function connected(): Kernel {
  const kernel = new Kernel();
  kernel.cell.connected();
  kernel.say("shell", "kernel_info_reply", { status: "ok" }, kernel.last("kernel_info_request").header);
  return kernel;
}

test("a run ends when both the reply and idle are there, in either order", () => {
  for (const replyFirst of [true, false]) {
    const kernel = connected();
    kernel.cell.run("1 + 1");
    const { content, header } = kernel.last("execute_request");
    assert.equal(content.code, "1 + 1");
    assert.equal(content.allow_stdin, true);
    assert.equal(header.session, "mine");
    kernel.status("busy");
    assert.equal(kernel.cell.kernel, "busy");
    kernel.say("iopub", "execute_input", { code: "1 + 1", execution_count: 7 });
    kernel.say("iopub", "execute_result", { data: { "text/plain": "2" }, metadata: {}, execution_count: 7 });
    kernel.now += 1500;
    const reply = () => kernel.say("shell", "execute_reply", { status: "ok", execution_count: 7 });
    if (replyFirst) reply();
    else kernel.status("idle");
    assert.ok(kernel.cell.running);
    if (replyFirst) kernel.status("idle");
    else reply();
    assert.deepEqual(kernel.cell.ended, { how: "ok", ms: 1500, error: undefined });
    assert.equal(kernel.cell.count, 7);
    assert.equal(kernel.cell.kernel, "idle");
    assert.deepEqual(kernel.texts, ["2"]);
  }
});

test("an error is told by name", () => {
  const kernel = connected();
  kernel.cell.run("1 / 0");
  kernel.say("iopub", "error", { ename: "ZeroDivisionError", evalue: "division by zero", traceback: ["tb"] });
  kernel.say("shell", "execute_reply", { status: "error", ename: "ZeroDivisionError" });
  kernel.status("idle");
  assert.equal(kernel.cell.ended?.how, "error");
  assert.equal(kernel.cell.ended?.error, "ZeroDivisionError");
});

test("code that is run without a connection is sent once, when there is one", () => {
  const kernel = new Kernel();
  kernel.online = false;
  kernel.cell.run("a = 1");
  kernel.cell.connected();
  assert.equal(kernel.sent.length, 0);
  kernel.online = true;
  kernel.cell.connected();
  kernel.cell.connected();
  assert.equal(kernel.sent.filter((message) => message.header.msg_type === "execute_request").length, 1);
});

test("what other clients run makes the kernel busy, but is not shown", () => {
  const kernel = connected();
  const other = { msg_id: "o1", msg_type: "execute_request", session: "other" };
  kernel.status("busy", other);
  kernel.say("iopub", "stream", { name: "stdout", text: "theirs" }, other);
  kernel.say("stdin", "input_request", { prompt: "theirs?" }, other);
  assert.equal(kernel.cell.kernel, "busy");
  assert.equal(kernel.cell.question, undefined);
  assert.deepEqual(kernel.texts, []);
  kernel.status("idle", other);
  assert.equal(kernel.cell.kernel, "idle");
});

test("two requests at once: the kernel is idle after both", () => {
  const kernel = connected();
  const requests = ["a", "b"].map((msg_id) => ({ msg_id, msg_type: "execute_request", session: "other" }));
  requests.forEach((request) => kernel.status("busy", request));
  kernel.status("idle", requests[0]);
  assert.equal(kernel.cell.kernel, "busy");
  kernel.status("idle", requests[1]);
  assert.equal(kernel.cell.kernel, "idle");
});

test("a question is answered to the one who asked", () => {
  const kernel = connected();
  kernel.cell.run('input("name? ")');
  kernel.say("stdin", "input_request", { prompt: "name? ", password: false });
  const { question } = kernel.cell;
  assert.equal(question?.text, "name? ");
  kernel.online = false;
  assert.equal(kernel.cell.answer("Ada"), false);
  assert.equal(kernel.cell.question, question);
  kernel.online = true;
  assert.equal(kernel.cell.answer("Ada"), true);
  const reply = kernel.last("input_reply");
  assert.deepEqual([reply.channel, reply.content, reply.parent], ["stdin", { value: "Ada" }, question?.header]);
  assert.deepEqual(kernel.texts, ["name? Ada"]);
});

test("a password is not shown", () => {
  const kernel = connected();
  kernel.cell.run("getpass()");
  kernel.say("stdin", "input_request", { prompt: "Password: ", password: true });
  kernel.cell.answer("secret");
  assert.deepEqual(kernel.texts, ["Password: ········"]);
});

test("a run goes on over a lost connection", () => {
  const kernel = connected();
  kernel.cell.run("long()");
  kernel.status("busy");
  kernel.say("iopub", "stream", { name: "stdout", text: "1\n" });
  kernel.cell.connected();
  kernel.say("iopub", "stream", { name: "stdout", text: "2\n" });
  kernel.say("shell", "execute_reply", { status: "ok", execution_count: 1 });
  kernel.status("idle");
  kernel.say("shell", "kernel_info_reply", {}, kernel.last("kernel_info_request").header);
  assert.equal(kernel.cell.ended?.how, "ok");
  assert.deepEqual(kernel.texts, ["1", "2"]);
});

test("a run that got lost with the connection ends, and says so", () => {
  const kernel = connected();
  kernel.cell.run("lost()");
  kernel.cell.connected();
  assert.ok(kernel.cell.running);
  kernel.say("shell", "kernel_info_reply", {}, kernel.last("kernel_info_request").header);
  assert.equal(kernel.cell.ended?.how, "lost");
  assert.match(kernel.texts[0]!, /No answer/);
});

test("a run of an earlier load of the page is taken up", () => {
  const kernel = new Kernel();
  kernel.cell.resume("old", 400);
  kernel.cell.connected();
  const parent = { msg_id: "old", msg_type: "execute_request", session: "mine" };
  kernel.say("iopub", "stream", { name: "stdout", text: "missed" }, parent);
  kernel.say("shell", "execute_reply", { status: "ok", execution_count: 3 }, parent);
  kernel.status("idle", parent);
  assert.deepEqual(kernel.cell.ended, { how: "ok", ms: 600, error: undefined });
  assert.equal(kernel.texts.at(-1), "missed");
});

test("a restart that the kernel tells of ends the run, says so once, and the next run works", () => {
  const kernel = connected();
  kernel.cell.run("sleep()");
  kernel.status("busy");
  kernel.status("restarting", {});
  kernel.status("restarting", {});
  assert.equal(kernel.cell.kernel, "restarting");
  assert.equal(kernel.cell.ended?.how, "lost");
  assert.deepEqual(kernel.texts, ["The kernel is restarting. Its variables are gone."]);
  kernel.status("starting", {});
  kernel.status("idle", {});
  assert.equal(kernel.cell.kernel, "idle");
  kernel.cell.run("next()");
  kernel.say("shell", "execute_reply", { status: "ok", execution_count: 1 });
  kernel.status("idle");
  assert.equal(kernel.cell.ended?.how, "ok");
});

test("code run during a restart that was asked for is sent once, after it", () => {
  const kernel = connected();
  kernel.cell.run("sleep()");
  kernel.cell.hold();
  kernel.status("restarting", {});
  kernel.cell.observed("idle");
  assert.equal(kernel.cell.kernel, "restarting");
  kernel.cell.run("next()");
  kernel.cell.connected();
  assert.equal(kernel.last("execute_request").content.code, "sleep()");
  kernel.cell.release("idle");
  assert.equal(kernel.cell.kernel, "idle");
  assert.equal(kernel.last("execute_request").content.code, "next()");
  kernel.cell.connected();
  assert.equal(kernel.sent.filter((message) => message.header.msg_type === "execute_request").length, 2);
});

test("a restart that failed lets the kernel's state be told anew", () => {
  const kernel = connected();
  kernel.cell.hold();
  kernel.cell.release();
  assert.equal(kernel.cell.kernel, "unknown");
  kernel.cell.observed("busy");
  assert.equal(kernel.cell.kernel, "busy");
});

test("an aborted run, and the pager", () => {
  const kernel = connected();
  kernel.cell.run("x?");
  kernel.say("shell", "execute_reply", { status: "aborted", payload: [{ source: "page", data: { "text/plain": "help" } }, 5] });
  assert.equal(kernel.cell.ended?.how, "aborted");
  assert.deepEqual(kernel.texts, ["help"]);
});

test("a kernel that is gone ends everything and takes no more code back", () => {
  const kernel = connected();
  kernel.cell.run("x");
  kernel.cell.gone("It was stopped.");
  kernel.cell.gone("Again.");
  assert.equal(kernel.cell.kernel, "dead");
  assert.equal(kernel.cell.ended?.how, "lost");
  assert.equal(kernel.cell.epitaph, "It was stopped.");
});

test("the reason of a kernel's end is what was said directly before it, whoever was last at the kernel", () => {
  const kernel = connected();
  const other = { msg_id: "o1", msg_type: "execute_request", session: "other" };
  kernel.say("iopub", "stream", { name: "stderr", text: "a warning\n" }, other);
  kernel.status("idle", other);
  kernel.status("dead", {});
  assert.equal(kernel.cell.reason, "");
  kernel.say("iopub", "stream", { name: "stderr", text: "Idle for 1 h.\n" }, other);
  kernel.status("dead", {});
  assert.equal(kernel.cell.reason, "Idle for 1 h.");
  assert.deepEqual(kernel.texts, []);
});

test("messages of the wrong shape change nothing", () => {
  const kernel = connected();
  kernel.cell.run("x");
  const wrong: Json[] = [{}, { text: 5, name: [] }, { execution_state: "exploded" }, { execution_state: 1 }, { payload: 3, status: 4 }, { data: [], traceback: {} }];
  for (const type of ["stream", "status", "clear_output", "update_display_data", "execute_input", "comm_msg", "iopub_welcome"]) {
    for (const content of wrong) kernel.say("iopub", type, content);
  }
  assert.deepEqual(kernel.texts, []);
  assert.equal(kernel.cell.kernel, "idle");
  assert.ok(kernel.cell.running);
});

test("statuses without end do not fill the memory", () => {
  const kernel = connected();
  for (let i = 0; i < 50_000; i++) kernel.status("busy", { msg_id: `x${i}`, msg_type: "execute_request" });
  kernel.status("starting", {});
  kernel.status("idle", {});
  assert.equal(kernel.cell.kernel, "idle");
});
