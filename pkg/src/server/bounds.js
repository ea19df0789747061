// How much text of a request reaches the tokeniser, which takes time and memory by the byte, many times as much for a word without an end.
import { bytesOf } from '../check.js';
import { tooLarge } from './problem.js';

const LONGEST = 8192; // the engine's own bound on a prompt, where none is given
const BYTES_PER_TOKEN = 32; // more than those of nearly every token
const FIXED = 1024; // more than the tokens of a prompt's fixed parts

// Tokens of the longest prompt.
export const longest = (info, maxLength) => Math.min(maxLength ?? LONGEST, info.contextLength ?? LONGEST);

// Gives the documents with their texts as the engine needs them: of a text that is cut anyway, no more than what may be left of it.
// Throws where that, or the instruction, or a query, cannot be within the tokens.
export function fit({ query, queries, documents, instruction = '', maxTokensPerDocument = Infinity }, info, { maxLength, maxTokens = Infinity }) {
  const prompt = longest(info, maxLength);
  const most = Math.min(maxTokens, prompt);
  const check = (text, param, bytes) => {
    if (!over(text, bytes)) return;
    throw tooLarge(param, `${param} is longer than ${bytes} bytes, the most that ${most === maxTokens ? `a request of at most ${maxTokens} tokens` : `a prompt of at most ${prompt} tokens`} may have in one text: shorten it.`);
  };
  check(instruction, 'instruction', most * BYTES_PER_TOKEN);
  for (const one of new Set(queries ?? [query])) check(one, 'query', most * BYTES_PER_TOKEN);
  return documents.map(({ text }, at) => {
    const around = FIXED + instruction.length * 3 + (queries?.[at] ?? query).length * 3; // a token has a byte at least
    const left = Math.min(prompt, maxTokensPerDocument + around);
    const bytes = most * 2 * BYTES_PER_TOKEN;
    const cut = over(text, Math.min(left * BYTES_PER_TOKEN, bytes)) ? cutAfter(text, left) : text;
    check(cut, `documents[${at}]`, bytes);
    return { text: cut };
  });
}

// Bytes are counted only where the number of UTF-16 units leaves it open.
const over = (text, bytes) => text.length > bytes || (text.length * 3 > bytes && bytesOf(text) > bytes);

// No token reaches over two runs of letters, or two digits, so that what comes after `count` of these is none of the first `count` tokens.
function cutAfter(text, count) {
  const runs = /[\p{L}\p{M}]+|\p{N}/gu;
  for (let left = count + 4; left > 0; left--) if (!runs.test(text)) return text;
  return text.slice(0, runs.lastIndex);
}
