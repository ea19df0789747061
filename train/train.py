"""Train a small reranker for a given wall-clock time or number of steps, on CPU or CUDA; by torchrun in several processes."""
import argparse
import copy
import json
import os
import threading
import queue as queues
import time

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # spinning threads are costly on a machine that does other work too

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer

import data as D
import options
from evaluate import Lists
from model import Reranker, compile_parts, export
from parallel import Group
from report import hardware, read_json, write_json
from start import Start, protect, structured


def loss_of(s, candidates, pointwise):
    """Listwise cross-entropy (the first candidate is the positive) and a balanced pointwise part that centres the sigmoid."""
    s = s.view(-1, candidates)
    ce = -F.log_softmax(s, -1)[:, 0].mean()
    point = 0.5 * (F.softplus(-s[:, 0]).mean() + F.softplus(s[:, 1:]).mean())
    return ce + pointwise * point, ce, (s[:, :1] > s[:, 1:]).all(1).float().mean()


def distillation(s, teacher, kind, temperature):
    """What the lists differ from their teacher's scores; lists and candidates without scores (NaN) add nothing. The mean is over all lists, so that
    a list weighs the same whatever else is in its batch.

    kl: divergence of the softmax over the scored candidates from the teacher's, both at the temperature, times its square;
    margin: mean squared difference of the margins between the positive and the scored negatives."""
    known = teacher.isfinite()
    t, s = teacher.nan_to_num(), s.view_as(teacher)
    if kind == "margin":
        pair = known & known[:, :1]
        pair[:, 0] = False
        off = (s[:, :1] - s - (t[:, :1] - t)).masked_fill(~pair, 0).square().sum(1)
        return (off / pair.sum(1).clamp(min=1)).mean()
    known = known | ~known.any(1, keepdim=True)  # a list without scores: equal ones on both sides
    s = torch.where(teacher.isfinite().any(1, keepdim=True), s, t)
    soft = lambda x: F.log_softmax((x / temperature).masked_fill(~known, -1e9), -1)
    return F.kl_div(soft(s), soft(t), log_target=True, reduction="batchmean") * temperature**2


def background(it, depth=4):
    q = queues.Queue(depth)

    def work():
        try:
            for x in it:
                q.put(x)
        except Exception as e:  # the loop would wait for ever
            q.put(e)

    threading.Thread(target=work, daemon=True).start()
    while True:
        x = q.get()
        if isinstance(x, Exception):
            raise x
        yield x


