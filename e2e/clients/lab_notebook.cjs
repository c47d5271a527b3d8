// Real JupyterLab in headless Chromium, its kernels on the gateway: a new notebook plots, and the picture is on the screen.
'use strict';

const assert = require('node:assert/strict');
const { mkdtempSync, rmSync } = require('node:fs');
const { tmpdir } = require('node:os');
const path = require('node:path');
const { startLab, openBrowser, kernelState } = require('./lab.cjs');

const ARTEFACTS = process.env.E2E_ARTEFACTS;
const CELL = `import numpy as np, matplotlib.pyplot as plt
x = np.linspace(0, 10, 200)
plt.plot(x, np.sin(x)); plt.plot(x, np.cos(x))
plt.title('from a container')
plt.show()
print('sum', 6 * 7)`;

/** A new notebook with the default kernel; waits until its kernel is idle. */
async function newNotebook(page, lab) {
  await page.goto(`${lab.url}/lab?token=${lab.token}&reset`);
  await page.locator('.jp-LauncherCard[data-category="Notebook"]').first().click({ timeout: 60_000 });
  await page.locator('.jp-Notebook .jp-Cell').first().waitFor();
  await kernelState(page, 'Idle');
}

async function runCell(page, code) {
  const editor = page.locator('.jp-Notebook .jp-Cell').last().locator('.cm-content');
  await editor.click();
  await page.keyboard.insertText(code);
  await page.keyboard.press('Shift+Enter');
}

async function main() {
  const profile = mkdtempSync(path.join(tmpdir(), 'e2e-chromium-'));
  const lab = await startLab();
  let browser;
  try {
    browser = await openBrowser(profile);
    const page = browser.pages()[0] ?? (await browser.newPage());
    page.setDefaultTimeout(60_000);
    const shot = name => page.screenshot({ path: path.join(ARTEFACTS, `${name}.png`) });
    try {
      await newNotebook(page, lab);
      await runCell(page, CELL);
      const picture = page.locator('.jp-OutputArea-output img').first();
      await picture.waitFor();
      const width = await picture.evaluate(img => img.decode().then(() => img.naturalWidth));
      assert.ok(width > 300, `the plot is ${width} pixels wide`);
      await page.getByText('sum 42').waitFor();
      await page.locator('.jp-InputPrompt', { hasText: '[1]:' }).waitFor();
      await kernelState(page, 'Idle');
      await shot('lab_notebook');
      console.log(JSON.stringify({ plot_width: width }));
    } catch (error) {
      await shot('lab_notebook_failed');
      throw error;
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
