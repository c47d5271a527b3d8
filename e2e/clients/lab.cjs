// Real JupyterLab with its kernels on a gateway, and headless Chromium before it: what the scripts that drive it share.
'use strict';

const { spawn } = require('node:child_process');
const path = require('node:path');
const readline = require('node:readline');
const { chromium } = require('playwright-core');

/** Starts JupyterLab in gateway mode. Ends with its standard input. */
async function startLab() {
  const python = path.join(process.env.E2E_CACHE, 'clients/bin/python');
  const lab = spawn(python, [path.join(__dirname, 'labserver.py'), 'lab'], { stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = new Promise(resolve => lab.once('exit', resolve));
  for await (const line of readline.createInterface({ input: lab.stdout })) {
    const stop = () => { lab.stdin.end(); return ended; };
    return { ...JSON.parse(line), stop };
  }
  throw new Error('JupyterLab did not start');
}

async function openBrowser(profile) {
  return chromium.launchPersistentContext(profile, {
    executablePath: '/usr/bin/chromium',
    headless: true,
    viewport: { width: 1280, height: 900 },
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync']
  });
}

/** Waits until the status bar shows the notebook's kernel in that state. */
async function kernelState(page, state) {
  await page.locator('#jp-main-statusbar').getByText(`| ${state}`).waitFor();
}

module.exports = { startLab, openBrowser, kernelState };
