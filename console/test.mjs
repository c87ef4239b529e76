// Bundles the tests of the pure parts into the folder that is its argument, and runs them: Node of
// any age reads them then, also one that does not know TypeScript.
import { spawnSync } from "node:child_process";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { build } from "esbuild";

const [folder] = process.argv.slice(2);
const names = (await readdir("tests")).filter((name) => name.endsWith(".test.mjs"));
await build({
  entryPoints: names.map((name) => join("tests", name)),
  outdir: folder,
  outExtension: { ".js": ".mjs" },
  bundle: true,
  platform: "node",
  format: "esm",
  target: ["es2022"],
  jsx: "automatic",
  jsxImportSource: "preact",
});
const files = names.map((name) => join(folder, name));
const ran = spawnSync(process.execPath, ["--test", ...files], { stdio: "inherit" });
process.exitCode = ran.status ?? 1;
