import assert from "node:assert/strict";
import { test } from "node:test";
import { Api, ApiError, sentence, xsrf } from "./api.ts";
import { ago, count, took } from "./words.ts";

/** answering gives an Api below a base path whose gateway gives this answer, and keeps what was asked. */
function answering(status: number, body: unknown) {
  const asked: { url: string; method?: string; headers: Record<string, string>; body?: string }[] = [];
  const text = typeof body === "string" ? body : JSON.stringify(body);
  globalThis.fetch = (async (url: URL, options: { method: string; headers: Record<string, string>; body?: string }) => {
    asked.push({ url: url.href, ...options });
    return new Response(status === 204 ? null : text, { status });
  }) as typeof fetch;
  return { api: new Api(new URL("http://host:8/base/"), () => "a=1; _xsrf=old; _xsrf=to%7Cken"), asked };
}

test("addresses stay below the base path", async () => {
  const { api, asked } = answering(200, []);
  await api.kernels();
  assert.equal(asked[0]!.url, "http://host:8/base/api/kernels");
  assert.equal(asked[0]!.headers["X-XSRFToken"], undefined);
  assert.equal(api.address, "http://host:8/base");
  assert.equal(api.channels("a/b", "s 1"), "ws://host:8/base/api/kernels/a/b/channels?session_id=s+1".replace("a/b", "a%2Fb"));
});

test("changes carry the XSRF token of the last cookie", async () => {
  const { api, asked } = answering(204, "");
  await api.stop("k1");
  await api.interrupt("k1");
  assert.deepEqual(asked.map(({ method, url }) => `${method} ${url.slice(19)}`), ["DELETE api/kernels/k1", "POST api/kernels/k1/interrupt"]);
  assert.ok(asked.every(({ headers }) => headers["X-XSRFToken"] === "to|ken"));
  assert.equal(xsrf(""), "");
});

test("a refusal is the server's own sentence", async () => {
  const { api } = answering(403, { message: "\n\nQuota reached: 3 of 3 kernels are running.\nStop one first.\n\n", reason: "quota" });
  const refused = await api.start("python3").catch((error: unknown) => error);
  assert.ok(refused instanceof ApiError && refused.status === 403);
  assert.equal((refused as ApiError).message, "Quota reached: 3 of 3 kernels are running.\nStop one first.");
  assert.equal(sentence(503, { message: "", reason: "Busy" }), "Busy");
  assert.equal(sentence(502, {}), "The gateway answered with status 502.");
  const broken = await answering(502, "<html>").api.kernels().catch((error: unknown) => error);
  assert.equal((broken as ApiError).message, "The gateway answered with status 502.");
});

test("an unreachable gateway is told apart", async () => {
  const { api } = answering(200, {});
  globalThis.fetch = async () => Promise.reject(new TypeError("network"));
  const error = await api.kernels().catch((error: unknown) => error);
  assert.equal((error as ApiError).status, 0);
});

test("kernelspecs: the default first, logos below the base path, odd ones survive", async () => {
  const { api } = answering(200, {
    default: "python3",
    kernelspecs: {
      a: { name: "a", spec: { display_name: "A", language: "r" }, resources: { "logo-64x64": "/elsewhere/kernelspecs/a/logo.png" } },
      odd: null,
      python3: { spec: { display_name: "Python 3", language: "python" }, resources: {} },
    },
  });
  assert.deepEqual(await api.specs(), [
    { name: "python3", title: "Python 3", language: "python", logo: "" },
    { name: "a", title: "A", language: "r", logo: "http://host:8/base/kernelspecs/a/logo.png" },
    { name: "odd", title: "odd", language: "", logo: "" },
  ]);
});

test("who I am", async () => {
  const { api } = answering(200, { identity: { username: "ada", name: "Ada", display_name: "Ada L." }, permissions: {} });
  assert.deepEqual(await api.me(), { username: "ada", name: "Ada L.", initials: "AD" });
});

test("words", () => {
  const now = Date.parse("2026-01-02T03:04:05Z");
  const cases = { "2026-01-02T03:04:00.000000Z": "just now", "2026-01-02T03:03:20Z": "45 s ago", "2026-01-02T02:00:00Z": "1 h ago", "2025-12-20T00:00:00Z": "13 days ago", "2026-01-02T03:05:00Z": "just now", nonsense: "" };
  for (const [iso, words] of Object.entries(cases)) assert.equal(ago(iso, now), words);
  assert.deepEqual([3, 940, 1234, 59_400, 125_000, 7_300_000].map(took), ["0.1 s", "0.9 s", "1.2 s", "59.4 s", "2 min 5 s", "2 h 1 min"]);
  assert.deepEqual([1, 2, 12_345].map((n) => count(n, "line")), ["1 line", "2 lines", "12,345 lines"]);
});
