"""Options that several scripts have, and what follows from them."""
import torch
from tokenizers import Tokenizer

import data as D
from model import CONFIG, ROUNDING


def network(p):
    p.add_argument("--tokenizer", required=True, help="tokenizer.json made by tokenizer.py")
    p.add_argument("--layers", type=int, default=CONFIG["num_hidden_layers"])
    p.add_argument("--intermediate", type=int, default=CONFIG["intermediate_size"])
    p.add_argument("--start-seed", type=int, default=1, help="of the codes and frames of the start: the same in all scripts that know of it")
    p.add_argument("--threads", type=int, default=2)


def rounding(p):
    p.add_argument("--rounding", choices=ROUNDING, default="q4_1", help="of the embedding rows, in the forward pass")


def config(a, tok):
    return {**CONFIG, "vocab_size": tok.get_vocab_size(), "num_hidden_layers": a.layers, "intermediate_size": a.intermediate}


def calibration(p):
    """The options of a script that writes constants to --out, the tokenizer and the network's shape; sets the number of threads."""
    a = p.parse_args()
    if not a.out.endswith(".json"):
        p.error("--out: the name ends in .json")
    torch.set_num_threads(a.threads)
    tok = Tokenizer.from_file(a.tokenizer)
    return a, tok, config(a, tok)


def batches(p, candidates, tokens, long_share, long_limit=384, power=0.5):
    p.add_argument("--candidates", type=int, default=candidates)
    p.add_argument("--tokens", type=int, default=tokens, help="tokens a batch")
    p.add_argument("--limit", type=int, default=128, help="longest document in most batches (tokens)")
    p.add_argument("--long-limit", type=int, default=long_limit)
    p.add_argument("--long-share", type=float, default=long_share)
    p.add_argument("--power", type=float, default=power, help="a set is drawn in proportion to its size to this power")
    p.add_argument("--weight", action="append", default=[], metavar="PREFIX=FACTOR", help="draw the sets of this prefix more or less often (default: xb-=0.1)")
    p.add_argument("--found", type=float, default=0.9, help="leave out lists whose positive shares less than this part of what its first negatives share with the query")
    p.add_argument("--all-lists", action="store_true", help="train on the lists that embed.py has seen, too")


def batcher(a, tok, sets, seed, own_share=0.0, held=True):
    """held: the lists that embed.py has not seen, unless --all-lists says otherwise"""
    return iter(D.Batcher(a.data, sets, tok, seed, a.candidates, a.tokens, a.limit, a.long_limit, a.long_share, own_share, a.power,
                          factors=a.weight or ["xb-=0.1"], held=held and not a.all_lists, found=a.found))
