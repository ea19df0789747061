// `node list-site.mjs FOLDER`: puts the list of a site's files, by content, before its service worker. Any change of a file makes a new one.
import { createHash } from 'node:crypto';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join, sep } from 'node:path';
import { pathToFileURL } from 'node:url';

const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex');

export async function listSite(folder) {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const paths = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath ?? entry.path, entry.name).slice(join(folder, sep).length).replaceAll(sep, '/'));
  const wanted = paths.filter((path) => path !== 'sw.js' && !path.endsWith('.d.ts')).sort();
  const list = await Promise.all(wanted.map(async (path) => [path === 'index.html' ? '' : path, sha256(await readFile(join(folder, path)))]));
  const files = JSON.stringify(Object.fromEntries(list), null, 1);
  const worker = (await readFile(join(folder, 'sw.js'), 'utf8')).replace(/^const FILES = [^;]*;\nconst VERSION = .*;\n/, '');
  await writeFile(join(folder, 'sw.js'), `const FILES = ${files};\nconst VERSION = '${sha256(files + worker).slice(0, 16)}';\n${worker}`);
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) await listSite(process.argv[2]);
