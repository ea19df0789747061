// In any browser, or in Deno, whose modules come over HTTP too: fetches the case list, runs it, posts what came of it.
import { runCases } from './kernel-cases.js';

const at = (path) => new URL(path, import.meta.url);
const post = (path, value) => fetch(at(path), { method: 'POST', body: JSON.stringify(value) });

try {
  const { cases } = await (await fetch(at('cases.json'))).json();
  await post('result', await runCases(cases, { log: (kernel) => post('log', kernel) }));
} catch (error) {
  await post('result', { error: String(error?.stack ?? error) });
}
