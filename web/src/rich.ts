// Which representation of a rich output the page shows. Kernel output is hostile: images only ever become the source
// of an <img>, where nothing in them runs, and HTML is never rendered.

import type { Json } from "./wire.ts";

/** Largest image, in characters of its data. */
export const MAX_IMAGE = 12 << 20;

export type Rich =
  | { kind: "image"; url: string; alt: string; width?: number; height?: number }
  | { kind: "text"; text: string }
  | { kind: "note"; text: string };

const BASE64 = /^[A-Za-z0-9+/\s]*={0,2}\s*$/;
const BITMAPS = ["image/png", "image/jpeg", "image/gif", "image/webp"];

/** choose picks what to show of a "data" bundle: an image, else the plain text, else a note about what is there. */
export function choose(data: unknown, metadata: unknown): Rich {
  const bundle = asObject(data);
  const alt = joined(bundle["text/plain"]).trim().slice(0, 200) || "image";
  for (const mime of [...BITMAPS, "image/svg+xml"]) {
    const source = joined(bundle[mime]);
    if (!source) continue;
    if (source.length > MAX_IMAGE) return { kind: "note", text: `An image of ${megabytes(source.length)} is too large to be shown here.` };
    const url = mime === "image/svg+xml" ? svg(source) : bitmap(mime, source);
    if (url) return { kind: "image", url, alt, ...size(asObject(asObject(metadata)[mime])) };
  }
  if ("text/html" in bundle && /^<[\w.]+ object>$/.test(joined(bundle["text/plain"]))) {
    return { kind: "note", text: "This output is HTML, which is not shown here. JupyterLab shows it." };
  }
  if ("text/plain" in bundle) return { kind: "text", text: joined(bundle["text/plain"]) };
  if ("application/json" in bundle) return { kind: "text", text: JSON.stringify(bundle["application/json"], null, 2) };
  const kinds = Object.keys(bundle).slice(0, 5).map((kind) => kind.slice(0, 60)).join(", ");
  return { kind: "note", text: kinds ? `Output without a text form (${kinds}). JupyterLab can show it.` : "Empty output." };
}

function bitmap(mime: string, source: string): string {
  return BASE64.test(source) ? `data:${mime};base64,${source.replace(/\s+/g, "")}` : "";
}

function svg(source: string): string {
  try {
    return `data:image/svg+xml;charset=utf-8,${encodeURIComponent(source)}`;
  } catch {
    return ""; // half a surrogate pair
  }
}

function size(metadata: Json): { width?: number; height?: number } {
  const fits = (n: unknown): n is number => typeof n === "number" && n >= 1 && n <= 8000;
  return {
    ...(fits(metadata.width) ? { width: Math.round(metadata.width) } : {}),
    ...(fits(metadata.height) ? { height: Math.round(metadata.height) } : {}),
  };
}

/** joined gives a text that kernels send as one string or as a list of them; anything else is empty. */
export function joined(value: unknown): string {
  if (Array.isArray(value)) return value.filter((part) => typeof part === "string").join("");
  return typeof value === "string" ? value : "";
}

export function asObject(value: unknown): Json {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Json) : {};
}

export function megabytes(n: number): string {
  return `${(n / (1 << 20)).toFixed(n < 10 << 20 ? 1 : 0)} MB`;
}
