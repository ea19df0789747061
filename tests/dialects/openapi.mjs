// Writes src/server/openapi.json, which the native server sends, from the description in pkg/src/server: node tests/dialects/openapi.mjs
// What depends on options is in it (a key, no base path); the server takes out what it has not.
import { writeFile } from 'node:fs/promises';
import { openapi } from '../../pkg/src/server/openapi.js';

export const description = `${JSON.stringify(openapi({ apiKey: ['key'], basePath: '' }))}\n`;

if (process.argv[1] === new URL(import.meta.url).pathname) await writeFile(new URL('../../src/server/openapi.json', import.meta.url), description);
