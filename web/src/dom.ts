// Building elements. Text only ever becomes text nodes.

type Child = Node | string | undefined | false;
type Properties = Record<string, string | boolean | number | ((event: never) => void) | undefined>;

/** h makes an element: functions become listeners, booleans set or leave out an attribute. */
export function h<K extends keyof HTMLElementTagNameMap>(tag: K, properties: Properties = {}, ...children: Child[]): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (typeof value === "function") element.addEventListener(name, value as EventListener);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== undefined && value !== false) element.setAttribute(name, String(value));
  }
  element.append(...children.filter((child) => child !== undefined && child !== false));
  return element;
}

const ICONS = {
  run: "M5 3.5v9l7.5-4.5z",
  interrupt: "M4.5 4.5h7v7h-7z",
  restart: "M12.8 6.2A5.2 5.2 0 1 0 13.2 8M13.2 2.8v3.6H9.6",
  stop: "M8 2.5v5M4.7 4.6a5 5 0 1 0 6.6 0",
  close: "M4 4l8 8M12 4l-8 8",
  copy: "M5.5 5.5v-3h8v8h-3M2.5 5.5h8v8h-8z",
  done: "M3 8.5l3.5 3.5L13 4.5",
} as const;

export type Icon = keyof typeof ICONS;

/** icon draws one of the page's icons; it says nothing to screen readers. */
export function icon(name: Icon): SVGSVGElement {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("class", `icon icon-${name}`);
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

/** setText changes a text only when it differs, so that screen readers hear no repetition. */
export function setText(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

/** setState changes the attribute that gives a dot or pill its colour. */
export function setState(element: HTMLElement, state: string): void {
  if (element.dataset.state !== state) element.dataset.state = state;
}
