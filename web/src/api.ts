// The gateway's REST interface, as far as the page needs it.

import { asObject, joined } from "./rich.ts";

export interface Kernel {
  id: string;
  name: string;
  last_activity: string;
  execution_state: string;
  connections: number;
  reason?: string;
}

export interface Spec {
  name: string;
  title: string;
  language: string;
  /** Address of a logo, empty when there is none. */
  logo: string;
}

export interface Me {
  username: string;
  name: string;
  initials: string;
}

/** A refused or failed request. `message` is a sentence for the person; `status` is 0 when nothing answered. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

/** How long a request may take, in ms; a restart waits until the new process has answered. */
const TIMEOUT = 75_000;

/** Api asks the gateway at `base`, which ends with a slash. The session is a cookie of the browser's. */
export class Api {
  /** How far the gateway's clock is ahead of the browser's, in ms. */
  clockAhead = 0;

  constructor(
    readonly base: URL,
    private readonly cookies: () => string,
  ) {}

  /** address is the gateway as other programs name it: without a slash at the end. */
  get address(): string {
    return this.base.href.replace(/\/$/, "");
  }

  async me(): Promise<Me> {
    const identity = asObject(asObject(await this.request("GET", "api/me")).identity);
    const username = joined(identity.username);
    const name = joined(identity.display_name) || joined(identity.name) || username;
    return { username, name, initials: joined(identity.initials) || name.slice(0, 2).toUpperCase() };
  }

  /** specs gives the installed kernelspecs, the default one first. */
  async specs(): Promise<Spec[]> {
    const answer = asObject(await this.request("GET", "api/kernelspecs"));
    const specs = Object.entries(asObject(answer.kernelspecs)).map(([name, value]) => this.spec(name, asObject(value)));
    return specs.sort((a, b) => Number(b.name === answer.default) - Number(a.name === answer.default) || a.title.localeCompare(b.title));
  }

  async kernels(): Promise<Kernel[]> {
    const answer = await this.request("GET", "api/kernels");
    return Array.isArray(answer) ? (answer as Kernel[]) : [];
  }

  async kernel(id: string): Promise<Kernel> {
    return (await this.request("GET", `api/kernels/${encodeURIComponent(id)}`)) as Kernel;
  }

  async start(name: string): Promise<Kernel> {
    return (await this.request("POST", "api/kernels", { name })) as Kernel;
  }

  async stop(id: string): Promise<void> {
    await this.request("DELETE", `api/kernels/${encodeURIComponent(id)}`);
  }

  async interrupt(id: string): Promise<void> {
    await this.request("POST", `api/kernels/${encodeURIComponent(id)}/interrupt`);
  }

  async restart(id: string): Promise<Kernel> {
    return (await this.request("POST", `api/kernels/${encodeURIComponent(id)}/restart`)) as Kernel;
  }

  async logout(): Promise<void> {
    await this.request("POST", "logout");
  }

  /** channels is the address of a kernel's WebSocket for a session. */
  channels(id: string, session: string): string {
    const url = new URL(`api/kernels/${encodeURIComponent(id)}/channels`, this.base);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    url.searchParams.set("session_id", session);
    return url.href;
  }

  private spec(name: string, value: Record<string, unknown>): Spec {
    const spec = asObject(value.spec);
    const resources = asObject(value.resources);
    const logo = joined(resources["logo-svg"]) || joined(resources["logo-64x64"]) || joined(resources["logo-32x32"]);
    const at = logo.lastIndexOf("/kernelspecs/");
    return {
      name,
      title: joined(spec.display_name) || name,
      language: joined(spec.language),
      logo: at < 0 ? "" : new URL(logo.slice(at + 1), this.base).href,
    };
  }

  private async request(method: string, path: string, body?: unknown): Promise<unknown> {
    const headers: Record<string, string> = { Accept: "application/json" };
    if (method !== "GET") {
      headers["Content-Type"] = "application/json";
      headers["X-XSRFToken"] = xsrf(this.cookies());
    }
    let response: Response;
    try {
      response = await fetch(new URL(path, this.base), {
        method,
        headers,
        body: method === "POST" ? JSON.stringify(body ?? {}) : undefined,
        credentials: "same-origin",
        cache: "no-store",
        redirect: "manual",
        signal: AbortSignal.timeout(TIMEOUT),
      });
    } catch {
      throw new ApiError(0, "The gateway does not answer.");
    }
    const date = Date.parse(response.headers.get("Date") ?? "");
    if (date) this.clockAhead = date - Date.now();
    if (response.type === "opaqueredirect" || response.status === 204) return undefined;
    const answer: unknown = await response.json().catch(() => undefined);
    if (!response.ok) throw new ApiError(response.status, sentence(response.status, asObject(answer)));
    return answer;
  }
}

/** xsrf reads the token that has to be repeated in a header; the last cookie of the name counts. */
export function xsrf(cookies: string): string {
  const found = cookies.split(/;\s*/).filter((cookie) => cookie.startsWith("_xsrf="));
  return decodeURIComponent(found.at(-1)?.slice("_xsrf=".length) ?? "");
}

/** sentence gives the server's own words about a refusal, or ours. */
export function sentence(status: number, body: Record<string, unknown>): string {
  const said = joined(body.message).trim() || joined(body.reason).trim();
  return said.slice(0, 1000) || `The gateway answered with status ${status}.`;
}
