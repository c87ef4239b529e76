// Builds the console into the folder that is its argument: a page, a script and a style sheet. The
// names of the latter two contain the hash of their content.
import { createHash } from "node:crypto";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { build } from "esbuild";

const [folder] = process.argv.slice(2);
const result = await build({
  absWorkingDir: import.meta.dirname ?? process.cwd(),
  entryPoints: { app: "src/main.tsx", style: "src/style.css" },
  outdir: "out",
  bundle: true,
  minify: true,
  write: false,
  format: "esm",
  target: ["es2022"],
  // Children as arguments of h() take less room than those that the newer transform puts among the properties.
  inject: ["jsx.mjs"],
  tsconfigRaw: { compilerOptions: { jsx: "react", jsxFactory: "h", jsxFragmentFactory: "Fragment" } },
  charset: "utf8",
  legalComments: "none",
});
await rm(folder, { recursive: true, force: true });
await mkdir(folder, { recursive: true });
let page = await readFile("src/index.html", "utf8");
for (const [end, place] of [[".js", "SCRIPT"], [".css", "STYLE"]]) {
  const { contents } = result.outputFiles.find((one) => one.path.endsWith(end));
  const hash = createHash("sha256").update(contents).digest("hex").slice(0, 10);
  const name = `app.${hash}${end}`;
  await writeFile(join(folder, name), contents);
  page = page.replace(place, name);
}
await writeFile(join(folder, "index.html"), page);
