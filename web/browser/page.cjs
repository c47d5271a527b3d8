// The browser page in headless Chromium on a running gateway: signs in, runs cells on a real kernel, and looks at what
// a person would see. Prints one JSON object; its screenshots are kept in E2E_ARTEFACTS.
//   CELLBLOCK_URL=http://… CELLBLOCK_TOKEN=… E2E_ARTEFACTS=DIR NODE_PATH=…/node_modules node page.cjs
'use strict';

const assert = require('node:assert/strict');
const { mkdtempSync, rmSync } = require('node:fs');
const { tmpdir } = require('node:os');
const path = require('node:path');
const { chromium } = require('playwright-core');

const URL_ = process.env.CELLBLOCK_URL.replace(/\/$/, '');
const TOKEN = process.env.CELLBLOCK_TOKEN;
const ARTEFACTS = process.env.E2E_ARTEFACTS;
/** How long a kernel may take to start or come back, in ms. */
const START = 60_000;

const MARKUP = `from IPython.display import SVG, HTML, Javascript
display(SVG('<svg xmlns="http://www.w3.org/2000/svg" width="160" height="40" onload="document.title=1"><rect width="160" height="40" fill="teal"/><script>document.title=2</script></svg>'))
display(HTML("<img src=x onerror='document.title=3'>"), Javascript("document.title=4"))
print("<b onclick=x>plain</b> \\x1b[31mred\\x1b[0m")
for i in range(101): print(f"\\r{i}%", end="")`;

const PLOT = `import matplotlib.pyplot as plt
plt.figure(figsize=(6, 2.5)); plt.plot([1, 4, 2, 5]); plt.title("from the page"); plt.show()`;

const COUNT = `import time
for i in range(60):
    print("n", i); time.sleep(0.1)`;

/** Page drives the page as a person does. */
class Page {
  constructor(page) {
    this.page = page;
    this.faults = [];
    page.setDefaultTimeout(20_000);
    page.on('pageerror', error => this.faults.push(String(error)));
    page.on('dialog', dialog => { this.faults.push(`dialog: ${dialog.message()}`); dialog.dismiss(); });
    page.on('console', message => {
      if (/Content Security Policy|Refused to/.test(message.text())) this.faults.push(message.text());
    });
  }

  shot(name) {
    return this.page.screenshot({ path: path.join(ARTEFACTS, `page_${name}.png`) });
  }

  /** Waits until the text of an element matches. */
  async sees(selector, pattern, timeout = 20_000) {
    const wanted = [selector, pattern.source];
    await this.page.waitForFunction(([s, p]) => new RegExp(p).test(document.querySelector(s)?.innerText ?? ''), wanted, { timeout })
      .catch(async () => assert.fail(`${selector} never showed ${pattern}, but: ${await this.page.locator(selector).first().innerText().catch(() => 'nothing')}`));
  }

  async type(code) {
    await this.page.fill('.code', code);
    await this.page.press('.code', 'Shift+Enter');
  }

  /** Runs a cell and gives the rows of its output when it has ended. */
  async run(code, ending = /Done in/) {
    await this.page.evaluate(() => {
      const prompt = document.querySelector('.prompt');
      window.began = new Promise(resolve => new MutationObserver((_, observer) => {
        if (!prompt.textContent.includes('*')) return;
        observer.disconnect();
        resolve();
      }).observe(prompt, { childList: true, characterData: true, subtree: true }));
    });
    await this.type(code);
    await this.page.evaluate(() => window.began);
    await this.sees('.status', ending, START);
    return this.rows();
  }

  rows() {
    return this.page.$$eval('.output .row:not([hidden])', rows => rows.map(row => row.textContent.replace(/\n$/, '')));
  }

  async signIn() {
    const { page } = this;
    await page.goto(`${URL_}/`);
    await page.waitForURL(/\/login/);
    await this.shot('login');
    await page.fill('#token', 'not-a-token');
    await page.press('#token', 'Enter');
    await this.sees('#error', /not accepted/);
    await page.fill('#token', TOKEN);
    await page.press('#token', 'Enter');
    await this.sees('.starter', /Start/);
  }

  async start() {
    await this.page.click('.starter');
    await this.sees('.pill', /idle/, START);
  }

  async confirm(action) {
    await this.page.click(`.console-actions >> text=${action}`);
    await this.page.click('dialog .danger');
  }
}

/** cells: what a cell can put out, and what it asks. */
async function cells(p) {
  assert.deepEqual(await p.run('import sys; print("out"); print("err", file=sys.stderr); 6 * 7'), ['out', 'err', '42']);
  assert.match((await p.run('1 / 0', /Ended with ZeroDivisionError/)).join('\n'), /division by zero/);
  await p.shot('error');
  await p.run(PLOT);
  const width = await p.page.locator('.output img').evaluate(image => image.decode().then(() => image.naturalWidth));
  assert.ok(width > 300, `the plot is ${width} pixels wide`);
  await p.shot('plot');
  const rows = await p.run(MARKUP);
  assert.equal(rows.at(-2), '<b onclick=x>plain</b> red');
  assert.equal(rows.at(-1), '100%');
  assert.equal(await p.page.title(), 'Cellblock', 'output ran as a script');
  await p.shot('markup');
  return width;
}

