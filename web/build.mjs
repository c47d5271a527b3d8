// Builds the page into dist, which is checked in so that a Go toolchain alone can build Cellblock.
//   node build.mjs           writes dist
//   node build.mjs --check   fails when dist is not what the sources give
//   node build.mjs --tests   builds the tests into a temporary directory and runs them

import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build } from "esbuild";

const root = import.meta.dirname;
const source = join(root, "src");

async function page(outdir) {
  rmSync(outdir, { recursive: true, force: true });
  cpSync(join(source, "static"), outdir, { recursive: true });
  const common = { bundle: true, minify: true, outdir, allowOverwrite: true, charset: "utf8", logLevel: "warning", legalComments: "none" };
  await build({ ...common, entryPoints: ["app.ts", "login.ts"].map((name) => join(source, name)), format: "esm", target: ["es2022"] });
  await build({ ...common, entryPoints: [join(outdir, "app.css")], target: ["chrome111", "firefox113", "safari16.4"] });
}

function differences(a, b) {
  const names = new Set([...readdirSync(a), ...readdirSync(b)]);
  const read = (dir, name) => (readdirSync(dir).includes(name) ? readFileSync(join(dir, name)) : Buffer.alloc(0));
  return [...names].filter((name) => !read(a, name).equals(read(b, name)));
}

async function inTemporary(work) {
  const dir = mkdtempSync(join(tmpdir(), "cellblock-web-"));
  try {
    return await work(dir);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

async function check(dir) {
  await page(dir);
  const stale = differences(dir, join(root, "dist"));
  if (stale.length > 0) console.error(`web/dist is not up to date (${stale.join(", ")}): run "npm run build" in web`);
  return stale.length === 0 ? 0 : 1;
}

async function tests(dir) {
  const entryPoints = readdirSync(source).filter((name) => name.endsWith(".test.ts")).map((name) => join(source, name));
  await build({
    entryPoints, bundle: true, format: "esm", platform: "node", target: "node20", outdir: dir, outExtension: { ".js": ".mjs" },
    loader: { ".bin": "binary" }, sourcemap: "inline", logLevel: "warning",
  });
  const files = readdirSync(dir).map((name) => join(dir, name));
  return spawnSync(process.execPath, ["--enable-source-maps", "--test", ...files], { stdio: "inherit" }).status ?? 1;
}

const mode = process.argv[2];
if (mode === "--check") process.exitCode = await inTemporary(check);
else if (mode === "--tests") process.exitCode = await inTemporary(tests);
else await page(join(root, "dist"));
