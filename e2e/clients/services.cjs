// @jupyterlab/services in Node, directly on the gateway: start, execute, 5 MB, comm with buffers, a cut socket, restart, shutdown.
'use strict';

const assert = require('node:assert/strict');
const { KernelManager, KernelSpecManager, ServerConnection } = require('@jupyterlab/services');
const PlainSocket = require('ws');

const V1 = 'v1.kernel.websocket.jupyter.org';
const STEP_MS = 60_000;
const sockets = []; // every WebSocket that the library opened, newest last

class RecordedSocket extends PlainSocket {
  constructor(...args) {
    super(...args);
    sockets.push(this);
  }
}

/** The promise's value, or an error that names the step when it takes too long. */
function within(promise, step, ms = STEP_MS) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${step}: not done after ${ms} ms`)), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** Runs one cell; `watch` sees its text so far after each piece of output. Returns the whole text. */
async function run(kernel, code, watch = () => {}) {
  let text = '';
  const future = kernel.requestExecute({ code, store_history: true });
  future.onIOPub = message => {
    if (message.header.msg_type === 'stream') {
      text += message.content.text;
      watch(text);
    }
    if (message.header.msg_type === 'error') text += message.content.traceback.join('\n');
  };
  const reply = await within(future.done, `cell ${JSON.stringify(code.slice(0, 40))}`);
  assert.equal(reply.content.status, 'ok', text);
  return text;
}

async function fiveMegabytes(kernel) {
  const line = '0123456789'.repeat(10) + '\n';
  const text = await run(kernel, `print(('0123456789' * 10 + '\\n') * 50000, end='')`);
  assert.equal(text.length, 5_050_000);
  assert.ok(text === line.repeat(50_000), '5 MB: the text is not what was printed');
}

const ECHO = `
def answer(comm, message):
    comm.send({'lengths': [len(b) for b in message['buffers']]}, buffers=[bytes(b)[::-1] for b in message['buffers']])

def opened(comm, message):
    comm.on_msg(lambda later: answer(comm, later))
    answer(comm, message)

get_ipython().kernel.comm_manager.register_target('e2e', opened)
`;

/** Sends buffers in a comm_open and in a comm_msg; the kernel sends each back reversed. */
async function comm(kernel) {
  await run(kernel, ECHO);
  const buffers = [new Uint8Array(1 << 20).map((_, i) => i * 7), new Uint8Array(0), new Uint8Array([0, 255, 128, 1])];
  const channel = kernel.createComm('e2e');
  for (const send of ['open', 'send']) {
    const answered = new Promise(resolve => (channel.onMsg = resolve));
    channel[send]({}, {}, buffers.map(b => b.buffer));
    const message = await within(answered, `comm ${send}`);
    assert.deepEqual(message.content.data.lengths, buffers.map(b => b.length));
    const back = message.buffers.map(b => Buffer.from(ArrayBuffer.isView(b) ? b.buffer.slice(b.byteOffset, b.byteOffset + b.byteLength) : b));
    back.forEach((b, i) => assert.ok(b.reverse().equals(Buffer.from(buffers[i])), `comm ${send}: buffer ${i} differs`));
  }
}

/** Cuts the socket in the middle of a counting cell: each number must arrive once, in order, and the reply too. */
async function reconnect(kernel) {
  const before = sockets.length;
  const code = `import time\nfor i in range(150):\n    print(i, flush=True)\n    time.sleep(0.02)`;
  let cut = false;
  const text = await run(kernel, code, soFar => {
    if (!cut && soFar.includes('\n40\n')) {
      cut = true;
      sockets.at(-1).terminate();
    }
  });
  const wanted = Array.from({ length: 150 }, (_, i) => `${i}\n`).join('');
  assert.equal(text, wanted);
  assert.ok(sockets.length > before, 'the library did not reconnect');
  assert.equal(sockets.at(-1).protocol, V1);
}

async function main() {
  const serverSettings = ServerConnection.makeSettings({
    baseUrl: process.env.CELLBLOCK_URL,
    token: process.env.CELLBLOCK_TOKEN,
    WebSocket: RecordedSocket
  });
  const specs = new KernelSpecManager({ serverSettings });
  await within(specs.ready, 'kernelspecs');
  const kernels = new KernelManager({ serverSettings });
  await within(kernels.ready, 'list of kernels');
  const kernel = await within(kernels.startNew({ name: specs.specs.default }), 'start');
  const info = await within(kernel.info, 'kernel_info');
  assert.equal(info.status, 'ok');
  assert.equal(sockets.at(-1).protocol, V1);

  assert.equal(await run(kernel, 'x = 6 * 7\nprint(x)'), '42\n');
  await fiveMegabytes(kernel);
  await comm(kernel);
  await reconnect(kernel);
  assert.equal(await run(kernel, 'print(x)'), '42\n', 'after the reconnect');

  await within(kernel.restart(), 'restart');
  assert.equal(await run(kernel, `print('x' in globals())`), 'False\n', 'after the restart');

  const { id } = kernel;
  await within(kernel.shutdown(), 'shutdown');
  await within(kernels.refreshRunning(), 'list after the shutdown');
  assert.ok(![...kernels.running()].some(model => model.id === id), 'the kernel is still listed');
  kernels.dispose();
  specs.dispose();
  console.log(JSON.stringify({ kernel: id, sockets: sockets.length }));
}

main().then(() => process.exit(0), error => {
  console.error(error);
  process.exit(1);
});
