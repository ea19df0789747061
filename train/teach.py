"""Add a teacher's scores to the lists of a data folder: "scores", beside [positive] + negatives, which train.py --distil learns from.

Teachers:
  st:MODEL     a sentence-transformers model, by path or id; a cross-encoder gives its logit, a bi-encoder its cosine
  qwen:MODEL   a Qwen3-Reranker checkpoint by transformers: yes - no with the official prompt
  gguf:MODEL   anything that `edge-reranker score --model` takes: yes - no

Scores are logits: a softmax over a list's scores should say how sure the teacher is. A cosine is multiplied by --scale (20, the usual inverse
temperature of bi-encoders). An interrupted run goes on where it stopped; a set that has its scores already (with the same --limit) is left.
"""
import argparse
import json
import os

from data import read, set_names
from prompt import DEFAULT_INSTRUCTION, PREFIX, SUFFIX, body
from report import read_json, write_json
from texts import write_gz


def sentence_transformers(model, a):
    import sentence_transformers as st
    import torch
    from transformers import AutoConfig

    try:
        kinds = AutoConfig.from_pretrained(model).architectures or []
    except (OSError, ValueError):  # a bi-encoder need not have a transformer
        kinds = []
    if any(k.endswith("ForSequenceClassification") for k in kinds):
        m = st.CrossEncoder(model, device=a.device, max_length=a.max_length)
        predict = dict(batch_size=a.batch, activation_fn=torch.nn.Identity(), show_progress_bar=False)
        return (lambda pairs: m.predict(pairs, **predict)), 1.0
    m = st.SentenceTransformer(model, device=a.device)
    encode = dict(batch_size=a.batch, normalize_embeddings=True, show_progress_bar=False)

    def score(pairs):
        queries, documents = ({t: n for n, t in enumerate(dict.fromkeys(side))} for side in zip(*pairs))
        q, d = m.encode_query(list(queries), **encode), m.encode_document(list(documents), **encode)
        return [float(q[queries[x]] @ d[documents[y]]) for x, y in pairs]

    return score, 20.0


def qwen(model, a):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tok = AutoTokenizer.from_pretrained(model)
    m = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32 if a.device == "cpu" else torch.bfloat16).to(a.device).eval()
    enc = lambda t: tok(t, add_special_tokens=False).input_ids
    prefix, suffix = enc(PREFIX), enc(SUFFIX)
    room = a.max_length - len(prefix) - len(suffix)
    yes, no = (tok.convert_tokens_to_ids(w) for w in ("yes", "no"))
    rows = m.get_output_embeddings().weight
    direction = (rows[yes].float() - rows[no].float()).detach()

    def score(pairs):
        ids = [prefix + enc(body(a.instruction, q, d))[:room] + suffix for q, d in pairs]
        order, out = sorted(range(len(ids)), key=lambda i: len(ids[i])), [0.0] * len(ids)
        for start in range(0, len(order), a.batch):
            part = order[start : start + a.batch]
            length = torch.tensor([len(ids[i]) for i in part], device=a.device)
            # Padding is at the end, where no earlier token can see it.
            x = torch.nn.utils.rnn.pad_sequence([torch.tensor(ids[i], device=a.device) for i in part], batch_first=True)
            with torch.no_grad():
                h = m.model(x).last_hidden_state[torch.arange(len(part), device=a.device), length - 1]
            for i, v in zip(part, (h.float() @ direction).tolist()):
                out[i] = v
        return out

    return score, 1.0


def gguf(model, a):
    import native

    device = "cuda" if a.device.startswith("cuda") else a.device
    return (lambda pairs: native.score(model, pairs, a.instruction, a.threads, device)), 1.0


TEACHERS = {"st": sentence_transformers, "qwen": qwen, "gguf": gguf}


