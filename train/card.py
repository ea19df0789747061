"""Fill in the numbers of a model card from what a run left in its work folder.

What stands in the card between <!-- NAME --> and <!-- /NAME --> is rewritten; everything else is prose by hand. The parts are the functions below
that are listed in PARTS.
"""
import argparse
import json
import os
import re

from data import HELD
from report import read_json, write_text


def table(head, rows, right=()):
    line = lambda cells: "| " + " | ".join(str(c).replace("|", "\\|") for c in cells) + " |"
    rule = "|" + "|".join("--:" if i in right else "---" for i in range(len(head))) + "|"
    return "\n".join([line(head), rule, *map(line, rows)])


class Run:
    def __init__(self, data, work):
        at = lambda name: os.path.join(work, name)
        self.train, self.embed, self.tokenizer = (read_json(at(n)) for n in ("train.json", "embed.npz.json", "tok/tokenizer-report.json"))
        self.start, self.rounded, self.answer = (read_json(at(n)) for n in ("start.json", "rounded.json", "answer.json"))
        self.tuned = [read_json(at(os.path.basename(n))) for n in read_json(at("average.json"))["of"]]
        self.f32, self.shipped, self.eval = (read_json(at(n)) for n in ("f32.json", "shipped.json", "eval.json"))
        self.config, self.size = read_json(at("export/config.json")), os.path.getsize(at("mini.gguf"))
        path = os.path.join(data, "train", "sets.json")
        self.sets = read_json(path) if os.path.exists(path) else {}
        with open(at("log.jsonl"), encoding="utf8") as f:
            self.log = in_order(json.loads(line) for line in f)


def in_order(notes):
    """The notes of a run; those of steps that a resumed run made again are dropped."""
    kept = []
    for note in notes:
        if "step" in note:
            while kept and kept[-1]["step"] > note["step"]:
                kept.pop()
            kept.append(note)
    return kept


def short(x):
    """1e16, 1e-6"""
    return re.sub(r"e([+-]?)0*(\d+)$", lambda m: "e" + m[1].strip("+") + m[2], re.sub(r"e\+", "e", f"{x:g}"))


def facts(r):
    c = r.config
    embeddings = c["vocab_size"] * c["hidden_size"]
    return table(("", ""), [
        ("architecture", f"`Qwen3ForCausalLM`: RMSNorm on q and k, RoPE (theta {short(c['rope_theta'])}), SwiGLU, RMSNorm (eps {short(c['rms_norm_eps'])}), tied embeddings, no biases"),
        ("shape", f"hidden {c['hidden_size']}, intermediate {c['intermediate_size']}, {c['num_hidden_layers']} layers, {c['num_attention_heads']} heads / "
                  f"{c['num_key_value_heads']} key-value heads of {c['head_dim']}, vocabulary {c['vocab_size']:,}"),
        ("parameters", f"{r.train['parameters']:,} ({embeddings:,} of them embeddings)"),
        ("file", f"{r.size:,} bytes"),
        ("tokenizer", "byte-level BPE, trained on the training text; pre-tokenizer of Qwen2/Qwen3, text in lower case after NFC"),
        ("prompt", 'that of the Qwen3-Reranker model card; score = sigmoid(logit of "yes" - logit of "no") at the last token'),
        ("longest input", f"trained on documents of up to {(r.train if r.train['steps'] else r.start)['options']['long_limit']} tokens; longer ones work but are not what it knows"),
    ])


def figures(t, name):
    return [f"{t[k][name]:.4f}" for k in ("model", "BM25", "random")]


def quality(r):
    t = r.shipped["sets"]
    rows = [(n, *figures(t, n), t["queries"][n]) for n in sorted(t["queries"])]
    total = sum(t["queries"].values())
    rows.append(("**mean over sets**", *(f"**{x}**" for x in figures(t, "MEAN")), total))
    overall = r.eval["overall"]["metrics"]["ndcg@10"]
    mean, worst = t["model"]["MEAN"], short(float(f"{r.f32['check']:.1g}"))
    if abs(overall["model"]["mean"] - mean) > 0.002:
        raise SystemExit(f"shipped.json has {mean:.4f}, eval.json {overall['model']['mean']:.4f}: they are not of the same file and lists")
    low_high = lambda x: f"{x['mean']:.4f} (95 % interval {x['low']:.4f} to {x['high']:.4f})"
    return table(("set", "mini", "BM25", "random", "queries"), rows, right=range(1, 5)) + (
        f"\n\nMean over sets: {low_high(overall['model'])}; minus BM25's: {low_high(overall['model_minus_baseline'])}, by `edge-reranker eval`. "
        f"The float32 weights reach {r.f32['sets']['model']['MEAN']:.4f}: quantising them changes the mean by {r.shipped['difference']:+.4f}. "
        f"They differ from transformers by at most {worst} in the logit.")


def languages(r):
    t = r.shipped["languages"]
    order = sorted(t["queries"], key=lambda n: (-t["queries"][n], n))
    return table(("language of the query", "mini", "BM25", "random", "queries"), [(n, *figures(t, n), t["queries"][n]) for n in order], right=range(1, 5))


