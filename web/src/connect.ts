// How to reach the same kernels from other programs.

import { h, icon } from "./dom.ts";

/** What stands where a person puts the token. */
const TOKEN = "YOUR_TOKEN";

/** connectPanel makes the panel for a gateway's address and a user's name. */
export function connectPanel(address: string, username: string): HTMLElement {
  const tabs: [string, HTMLElement][] = [
    ["JupyterLab", lab(address)],
    ["VS Code", vscode(address)],
    ["curl", curl(address)],
  ];
  return h(
    "section",
    { class: "card connect", "aria-labelledby": "connect-title" },
    h("h2", { id: "connect-title" }, "Connect your own client"),
    tabList(tabs),
    h(
      "p",
      { class: "hint" },
      h("code", {}, TOKEN),
      " is the token that you signed in with. On the gateway's machine ",
      h("code", {}, `cellblock token create --user ${username}`),
      " prints a new one.",
    ),
  );
}

function lab(address: string): HTMLElement {
  return block(
    "Shell lines for JupyterLab",
    [
      `export JUPYTER_GATEWAY_URL=${quoted(address)}`,
      `export JUPYTER_GATEWAY_AUTH_TOKEN=${TOKEN}`,
      'jupyter lab --gateway-url="$JUPYTER_GATEWAY_URL"',
    ].join("\n"),
  );
}

function vscode(address: string): HTMLElement {
  return h(
    "div",
    {},
    h(
      "ol",
      { class: "steps" },
      h("li", {}, "Open a notebook and choose ", h("b", {}, "Select Kernel"), "."),
      h("li", {}, "Choose ", h("b", {}, "Existing Jupyter Server…"), " and paste this address:"),
    ),
    block("Address for VS Code", `${address}/?token=${TOKEN}`),
  );
}

function curl(address: string): HTMLElement {
  return block("Shell line for curl", `curl -X POST -H 'Authorization: token ${TOKEN}' ${quoted(`${address}/api/kernels`)}`);
}

/** quoted protects what a shell would read otherwise. */
function quoted(text: string): string {
  return /^[\w.:/%@+-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

function block(label: string, text: string): HTMLElement {
  const button: HTMLButtonElement = h(
    "button",
    { class: "icon-button copy", title: "Copy", "aria-label": `Copy: ${label}`, click: () => void copied(button, text) },
    icon("copy"),
  );
  return h("div", { class: "snippet" }, h("pre", { tabindex: 0, "aria-label": label }, text), button);
}

async function copied(button: HTMLElement, text: string): Promise<void> {
  const done = await navigator.clipboard?.writeText(text).then(() => true, () => false);
  if (!done && !selectAndCopy(text)) return;
  button.replaceChildren(icon("done"));
  setTimeout(() => button.replaceChildren(icon("copy")), 1500);
}

/** selectAndCopy is the way for pages that are not in a secure context. */
function selectAndCopy(text: string): boolean {
  const field = h("textarea", { class: "hidden", "aria-hidden": "true" });
  field.value = text;
  const focused = document.activeElement as HTMLElement | null;
  document.body.append(field);
  field.select();
  const done = document.execCommand("copy");
  field.remove();
  focused?.focus();
  return done;
}

/** tabList shows one of several panels; arrow keys move between the tabs. */
function tabList(tabs: [string, HTMLElement][]): HTMLElement {
  const buttons = tabs.map(([name], i) =>
    h("button", { role: "tab", id: `tab-${i}`, "aria-controls": `panel-${i}`, click: () => choose(i) }, name),
  );
  const panels = tabs.map(([, panel], i) => h("div", { role: "tabpanel", id: `panel-${i}`, "aria-labelledby": `tab-${i}` }, panel));
  const choose = (chosen: number) =>
    buttons.forEach((button, i) => {
      button.setAttribute("aria-selected", String(i === chosen));
      button.tabIndex = i === chosen ? 0 : -1;
      panels[i]!.hidden = i !== chosen;
    });
  const list = h("div", { role: "tablist", class: "tabs", "aria-labelledby": "connect-title" }, ...buttons);
  list.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const next = (buttons.indexOf(event.target as HTMLButtonElement) + step + buttons.length) % buttons.length;
    choose(next);
    buttons[next]!.focus();
  });
  choose(0);
  return h("div", {}, list, ...panels);
}