def teach(a, name, score, scale):
    """Score a set's lists, chunk by chunk; what is done is kept in a file beside it until the set is complete."""
    path = os.path.join(a.data, "train", name + ".jsonl.gz")
    rows, passages = read(path), [x["text"] for x in read(os.path.join(a.data, "train", name + ".passages.jsonl.gz"))]
    if a.limit:
        rows, rest = rows[: a.limit], rows[a.limit :]
    else:
        rest = []
    part = path + ".scores"
    job, done = {"teacher": a.teacher, "instruction": a.instruction, "negatives": a.negatives, "scale": scale}, []
    if os.path.exists(part):
        with open(part, encoding="utf8") as f:
            lines = [line for line in f if line.endswith("\n")]  # the last one may have been cut off
        if lines and json.loads(lines[0]) == job:
            done = [json.loads(line) for line in lines[1:]][: len(rows)]
    with open(part, "w", encoding="utf8") as f:
        for x in [job, *done]:
            print(json.dumps(x), file=f)
        f.flush()
        while len(done) < len(rows):
            chunk = rows[len(done) : len(done) + a.chunk]
            pairs = [(r["query"], passages[j]) for r in chunk for j in [r["positive"], *r["negatives"][: a.negatives]]]
            scores = iter(score(pairs))
            for r in chunk:
                n = 1 + len(r["negatives"][: a.negatives])
                s = [round(scale * float(next(scores)), 4) for _ in range(n)]
                done.append(s + [None] * (1 + len(r["negatives"]) - n))
                print(json.dumps(done[-1]), file=f)
            f.flush()
            print(f"{name}: {len(done)} of {len(rows)} lists", flush=True)
    for r, s in zip(rows, done):
        r["scores"] = s
    write_gz(path, rows + rest)
    os.remove(part)
    known = [(s[0], max(x for x in s[1:] if x is not None)) for s in done if any(x is not None for x in s[1:])]
    first = sum(p > n for p, n in known) / len(known) if known else None
    return {**job, "limit": a.limit, "lists": len(done), "positive_first": first}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--data", required=True, help="data folder; its train/*.jsonl.gz are rewritten")
    p.add_argument("--teacher", required=True, metavar="KIND:MODEL")
    p.add_argument("--sets", nargs="*", help="only these")
    p.add_argument("--limit", type=int, help="at most so many lists of each set, the first ones")
    p.add_argument("--negatives", type=int, default=8, help="at most so many of a list")
    p.add_argument("--instruction", default=DEFAULT_INSTRUCTION, help="for qwen and gguf")
    p.add_argument("--scale", type=float, help="factor of the scores (bi-encoders: 20, others: 1)")
    p.add_argument("--again", action="store_true", help="also sets that have this teacher's scores")
    p.add_argument("--batch", type=int, default=32, help="pairs or texts at once")
    p.add_argument("--chunk", type=int, default=200, help="lists after which what is done is kept")
    p.add_argument("--max-length", type=int, default=512, help="tokens of a pair; of qwen, of the prompt")
    p.add_argument("--device", default="cpu", help="cpu or cuda")
    p.add_argument("--threads", type=int, default=2)
    a = p.parse_args()
    kind, _, model = a.teacher.partition(":")
    if kind not in TEACHERS or not model:
        p.error("--teacher is st:MODEL, qwen:MODEL or gguf:MODEL")
    names = set_names(a.data)
    if unknown := set(a.sets or ()) - set(names):
        p.error(f"no such set: {', '.join(sorted(unknown))}")
    if kind != "gguf":
        import torch

        torch.set_num_threads(a.threads)
    score, scale = TEACHERS[kind](model, a)
    note = os.path.join(a.data, "train", "teachers.json")
    for name in a.sets or names:
        taught = read_json(note) if os.path.exists(note) else {}
        before = taught.get(name, {})
        if (before.get("teacher"), before.get("limit")) == (a.teacher, a.limit) and not a.again:
            print(f"{name}: has scores of {a.teacher}")
            continue
        taught[name] = teach(a, name, score, a.scale or scale)
        write_json(note, taught)
        print(f"{name}: {taught[name]['lists']} lists, positive first in {taught[name]['positive_first']}")


if __name__ == "__main__":
    main()
