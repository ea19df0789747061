// The samples of docs/runtimes.md run as they stand, in a project that has the packed package and the libraries.
import assert from 'node:assert/strict';
import { mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { rerankServer } from '../web/node-remote-server.mjs';
import { here, install, pack, run } from './pack.mjs';

const folder = await install({ after }, 'adapters', await pack({ after }));
for (const library of ['@langchain', '@llamaindex', '@ai-sdk']) await mkdir(join(folder, 'node_modules', library));
for (const library of ['@langchain/core', '@llamaindex/core', '@ai-sdk/provider', 'ai']) await symlink(here(`node_modules/${library}`), join(folder, 'node_modules', library), 'dir');
const docs = await readFile(here('../../docs/runtimes.md'), 'utf8');

const SAID = {
  remote: /^1 0\.\d+\n$/,
  langchain: /^Beijing is the capital of China 0\.\d+\n$/,
  llamaindex: /^Beijing is the capital of China 0\.\d+\n$/,
  'ai-sdk': /^Beijing is the capital of China 0\.\d+\n$/,
};

for (const [name, said] of Object.entries(SAID)) {
  test(name, async (t) => {
    const server = await rerankServer();
    t.after(() => server.close());
    const sample = docs.split(`<!-- sample: ${name} -->\n\`\`\`js\n`)[1].split('```')[0];
    const script = join(folder, `${name}.mjs`);
    await writeFile(script, sample.replace('http://127.0.0.1:8787', server.url));
    assert.match((await run(process.execPath, [script])).stdout, said);
  });
}
