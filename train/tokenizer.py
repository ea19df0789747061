"""Train the byte-level BPE tokenizer of a small reranker.

Pre-tokenizer and decoder are those of Qwen2/Qwen3; the normalizer puts text in lower case after NFC, and vocabulary and merges are new. Text is drawn
from the training passages and queries with square-root balancing over the sets, and the fixed words of the prompt are repeated
so that each of them becomes one token. "yes" and "no" are checked to be single tokens.
"""
import argparse
import math
import os
import random

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from data import load_instructions, read, set_names
from model import CONFIG
from prompt import PREFIX, SUFFIX, body
from report import write_json, write_text
from start import TEMPLATE

SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
ADDED = [("<|endoftext|>", True), ("<|im_start|>", True), ("<|im_end|>", True), ("<think>", False), ("</think>", False)]


def corpus(data, total_bytes, seed):
    """Yield training text: each set contributes in proportion to the square root of its size."""
    rng = random.Random(seed)
    folder = os.path.join(data, "train")
    texts = {}
    for name in set_names(data):
        t = [x["text"] for x in read(os.path.join(folder, name + ".passages.jsonl.gz"))]
        t += [x["query"] for x in read(os.path.join(folder, name + ".jsonl.gz"))]
        rng.shuffle(t)
        texts[name] = t
    size = {k: sum(len(x.encode()) for x in v) for k, v in texts.items()}
    norm = sum(math.sqrt(s) for s in size.values())
    for name, t in texts.items():
        budget = min(size[name], total_bytes * math.sqrt(size[name]) / norm)
        for x in t:
            budget -= len(x.encode())
            if budget < 0:
                break
            yield x
    for instruction in load_instructions(data):
        for _ in range(2000):
            yield PREFIX + body(instruction, "", "") + SUFFIX
    for _ in range(5000):
        yield from ("yes", "no", "\n\n")  # "\n\n" ends the prompt after a token that does not exist here yet


def build():
    tok = Tokenizer(models.BPE(fuse_unk=False, byte_fallback=False))
    tok.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tok.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), behavior="isolated", invert=False),
            pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False),
        ]
    )
    tok.post_processor = None
    tok.decoder = decoders.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)
    return tok


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--data", required=True, help="data folder (holds train/)")
    p.add_argument("--out", required=True, help="folder to write tokenizer.json to")
    p.add_argument("--vocab", type=int, default=CONFIG["vocab_size"], help="rows of the vocabulary, added tokens included")
    p.add_argument("--max-token-length", type=int, default=16, help="longest token in bytes")
    p.add_argument("--corpus-mb", type=float, default=48.0)
    p.add_argument("--seed", type=int, default=1)
    a = p.parse_args()
    tok = build()
    trainer = trainers.BpeTrainer(
        vocab_size=a.vocab - len(ADDED),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        max_token_length=a.max_token_length,
        show_progress=False,
    )
    tok.train_from_iterator(corpus(a.data, a.corpus_mb * 1e6, a.seed), trainer)
    for text, special in ADDED:
        tok.add_tokens([AddedToken(text, special=special, normalized=False)]) if not special else tok.add_special_tokens(
            [AddedToken(text, special=True, normalized=False)]
        )
    vocab = tok.get_vocab()
    if len(vocab) < a.vocab:
        raise SystemExit(f"the text gives only {len(vocab)} tokens: lower --vocab to that, or train on more text")
    for word in TEMPLATE + ["yes", "no"]:
        assert word in vocab, word
    assert sorted(vocab.values()) == list(range(a.vocab)), "the vocabulary must fill 0..n-1"
    assert all(c in vocab for c in pre_tokenizers.ByteLevel.alphabet())
    assert [tok.id_to_token(a.vocab - len(ADDED) + i) for i in range(len(ADDED))] == [t for t, _ in ADDED]
    os.makedirs(a.out, exist_ok=True)
    write_json(os.path.join(a.out, "tokenizer-report.json"), {"vocabulary": len(vocab), "options": vars(a)})
    write_text(os.path.join(a.out, "tokenizer.json"), tok.to_str(pretty=True))
    print("vocabulary", len(vocab), "prefix", len(tok.encode(PREFIX).ids), "suffix", len(tok.encode(SUFFIX).ids))


if __name__ == "__main__":
    main()