async function questions(p) {
  const { page } = p;
  await p.type('name = input("Your name? ")\nimport getpass\nsecret = getpass.getpass("Secret: ")\nprint(name, len(secret))');
  await p.sees('.question', /Your name\?/);
  await p.shot('input');
  await page.keyboard.type('Ada');
  await page.keyboard.press('Enter');
  await p.sees('.question', /Secret:/);
  assert.equal(await page.getAttribute('#answer', 'type'), 'password');
  await page.keyboard.type('xyzzy');
  await page.keyboard.press('Enter');
  await p.sees('.status', /Done in/);
  assert.deepEqual(await p.rows(), ['Your name? Ada', 'Secret: ········', 'Ada 5']);
}

/** lives: interrupt, restart, a killed kernel, a reloaded page, much output. */
async function lives(p) {
  const { page } = p;
  await p.type('import time; kept = 1; time.sleep(600)');
  await p.sees('.pill', /busy/);
  await page.click('.console-actions >> text=Interrupt');
  await p.sees('.status', /KeyboardInterrupt/);
  await p.confirm('Restart');
  await p.sees('.output', /restarted/);
  await p.sees('.pill', /idle/, START);
  await p.run('kept', /NameError/);
  await p.type('import os; os.kill(os.getpid(), 9)');
  await p.sees('.output', /restarting/, START);
  await p.sees('.pill', /idle/, START);
  assert.deepEqual(await p.run('print("alive")'), ['alive']);
  await p.type(COUNT);
  await p.sees('.output', /n 10/);
  await page.reload();
  await p.sees('.status', /Done in/, START);
  const numbers = (await p.rows()).filter(row => /^n \d+$/.test(row)).map(row => Number(row.slice(2)));
  assert.equal(numbers.at(-1), 59);
  assert.ok(numbers.every((n, i) => i === 0 || n === numbers[i - 1] + 1), `after the reload: ${numbers}`);
  assert.ok(numbers[0] <= 25, `after the reload the first number is ${numbers[0]}`);
  const flood = await p.run('for i in range(60_000): print(i, "x" * 80)');
  assert.match(flood.at(-1), /^59999 x+$/);
  assert.match(flood[0], /earlier lines left out/);
  assert.ok(flood.length < 6000);
}

async function looks(p) {
  const { page } = p;
  await p.run('print("dark"); 1 / 0', /Ended with/);
  await page.emulateMedia({ colorScheme: 'dark' });
  await p.shot('dark');
  await page.emulateMedia({ colorScheme: 'light' });
  await page.setViewportSize({ width: 360, height: 780 });
  await page.click('role=tab[name="VS Code"]');
  const { scroll, inner } = await page.evaluate(() => ({ scroll: document.documentElement.scrollWidth, inner: window.innerWidth }));
  assert.ok(scroll <= inner, `a narrow page scrolls sideways: ${scroll} > ${inner}`);
  await p.shot('narrow');
  await page.setViewportSize({ width: 1280, height: 900 });
}

async function ends(p) {
  const { page } = p;
  await page.fill('.code', 'print("again")');
  await p.confirm('Stop');
  await p.sees('.ended', /You stopped this kernel/);
  await p.shot('ended');
  await page.click('.ended >> text=Start a new one');
  await p.sees('.pill', /idle/, START);
  assert.deepEqual(await p.run(await page.inputValue('.code')), ['again']);
  await p.confirm('Stop');
  await p.sees('.ended', /You stopped this kernel/);
  await page.waitForFunction(() => document.querySelectorAll('.kernel').length === 0);
  await page.click('.who >> text=Sign out');
  await page.waitForURL(/\/login/);
  assert.equal((await page.request.get(`${URL_}/api/me`)).status(), 401);
}

async function main() {
  const profile = mkdtempSync(path.join(tmpdir(), 'cellblock-page-'));
  const browser = await chromium.launchPersistentContext(profile, {
    executablePath: '/usr/bin/chromium',
    headless: true,
    viewport: { width: 1280, height: 900 },
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync']
  });
  const p = new Page(browser.pages()[0] ?? (await browser.newPage()));
  try {
    await p.signIn();
    await p.start();
    const width = await cells(p);
    await questions(p);
    await lives(p);
    await looks(p);
    await ends(p);
    assert.deepEqual(p.faults, []);
    console.log(JSON.stringify({ plot_width: width }));
  } catch (error) {
    await p.shot('failed').catch(() => undefined);
    throw error;
  } finally {
    await browser.close();
    rmSync(profile, { recursive: true, force: true });
  }
}

main().then(() => process.exit(0), error => {
  console.error(error);
  process.exit(1);
});
