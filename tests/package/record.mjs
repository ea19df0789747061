// What each runtime did, kept for table.mjs.
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { TARGET } from './pack.mjs';

export const RECORDS = join(TARGET, 'runtimes');

// `row`: { name, version, loads, ranks, worker, threads, webgpu }, each of the latter true, or why not.
export async function record(id, row) {
  await mkdir(RECORDS, { recursive: true });
  await writeFile(join(RECORDS, `${id}.json`), JSON.stringify(row, null, 2));
}
