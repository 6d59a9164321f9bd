// Reads a published data set from a node with unmodified @huggingface/hub, as nobody.
//
// usage: node reads.mjs PACKAGE ENDPOINT NAMESPACE/NAME     (PACKAGE is the folder where the package is installed)

import assert from "node:assert";
import { createHash } from "node:crypto";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [folder, hubUrl, name] = process.argv.slice(2);
const hub = await import(pathToFileURL(createRequire(`${folder}/x.js`).resolve("@huggingface/hub")));
const repo = { type: "dataset", name };
const at = { repo, hubUrl };
const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");

const info = await hub.datasetInfo({ name, hubUrl });
assert.equal(info.name, name);
const names = [];
for await (const entry of hub.listDatasets({ search: { owner: name.split("/")[0] }, hubUrl })) names.push(entry.name);
assert.ok(names.includes(name), names);

const sizes = new Map();
for await (const file of hub.listFiles({ ...at, recursive: true })) if (file.type === "file") sizes.set(file.path, file.size);
assert.ok(sizes.has("manifest.json") && sizes.has("data/train-00000-of-00001.parquet"), [...sizes.keys()]);

const manifestBytes = new Uint8Array(await (await hub.downloadFile({ ...at, path: "manifest.json" })).arrayBuffer());
const manifest = JSON.parse(new TextDecoder().decode(manifestBytes));
for (const revision of ["main", `v${manifest.version}`, sha256(manifestBytes).slice(0, 40)]) {
  for (const file of manifest.files) {
    const found = await hub.fileDownloadInfo({ ...at, path: file.path, revision });
    assert.equal(found.size, file.bytes, file.path);
    const blob = await hub.downloadFile({ ...at, path: file.path, revision });
    assert.equal(sha256(new Uint8Array(await blob.arrayBuffer())), file.sha256, file.path);
    assert.equal(sizes.get(file.path), file.bytes);
  }
}
// A blob is read lazily, by ranges.
const train = await hub.downloadFile({ ...at, path: "data/train-00000-of-00001.parquet" });
assert.equal(await train.slice(0, 4).text(), "PAR1");
assert.equal(await train.slice(train.size - 4).text(), "PAR1");

assert.equal(await hub.fileExists({ ...at, path: "nowhere.txt" }), false);
await assert.rejects(() => hub.downloadFile({ ...at, path: "README.md", revision: "v99.0.0" }));
await assert.rejects(() => hub.datasetInfo({ name: "no/such", hubUrl }), (error) => error.statusCode === 404);
console.log(`ok: ${manifest.files.length} files at three revisions`);
