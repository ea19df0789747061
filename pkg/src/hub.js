// Hugging Face repositories: `owner/name[@revision][:QUANT|/file.gguf]` -> the names and addresses of the files to read.
import { badInput, RerankError, throwIfAborted } from './errors.js';
import { HttpFile } from './http.js';
import { parseHash } from './integrity.js';

const ID = /^([\w.-]+\/[\w.-]+?)(?:@([\w.-]+(?:\/[\w.-]+)*?))?(?::([\w.-]+)|\/(.+\.gguf))?$/i;
const COMMIT = /^[\da-f]{40}$/;

export function parseId(text) {
  const match = ID.exec(text);
  if (!match) return null;
  const [, repo, revision, quant, file] = match;
  if (!quant && !file && /\.gguf$/i.test(repo)) return null; // folder/model.gguf is an address
  return { repo, revision, quant, file };
}

const encode = (path) => path.split('/').map(encodeURIComponent).join('/');

export const idOf = ({ repo, revision, quant, file }) =>
  repo + (revision ? `@${revision}` : '') + (quant ? `:${quant}` : '') + (file ? `/${file}` : '');

// Gives [{ name, url, alias?, sha256? }] for the wanted files; where the listing names a commit, all are of that one. Hashes are
// those of the repository's own listing, which is asked for one file, too, if `context.hashes` says that they will be checked.
export async function resolveHub({ host, repo, revision = 'main', quant, file }, context) {
  const rootOf = (commit) => `${host.replace(/\/+$/, '')}/${encode(repo)}/resolve/${encodeURIComponent(commit)}/`;
  const root = rootOf(revision);
  const listing = `${host.replace(/\/+$/, '')}/api/models/${encode(repo)}/revision/${encodeURIComponent(revision)}?blobs=true`;
  const { commit, files: found } = (file && !context.hashes ? null : await (file ? tryList(listing, context) : list(listing, context))) ?? {};
  const at = (path) => ({
    name: path.split('/').pop(),
    url: (commit ? rootOf(commit) : root) + encode(path),
    alias: commit && root + encode(path),
    sha256: found?.get(path) ?? undefined,
  });
  if (file) return [at(file)];
  const names = found && [...found.keys()];
  if (quant) return [at(pickQuant(names ?? [], quant, repo))];
  if (!names) return resolveFolder(root, context);
  if (names.includes('config.json') && names.some((name) => isWeights(name))) return folderFiles(names).map(at);
  const files = ggufs(names);
  if (files.length === 1) return [at(files[0])];
  throw badInput(`${repo} holds ${files.length ? 'several GGUF files' : 'no model that can be read here'}: ${choices(files)}`);
}

// The files of a Hugging Face folder behind any address that ends in '/', without a listing.
export async function resolveFolder(root, context) {
  const at = (name) => ({ name, url: new URL(name, root).href });
  const index = await getJson(at('model.safetensors.index.json').url, context);
  const weights = index ? [...new Set(Object.values(index.weight_map ?? {}))] : ['model.safetensors'];
  if (weights.some((name) => typeof name !== 'string' || name.includes('/'))) {
    throw new RerankError('bad-model', `${root}model.safetensors.index.json does not list the files of this folder.`);
  }
  return [...SETTINGS.slice(0, index ? 3 : 2), ...weights].map(at);
}

export const isWeights = (name) => /^[^/]+\.safetensors$/.test(name);
const SETTINGS = ['config.json', 'tokenizer.json', 'model.safetensors.index.json'];
export const folderFiles = (names) => names.filter((name) => SETTINGS.includes(name) || isWeights(name));

const ggufs = (names) => names.filter((name) => /\.gguf$/i.test(name));
const choices = (files) => (files.length ? `add one of them as /file: ${files.join(', ')}.` : 'choose a repository with a GGUF file or with config.json and safetensors.');

function pickQuant(names, quant, repo) {
  const files = ggufs(names);
  const word = quant.toLowerCase();
  const fits = files.filter((name) => name.toLowerCase().slice(0, -5).split(/[/.-]/).includes(word));
  if (!fits.length) throw badInput(`${repo} has no GGUF file of type ${quant}; ${choices(files)}`);
  return fits.sort((a, b) => a.length - b.length || (a < b ? -1 : 1))[0];
}

// The commit, where it is told, and path -> SHA-256, which only large files have; null where the host has no listing.
async function list(url, context) {
  const reply = await getJson(url, context);
  if (!reply || !Array.isArray(reply.siblings)) return null;
  const files = new Map(reply.siblings.map((file) => [String(file?.rfilename), parseHash(file?.lfs?.sha256)]));
  return { commit: COMMIT.test(reply.sha) ? reply.sha : undefined, files };
}

// A host without a listing can still have the file: it is asked once.
const tryList = (url, context) =>
  list(url, { ...context, attempts: 1 }).catch((error) => {
    throwIfAborted(context.signal);
    if (error.code !== 'download') throw error;
    return null;
  });

// null where the host has no such file.
async function getJson(url, { fetch, signal, attempts }) {
  let file;
  try {
    file = await HttpFile.open(url, { fetch, signal, attempts, whole: true });
  } catch (error) {
    if (error.status === 404) return null;
    throw error;
  }
  const text = new TextDecoder().decode(await file.readAll());
  file.close();
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new RerankError('download', `${url} is not JSON: check the host and the id.`, { cause });
  }
}