def save(path, **state):
    torch.save(state, path + ".tmp")
    os.replace(path + ".tmp", path)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    p.add_argument("--data", required=True, help="data folder (train/ and dev/)")
    options.network(p)
    options.batches(p, candidates=6, tokens=6000, long_share=0.25)
    p.add_argument("--embeddings", help=".npz made by embed.py; without it the initialisation is random")
    p.add_argument("--constants", help="JSON made by calibrate.py: the constants of the start (default: those in start.py); its .npz is for --embeddings")
    p.add_argument("--work", required=True, help="folder for the encoded data, checkpoints and log")
    p.add_argument("--export", help="folder for the best exported model (default: WORK/export)")
    p.add_argument("--minutes", type=float, help="wall-clock cap, evaluations included")
    p.add_argument("--steps", type=int, help="stop after so many steps; this, or --minutes, or both; 0 exports the start as it is")
    p.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1")
    p.add_argument("--resume", action="store_true", help="go on from WORK/last.pt; its spent time counts towards the cap")
    options.rounding(p)
    p.add_argument("--lr", type=float, default=1.5e-4, help="of the matrices")
    p.add_argument("--embed-lr", type=float, default=1e-4)
    p.add_argument("--vector-lr", type=float, default=5e-4, help="of the norms' weights")
    p.add_argument("--answer-lr", type=float, default=3e-4, help="of what the answer takes of the last token")
    p.add_argument("--weight-decay", type=float, default=0.0, help="of the matrices")
    p.add_argument("--clip", type=float, default=20.0, help="greatest norm of the gradient")
    p.add_argument("--warmup", type=int, default=100, help="steps")
    p.add_argument("--decay", type=float, default=0.8, help="last part of the time, over which the rate falls to zero")
    p.add_argument("--ema", type=float, default=0.99)
    p.add_argument("--pointwise", type=float, default=0.3, help="weight of the pointwise part")
    p.add_argument("--distil", type=float, default=0.0, metavar="WEIGHT", help="weight of the teacher's scores, where lists have some (teach.py)")
    p.add_argument("--distil-loss", choices=["kl", "margin"], default="kl")
    p.add_argument("--temperature", type=float, default=1.0, help="of both softmaxes of kl")
    p.add_argument("--own-share", type=float, default=0.1, help="share of lists with the set's own instruction")
    p.add_argument("--eval-minutes", type=float, default=12)
    p.add_argument("--eval-limit", type=int, help="queries a set in evaluations on the way")
    p.add_argument("--precision", choices=["bf16", "f32"], default="bf16")
    p.add_argument("--compile", action="store_true", help="fuse element-wise parts (needs a C++ compiler)")
    p.add_argument("--seed", type=int, default=1)
    a = p.parse_args()
    if a.steps is None and a.minutes is None:
        p.error("one of --minutes and --steps is needed")
    cap = a.minutes if a.minutes is not None else float("inf")
    if a.device.startswith("cuda") and not torch.cuda.is_available():
        p.error("--device cuda: this PyTorch sees no CUDA device")

    group = Group(a.device)
    torch.set_num_threads(a.threads)
    if a.compile:
        compile_parts()
    torch.manual_seed(a.seed)
    os.makedirs(a.work, exist_ok=True)
    out = a.export or os.path.join(a.work, "export")
    last = os.path.join(a.work, "last.pt")
    tok = Tokenizer.from_file(a.tokenizer)
    c = options.config(a, tok)
    dtype = torch.bfloat16 if a.precision == "bf16" else torch.float32
    model = Reranker(c, tok.token_to_id("yes"), tok.token_to_id("no"), dtype, a.rounding)
    if a.embeddings:
        saved = read_json(a.constants)["constants"] if a.constants else None
        structured(model, Start(c, tok, a.embeddings, saved, a.start_seed))
        protect(model)
    model.to(group.device)
    ema = copy.deepcopy(model).requires_grad_(False)
    matrices = [w for n, w in model.named_parameters() if w.ndim == 2 and n != "embed" and w.requires_grad]
    vectors = [w for n, w in model.named_parameters() if w.ndim == 1 and n != "answer"]
    opt = torch.optim.AdamW(
        [{"params": matrices, "peak": a.lr, "weight_decay": a.weight_decay},
         {"params": [model.embed], "peak": a.embed_lr, "weight_decay": 0.0},
         {"params": vectors, "peak": a.vector_lr, "weight_decay": 0.0},
         {"params": [model.answer], "peak": a.answer_lr, "weight_decay": 0.0}], lr=a.lr, betas=(0.9, 0.98), fused=True)
    step, tokens, lists_seen, before, best = 0, 0, 0, 0.0, 0.0
    if a.resume and os.path.exists(last):
        s = torch.load(last, map_location=group.device)
        model.load_state_dict(s["model"]), ema.load_state_dict(s["ema"]), opt.load_state_dict(s["opt"])
        step, tokens, lists_seen, before, best = (s[k] for k in ("step", "tokens", "lists", "minutes", "best"))
    start = time.time()
    spent = lambda: before + (time.time() - start) / 60
    # The part of the run that is done: of its time or of its steps, whichever is further.
    done = lambda: max(spent() / max(cap, 1e-9), step / a.steps if a.steps else 0.0)
    log = open(os.path.join(a.work, "log.jsonl"), "a") if group.first else None

    def note(**kw):
        if not group.first:
            return
        print(" ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in kw.items()), flush=True)
        print(json.dumps(kw), file=log, flush=True)

    def checkpoint():
        if not group.first:
            return
        save(last, model=model.state_dict(), ema=ema.state_dict(), opt=opt.state_dict(), step=step, tokens=tokens,
             lists=lists_seen, minutes=spent(), best=best)

    dev = Lists(a.data, tok, a.eval_limit) if group.first else None

    def evaluate():
        nonlocal best
        if not group.first:  # the others wait for it at the next step
            return
        t = dev.table(dev.scores(ema))
        note(eval=t["MEAN"], step=step, minutes=round(spent(), 2), tokens=tokens, sets={k: round(v, 4) for k, v in t.items()})
        if t["MEAN"] > best:
            best = t["MEAN"]
            export(ema, tok, out)
            note(exported=out, ndcg=best)
        checkpoint()

    sets = D.load_train(a.data, tok, os.path.join(a.work, "cache"))
    batches = background(options.batcher(a, tok, sets, a.seed + step * group.size + 1000 * group.rank, a.own_share, held=bool(a.embeddings)))
    note(parameters=sum(w.numel() for w in model.parameters()), config=c)
    next_eval = spent() + a.eval_minutes
    next_save = spent() + 4
    shown, acc = time.time(), []
    tensor = lambda x: torch.from_numpy(x).to(group.device)
    while True:
        going = spent() < cap - 0.7 and not (a.steps is not None and step >= a.steps)  # leaves time for the last evaluation
        left, going = group.agree(1 - done(), going)
        if not going:
            break
        b = next(batches)
        rate = min(1, (step + 1) / a.warmup, max(0.01, left / a.decay))
        for g in opt.param_groups:
            g["lr"] = g["peak"] * rate
        s = model(*map(tensor, (b.head.astype(np.int64), b.query, b.query_len, b.doc, b.doc_len)), b.candidates)
        loss, ce, acc1 = loss_of(s, b.candidates, a.pointwise)
        distil = None
        if a.distil and b.teacher is not None:
            distil = distillation(s, tensor(b.teacher), a.distil_loss, a.temperature)
            loss = loss + a.distil * distil
        opt.zero_grad()
        (loss * len(b.query) / 16).backward()  # every list counts alike: batches of short documents hold more of them
        group.average(model.parameters())
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), a.clip)
        opt.step()
        decay = min(a.ema, (1 + step) / (10 + step))
        with torch.no_grad():
            torch._foreach_lerp_(list(ema.parameters()), list(model.parameters()), 1 - decay)
        step += 1
        now = group.total(int(b.doc_len.sum() + b.query_len.sum() + len(b.head)), len(b.query))
        tokens, lists_seen = tokens + int(now[0]), lists_seen + int(now[1])
        acc.append((ce.item(), acc1.item(), norm.item(), 0.0 if distil is None else distil.item()))
        if step % 50 == 0:
            m = np.mean(acc, 0)
            taught = {"distil": float(m[3])} if a.distil else {}
            note(step=step, minutes=round(spent(), 2), ce=float(m[0]), top1=float(m[1]), norm=float(m[2]), **taught,
                 rate=float(rate), step_s=round((time.time() - shown) / len(acc), 3), lists=lists_seen, tokens=tokens)
            shown, acc = time.time(), []
        if spent() > next_save:
            checkpoint()
            next_save = spent() + 4
        if spent() > next_eval and left > 0.04:
            evaluate()
            next_eval = spent() + a.eval_minutes
    evaluate()
    if not group.first:
        os._exit(0)
    write_json(os.path.join(a.work, "train.json"), {
        "steps": step, "minutes": round(spent(), 1), "tokens": tokens, "lists": lists_seen, "ndcg": best,
        "parameters": sum(w.numel() for w in model.parameters()), "config": c, "options": vars(a), "hardware": {**hardware(group.device), "processes": group.size},
        "queries": sum(len(s.lists) for s in sets), "taught": [s.name for s in sets if a.distil and s.scores is not None],
    })
    os._exit(0)


if __name__ == "__main__":
    main()
