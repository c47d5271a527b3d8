// A person at JupyterLab in headless Chromium, who does what standard input says: one JSON object a line with a verb and
// what it needs, answered by one line {"is": …} or {"wrong": …}. The first line printed is where Lab's own server listens;
// the browser goes to the address that the first verb, `sit`, names, which may be a proxy before it.
'use strict';

const { mkdtempSync, rmSync } = require('node:fs');
const { tmpdir } = require('node:os');
const path = require('node:path');
const readline = require('node:readline');
const { startLab, openBrowser } = require('./lab.cjs');

const PATIENCE = 30_000; // milliseconds for what must appear

class Person {
  constructor(page, lab) {
    this.page = page;
    this.lab = lab;
    page.setDefaultTimeout(PATIENCE);
    page.on('dialog', dialog => dialog.accept()); // the browser's own: leave the page, unsaved as it is
  }

  /** The notebook in front. */
  get notebook() { return this.page.locator('.jp-NotebookPanel:not(.lm-mod-hidden)'); }

  cellAt(n) { return this.notebook.locator('.jp-Notebook .jp-Cell').nth(n); }

  get launchers() { return this.page.locator('.jp-Launcher:visible .jp-LauncherCard[data-category="Notebook"]'); }

  /** Opens Lab. */
  async sit({ url }) {
    this.url = url;
    await this.page.goto(`${url}/lab?token=${this.lab.token}&reset`);
    await this.launchers.first().waitFor();
  }

  /** Opens a new notebook from the launcher; its kernel is not waited for. */
  async launch() {
    if (!(await this.launchers.count())) await this.page.locator('.lm-TabBar-addButton:visible').first().click();
    await this.launchers.first().click();
  }

  /** A new notebook with an idle kernel; returns the kernel's id. */
  async open() {
    const before = new Set((await this.sessions()).map(s => s.kernel.id));
    await this.launch();
    await this.cellAt(0).waitFor();
    const until = Date.now() + PATIENCE;
    for (;;) { // until then the status bar may still speak of another notebook
      const id = (await this.sessions()).map(s => s.kernel.id).find(id => !before.has(id));
      if (id) {
        await this.state({ is: 'Idle' });
        return id;
      }
      if (Date.now() > until) throw new Error('the new notebook got no kernel');
      await this.page.waitForTimeout(100);
    }
  }

  /** What Lab's own server says of its sessions. */
  async sessions() {
    const answer = await fetch(`${this.lab.url}/api/sessions`, { headers: { Authorization: `token ${this.lab.token}` } });
    return answer.json();
  }

  /** Waits until the status bar shows that state of the kernel. */
  async state({ is }) {
    await this.page.locator('#jp-main-statusbar').getByText(new RegExp(`\\| ${is}$`)).waitFor();
  }

  /** Runs code in the last cell, as somebody who types it and presses Shift+Enter; returns the cell's number. */
  async run({ code }) {
    const n = (await this.notebook.locator('.jp-Notebook .jp-Cell').count()) - 1;
    await this.cellAt(n).locator('.cm-content').click();
    await this.page.keyboard.insertText(code);
    await this.page.keyboard.press('Shift+Enter');
    return n;
  }

  /** Waits until a cell shows text, and, unless going is set, does not run any more. Returns what it shows. */
  async shown({ cell, text, going }) {
    const until = Date.now() + PATIENCE;
    for (;;) {
      const seen = await this.cellAt(cell).evaluate(node => ({
        prompt: node.querySelector('.jp-InputPrompt').textContent,
        text: [...node.querySelectorAll('.jp-OutputArea-output')].map(output => output.textContent).join('')
      }));
      const over = !seen.prompt.includes('*');
      if (new RegExp(text).test(seen.text) && (going || over)) return seen;
      if (Date.now() > until) {
        throw new Error(`cell ${cell} shows ${seen.prompt} ${JSON.stringify(seen.text.slice(-300))} and not ${text}`);
      }
      await this.page.waitForTimeout(100); // between two looks
    }
  }

  /** Restarts the kernel with the keyboard and confirms; returns when the dialog has gone. */
  async restart() {
    await this.page.keyboard.press('Escape');
    await this.page.keyboard.press('0');
    await this.page.keyboard.press('0');
    await this.page.locator('.jp-Dialog .jp-mod-accept').click();
    await this.page.locator('.jp-Dialog').waitFor({ state: 'detached' });
  }

  /** Waits for a dialog, returns its text, and closes it: with No or Cancel where there is such a thing. */
  async dialog({ shot } = {}) {
    const dialog = this.page.locator('.jp-Dialog').last();
    await dialog.waitFor();
    const text = await dialog.innerText();
    const open = await dialog.elementHandle();
    if (shot) await this.shot({ name: shot });
    const no = dialog.locator('button.jp-mod-reject');
    await ((await no.count()) ? no : dialog.locator('button.jp-mod-accept')).first().click();
    await open.waitForElementState('hidden');
    return text;
  }

  /** What the dialogs say that are open; closes them. */
  async dialogs() {
    const said = [];
    while (await this.page.locator('.jp-Dialog').count()) said.push(await this.dialog());
    return said;
  }

  /** Brings a notebook to the front. */
  async front({ name }) {
    await this.page.locator('.lm-DockPanel-tabBar .lm-TabBar-tab', { hasText: name }).click();
    await this.cellAt(0).waitFor();
  }

  /** Reloads the page. */
  async reload() {
    await this.page.reload();
    await this.cellAt(0).waitFor();
  }

  async shot({ name }) {
    await this.page.screenshot({ path: path.join(process.env.E2E_ARTEFACTS, `lab-${name}.png`) });
  }
}

async function main() {
  const profile = mkdtempSync(path.join(tmpdir(), 'e2e-chromium-'));
  const lab = await startLab();
  let browser;
  try {
    browser = await openBrowser(profile);
    const person = new Person(browser.pages()[0] ?? (await browser.newPage()), lab);
    console.log(JSON.stringify({ is: lab.url }));
    for await (const line of readline.createInterface({ input: process.stdin })) {
      const { verb, ...what } = JSON.parse(line);
      try {
        console.log(JSON.stringify({ is: (await person[verb](what)) ?? null }));
      } catch (error) {
        await person.shot({ name: `failed-${verb}` });
        console.log(JSON.stringify({ wrong: `${verb}: ${error.message.split("\n")[0]}` }));
      }
    }
  } finally {
    await browser?.close();
    await lab.stop();
    rmSync(profile, { recursive: true, force: true });
  }
}

main().then(() => process.exit(0), error => {
  console.error(error);
  process.exit(1);
});