def training(r):
    t, e = r.train, r.embed
    o = t["options"]

    def where(h):
        several = f"{h['processes']} processes, each on " if h.get("processes", 1) > 1 else ""
        return several + (h["gpu"] or f"{h['threads']} thread{'s' if h['threads'] > 1 else ''} of {h['processor']}")

    taught = f", of which those of {', '.join(t['taught'])} also follow a teacher's scores (weight {o['distil']:g}, {o['distil_loss']})" if t["taught"] else ""
    calibrated = lambda s: f"{s['steps']:,} steps, {s['minutes']:g} minutes ({where(s['hardware'])})"
    c = r.start["options"]
    steps = [
        f"Tokenizer: {r.tokenizer['vocabulary']:,} tokens, BPE over up to {r.tokenizer['options']['corpus_mb']:g} MB of the training text.",
        f"Context-free token vectors ({e['options']['dim']} dimensions), each the sum of one of its own and those of the n-grams in its spelling: {e['steps']:,} steps, {e['minutes']:g} minutes ({where(e['hardware'])}), on "
        f"{e['queries']:,} queries, those of {HELD - 1} in {HELD} passages.",
        f"The {len(r.start['constants'])} constants of heads that compare: {calibrated(r.start)}, lists of a positive that step 2 has not met and "
        f"{c['candidates'] - 1} negatives; a listwise loss and, at a weight of {c['pointwise']:g}, a pointwise one. Lists whose positive shares less than {c['found']:g} times as much with the query as the hard "
        "negatives do are left out.",
        f"The constants and the token vectors through the network, {len(r.tuned)} times, over other lists each time: {'; '.join(map(calibrated, r.tuned))}. Their average goes on.",
        f"The same from the average on, more slowly, with embedding rows rounded as Q4_1 rounds them: {calibrated(r.rounded)}.",
        f"How much the answer takes of each mark, {sum(name.startswith('answer ') for name in r.answer['constants'])} numbers: fitted to {r.answer['lists']:,} lists with documents "
        f"of up to {r.answer['options']['long_limit']} tokens, every set alike but without the `xb-` sets: their ratios by the listwise loss, scale and constant by the pointwise one.",
    ]
    if t["steps"]:
        steps.append(
            f"All weights: {t['steps']:,} steps of AdamW, {t['minutes']:g} minutes of wall clock ({where(t['hardware'])}, {o['precision']}), peak rate {short(o['lr'])}, over "
            f"{t['lists']:,} lists of a positive and {o['candidates'] - 1} negatives{taught}: {t['tokens'] / 1e6:.1f} million tokens (shared prefixes counted once, padding not "
            "counted)" + ("." if o["all_lists"] else ", positives that step 2 has not met."))
    return "\n".join(f"{n}. {text}" for n, text in enumerate(steps, 1)) + (
        f"\n\nIn steps 3 to 5 documents were cut to {c['limit']} tokens (a share of {c['long_share']:g} of the batches to {c['long_limit']}) around the best match with the query. In steps 3 and 4 embedding rows "
        f"were rounded as {c['rounding'].upper()} rounds them.")


def curve(r, most=12):
    evals = [n for n in r.log if "eval" in n]
    losses = [n for n in r.log if "ce" in n]
    chosen = sorted({round(i * (len(evals) - 1) / max(1, most - 1)) for i in range(most)}) if len(evals) > most else range(len(evals))
    rows = []
    for n in (evals[i] for i in chosen):
        before = [x["ce"] for x in losses if x["step"] <= n["step"]]
        rows.append((f"{n['minutes']:g}", f"{n['step']:,}", f"{n['tokens'] / 1e6:.1f}", f"{before[-1]:.3f}" if before else "", f"{n['eval']:.4f}"))
    return table(("minutes", "steps", "million tokens", "training loss (listwise)", "mean nDCG@10 (averaged weights)"), rows, right=range(5))


def data(r):
    shown = lambda langs: ", ".join(list(langs)[:5]) + (" ..." if len(langs) > 5 else "")
    rows = [(n, s.get("queries", ""), s.get("passages", ""), shown(sorted(s.get("langs") or {})), s.get("licence") or "", s.get("source") or "")
            for n, s in sorted(r.sets.items())]
    return table(("set", "queries", "passages", "languages", "licence", "source"), rows)


PARTS = {f.__name__: f for f in (facts, quality, languages, training, curve, data)}


def fill(card, run):
    def part(m):
        return f"<!-- {m['name']} -->\n{PARTS[m['name']](run)}\n<!-- /{m['name']} -->"

    for name in re.findall(r"<!-- /?([a-z]+) -->", card):
        if name not in PARTS or card.count(f"<!-- {name} -->") != 1 or card.count(f"<!-- /{name} -->") != 1:
            raise SystemExit(f"the card's mark {name}: one of {', '.join(PARTS)} is expected, once, with its end")
    return re.sub(r"<!-- (?P<name>[a-z]+) -->\n.*?<!-- /(?P=name) -->", part, card, flags=re.S)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--data", required=True)
    p.add_argument("--work", required=True, help="of run.sh")
    p.add_argument("--card", required=True, help="Markdown with marks")
    p.add_argument("--out", help="where to write (default: the card itself)")
    a = p.parse_args()
    with open(a.card, encoding="utf8") as f:
        text = fill(f.read(), Run(a.data, a.work))
    write_text(a.out or a.card, text)
    print(f"{a.out or a.card} has the numbers of {a.work}")


if __name__ == "__main__":
    main()
