// Writes to a node with unmodified @huggingface/hub and reads the same bytes back.
//
// usage: node deposits.mjs PACKAGE ENDPOINT TOKEN NAMESPACE     (PACKAGE is the folder where the package is installed)

import assert from "node:assert";
import { createHash } from "node:crypto";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [folder, hubUrl, accessToken, namespace] = process.argv.slice(2);
const entry = createRequire(`${folder}/x.js`).resolve("@huggingface/hub");
const hub = await import(pathToFileURL(entry));
const repo = { type: "dataset", name: `${namespace}/from-js` };
const at = { repo, hubUrl, accessToken };

await hub.createRepo({ ...at, private: true });
const bytes = new Uint8Array(40_000_000);
let state = createHash("sha256").update("seed").digest();
for (let place = 0; place < bytes.length; place += 32) {
  state = createHash("sha256").update(state).digest();
  bytes.set(state.subarray(0, Math.min(32, bytes.length - place)), place);
}
const done = await hub.uploadFiles({
  ...at,
  files: [
    { path: "README.md", content: new Blob(["# From JavaScript\n"]) },
    { path: "data/large.raw", content: new Blob([bytes]) },
  ],
  commitTitle: "Add files",
});
assert.equal(done.commit.oid.length, 40);
const back = await hub.downloadFile({ ...at, path: "data/large.raw" });
const read = new Uint8Array(await back.arrayBuffer());
assert.equal(Buffer.compare(Buffer.from(read), Buffer.from(bytes)), 0);
const listed = [];
for await (const file of hub.listFiles({ ...at, recursive: true })) listed.push(file.path);
assert.deepEqual(listed.sort(), ["README.md", "data", "data/large.raw"]);
await hub.deleteFiles({ ...at, paths: ["README.md"] });
assert.equal(await hub.fileExists({ ...at, path: "README.md" }), false);
await assert.rejects(hub.listFiles({ repo, hubUrl }).next());
console.log(`ok: @huggingface/hub wrote and read ${bytes.length} bytes`);
