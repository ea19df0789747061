// A long list, in requests that the server takes.
import { bytesOf } from '../check.js';

const ENVELOPE = 256; // bytes of field names and brackets

// `rows` are lists of JSON texts, one for every field of `names`. Gives [{ from, rows }]; a row larger than a whole request goes alone,
// and the server says what it thinks of it.
function split(rows, fixed, { maxDocuments, maxBodyBytes }) {
  const room = maxBodyBytes - ENVELOPE - bytesOf(fixed);
  const batches = [];
  let batch = null;
  let bytes = 0;
  for (const [at, row] of rows.entries()) {
    const size = row.reduce((sum, text) => sum + bytesOf(text) + 1, 0);
    if (!batch || batch.rows.length >= maxDocuments || bytes + size > room) {
      batches.push((batch = { from: at, rows: [] }));
      bytes = 0;
    }
    batch.rows.push(row);
    bytes += size;
  }
  return batches;
}

// Posts `fields` with lists called `names`, of which `rows` hold one text each; `read(reply, from, count)` is what each reply comes to.
// The first failure ends all.
export async function sendInBatches({ requests, caps, signal, fail }, path, fields, names, rows, read) {
  const fixed = JSON.stringify(fields);
  const json = rows.map((row) => row.map((text) => JSON.stringify(text)));
  const send = async ({ from, rows }) => {
    const lists = names.map((name, column) => `"${name}":[${rows.map((row) => row[column]).join(',')}]`);
    const inner = fixed.slice(1, -1);
    const reply = await requests.send(path, `{${[...(inner ? [inner] : []), ...lists].join(',')}}`, signal);
    return read(reply, from, rows.length);
  };
  try {
    return await Promise.all(split(json, fixed, caps).map(send));
  } catch (error) {
    fail(error); // the others have no use any more
    throw error;
  }
}
