// What the caller named -> a plain description that can be sent to a worker. Nothing is read here.
import { badInput, shorten } from './errors.js';
import { idOf, parseId } from './hub.js';
import { known, REGISTRY, REMOTE_HOST } from './registry.js';

const isBytes = (value) => ArrayBuffer.isView(value) || value instanceof ArrayBuffer || Object.prototype.toString.call(value) === '[object SharedArrayBuffer]';
const asBytes = (value) =>
  ArrayBuffer.isView(value) ? new Uint8Array(value.buffer, value.byteOffset, value.byteLength) : new Uint8Array(value);
const lastName = (url) => (/^https?:/i.test(url) && new URL(url).pathname.split('/').filter(Boolean).pop()) || 'model.gguf';

export async function describeModel(model = 'mini', { revision, remoteHost = REMOTE_HOST }, platform) {
  if (typeof model === 'string') return describeText(model, { revision, host: addressOf(remoteHost, platform, ['http:', 'https:']) }, platform);
  if (typeof model?.read === 'function') {
    if (!Number.isSafeInteger(model.size) || model.size < 0) throw badInput(`model.size must be the length of the file in bytes, got ${String(model.size)}.`);
    return { kind: 'reader', name: String(model.name ?? 'model.gguf'), size: model.size };
  }
  const spec = await describeThing(model, platform, 'model.gguf');
  if (spec) return spec;
  throw badInput('model must be an id, an address, a File or Blob, bytes, or a reader { size, read(start, end) }.');
}

export async function describeTokenizer(tokenizer, platform) {
  const spec =
    typeof tokenizer === 'string'
      ? await describePlace(tokenizer, platform)
      : await describeThing(tokenizer, platform, 'tokenizer.json');
  if (!spec) throw badInput('tokenizer must be an address, a Blob or the bytes of a tokenizer.json.');
  return spec;
}

// An address, or bytes, or a compiled module.
export function describeWasm(wasm, platform) {
  if (wasm === undefined || isBytes(wasm) || wasm instanceof WebAssembly.Module) return wasm;
  if (typeof wasm === 'string' || wasm instanceof URL) return platform.wasmAddress(String(wasm));
  throw badInput('wasm must be an address, the bytes of the module or a WebAssembly.Module.');
}

async function describeThing(thing, platform, fallbackName) {
  if (thing instanceof URL) return describePlace(thing.href, platform);
  if (typeof Blob !== 'undefined' && thing instanceof Blob) return { kind: 'blob', name: thing.name || fallbackName, blob: thing };
  if (isBytes(thing)) return { kind: 'bytes', name: fallbackName, bytes: asBytes(thing) };
  return null;
}

async function describeText(text, { revision, host }, platform) {
  const entry = known(text);
  if (entry?.builtin) return { kind: 'builtin', name: entry.id };
  if (entry) return { kind: 'hub', name: entry.id, host, repo: entry.repo, file: entry.file, revision };
  const path = await platform.path?.(text);
  if (path) return { kind: 'path', name: path.split(/[\\/]/).pop(), path };
  const id = /^[.\/]/.test(text) || /^[a-z][a-z\d+.-]*:/i.test(text) ? null : parseId(text);
  if (id) return { kind: 'hub', name: idOf(id), host, ...id, revision: id.revision ?? revision };
  if (!/[/:\\]|\.gguf\b/i.test(text)) {
    const ids = REGISTRY.map((one) => one.id).join(', ');
    throw badInput(`There is no model '${text}'. Known are ${ids}; others go by owner/name of a Hugging Face repository, by address or as a file.`);
  }
  return describePlace(text, platform);
}

async function describePlace(text, platform) {
  const path = await platform.path?.(text);
  if (path) return { kind: 'path', name: path.split(/[\\/]/).pop(), path };
  const url = addressOf(text, platform, ['http:', 'https:', 'blob:', 'data:']);
  return { kind: 'address', name: lastName(url), url };
}

function addressOf(text, platform, schemes) {
  const url = platform.address(text);
  const scheme = url.slice(0, url.indexOf(':') + 1);
  if (schemes.includes(scheme)) return url;
  if (scheme === 'file:' || scheme.length === 2) throw badInput(`${text} is a local file, which cannot be read from here by its name: pass a File, a Blob or its bytes.`);
  throw badInput(`'${shorten(text)}' cannot be read: an address begins with ${schemes.join(', ')}.`);
}
