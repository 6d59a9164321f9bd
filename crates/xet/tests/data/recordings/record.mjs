// Records what the JavaScript client @huggingface/hub uploads by Xet: a table as text, and numbers.
//
// node record.mjs FOLDER

import { createHash } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { commit } from "@huggingface/hub";

const folder = process.argv[2];
mkdirSync(folder, { recursive: true });

const lines = Array.from({ length: 900 }, (_, n) => `row ${n},${"abc"[(n * n) % 3]},${(n * 7) % 10}\n`).join("");
const numbers = Float32Array.from({ length: 2001 }, (_, n) => 37 + Math.sin(n * n));
const contents = { "lines.bin": new TextEncoder().encode(lines), "numbers.bin": new Uint8Array(numbers.buffer) };
const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");
// A hash as Xet prints hashes: four little-endian words.
const printed = (bytes, at) => [0, 8, 16, 24].map((word) => Buffer.from(bytes).readBigUInt64LE(at + word).toString(16).padStart(16, "0")).join("");

let posts = 0;
const files = [];
const json = (value, status = 200) => new Response(JSON.stringify(value), { status, headers: { "Content-Type": "application/json" } });

// Stands in for the hub: every file is to be sent by Xet, nothing is there already.
async function hub(address, { body } = {}) {
	const path = new URL(address).pathname;
	if (path.endsWith("/preupload/main")) {
		return json({ files: JSON.parse(body).files.map(({ path }) => ({ path, uploadMode: "lfs" })) });
	}
	if (path.endsWith("/objects/batch")) {
		const header = { "X-Xet-Cas-Url": "http://store", "X-Xet-Access-Token": "made-up", "X-Xet-Token-Expiration": String(2 ** 40) };
		const actions = { upload: { href: "http://hub/token", header } };
		return json({ transfer: "xet", objects: JSON.parse(body).objects.map((object) => ({ ...object, actions })) });
	}
	if (path.startsWith("/v1/xorbs/default/")) {
		writeFileSync(join(folder, `${path.split("/").at(-1)}.xorb`), body);
		posts += 1;
		return json({ was_inserted: true });
	}
	if (path === "/v1/shards") {
		writeFileSync(join(folder, `${posts}.shard`), body);
		posts += 1;
		// Each file has one segment here: its record, the segment, the proof and the SHA-256.
		for (let at = 48; body[at] !== 0xff || body[at + 1] !== 0xff; at += 4 * 48) {
			const content = Object.values(contents).find((bytes) => sha256(bytes) === printed(body, at + 3 * 48));
			files.push({ hash: printed(body, at), bytes: content.length, sha256: sha256(content) });
		}
		return json({ result: 1 });
	}
	if (path.includes("/commit/")) {
		return json({ commitOid: "0", commitUrl: "http://hub/commit", hookOutput: "" });
	}
	return json({}, 404);
}

await commit({
	hubUrl: "http://hub",
	accessToken: "hf_made_up",
	repo: { type: "dataset", name: "made/up" },
	title: "made up",
	operations: Object.entries(contents).map(([path, bytes]) => ({ operation: "addOrUpdate", path, content: new Blob([bytes]) })),
	fetch: hub,
});
writeFileSync(join(folder, "files.json"), JSON.stringify(files, null, 1) + "\n");
