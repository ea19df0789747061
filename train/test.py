"""The whole kit on toy data, about a minute on a CPU: python test.py

Every script runs as a user runs it; what each leaves is looked at. With EDGE_RERANKER set (or the program on PATH or built here), GGUF files too.
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from types import SimpleNamespace

os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false")  # everything is made here

import numpy as np
import torch
from tokenizers import Tokenizer

import card
import data as D
import native
import test_data
from answer import fit
from calibrate import coverage
from embed import Sampler, Vectors, spelling
from lexical import terms
from model import CONFIG, swiglu
from report import read_json
from start import ANSWER, CONST, HIDDEN, M_DIM, MARK, NORM_F, ROUNDED, Start, blocks
from train import distillation

HERE = os.path.dirname(os.path.abspath(__file__))


def run(script, *args, fails=False):
    r = subprocess.run([sys.executable, os.path.join(HERE, script), *map(str, args)], capture_output=True, encoding="utf8", check=False)
    if (r.returncode != 0) != fails:
        raise AssertionError(f"{script} ended with {r.returncode}\n{r.stdout}\n{r.stderr}")
    return r.stdout + r.stderr


def have_program():
    try:
        return bool(native.program())
    except SystemExit:
        return False


class Kit(unittest.TestCase):
    """One run from plain text to an exported model; the tests look at what it left."""

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp()
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        at = cls.at
        test_data.write(at("text"))
        cls.prepared = ["--out", at("data"), "--dev", 8, "--hard", 3]
        run("prepare.py", *cls.prepared, "--name", "zh-toy", "--pairs", at("text", "pairs.jsonl"), "--instruction", "qa")
        cls.judged = ["--corpus", at("text", "corpus.jsonl"), "--queries", at("text", "queries.jsonl"), "--qrels", at("text", "qrels.tsv")]
        run("prepare.py", *cls.prepared, "--name", "en-toy", *cls.judged)
        run("tokenizer.py", "--data", at("data"), "--out", at("tok"), "--vocab", 1024)
        cls.common = ["--data", at("data"), "--tokenizer", at("tok", "tokenizer.json"), "--threads", 1]
        run("embed.py", *cls.common, "--cache", at("work", "cache"), "--out", at("embed.npz"), "--steps", 20, "--batch", 32, "--lists", 8)
        run("calibrate.py", *cls.common, "--embeddings", at("embed.npz"), "--cache", at("work", "cache"), "--out", at("start.json"), "--intermediate", 176,
            "--steps", 3, "--candidates", 4, "--tokens", 1500, "--precision", "f32", "--cover", 1)
        run("calibrate.py", *cls.common, "--embeddings", at("start.npz"), "--init", at("start.json"), "--cache", at("work", "cache"), "--out", at("tuned.json"),
            "--intermediate", 176, "--steps", 2, "--candidates", 4, "--tokens", 1500, "--precision", "f32", "--vector-lr", 1e-3)
        run("average.py", at("start.json"), at("tuned.json"), "--out", at("average.json"))
        run("answer.py", *cls.common, "--embeddings", at("average.npz"), "--init", at("average.json"), "--cache", at("work", "cache"), "--out", at("answer.json"), "--intermediate", 176,
            "--lists", 40, "--candidates", 4)
        cls.options = [*cls.common, "--embeddings", at("answer.npz"), "--constants", at("answer.json"), "--intermediate", 176, "--tokens", 1500, "--precision", "f32", "--eval-minutes", 60]
        run("train.py", *cls.options, "--work", at("work"), "--steps", 4)

    @classmethod
    def at(cls, *path):
        return os.path.join(cls.folder, *path)

    def lists(self, name):
        """The prepared set as text: (query, [positive, negatives...]) and the development lists"""
        passages = [x["text"] for x in D.read(self.at("data", "train", name + ".passages.jsonl.gz"))]
        rows = D.read(self.at("data", "train", name + ".jsonl.gz"))
        return [(r, [passages[j] for j in [r["positive"], *r["negatives"]]]) for r in rows], D.read(self.at("data", "dev", name + ".jsonl.gz"))

    def test_terms_suit_the_script(self):
        self.assertEqual(terms("Straße des parseHtml_file"), ["strasse", "des", "parsehtml_file", "parse", "html", "file"])
        self.assertEqual(terms("東京タワーへ"), ["東京", "京タ", "タワ", "ワー", "ーへ"])
        self.assertEqual(terms("हिन्दी भाषा"), ["हिन्दी", "भाषा"])
        self.assertEqual(terms("、。 !"), [])

    def test_prepare_finds_hard_negatives_that_are_none_of_the_answers(self):
        self.assertTrue(all(len(texts) > 3 for _, texts in self.lists("en-toy")[0]))  # all questions share some word
        rows, _ = self.lists("zh-toy")
        with open(self.at("text", "pairs.jsonl"), encoding="utf8") as f:
            answers = {x["query"]: x["answers"][0] for x in map(json.loads, f)}
        taught = 0
        for r, (positive, *negatives) in rows:
            self.assertNotIn(positive, negatives)
            self.assertEqual(len(set(negatives)), len(negatives))
            own = "scores" in r and sum(x is not None for x in r["scores"]) - 1
            for n in negatives[own:]:
                self.assertNotIn(answers[r["query"]], n)
                self.assertTrue(set(terms(n)) & set(terms(r["query"])), "a BM25 negative shares a word with the query")
            if "scores" in r:
                taught += 1
                self.assertEqual(len(r["scores"]), 1 + len(negatives))
                self.assertEqual(r["scores"][0], 3.5)
        self.assertGreater(taught, 5)

    def test_nothing_held_out_is_trained_on(self):
        for name in ("zh-toy", "en-toy"):
            rows, dev = self.lists(name)
            trained = {t for _, texts in rows for t in texts} | {x["text"] for x in D.read(self.at("data", "train", name + ".passages.jsonl.gz"))}
            self.assertEqual(len(dev), 8)
            queries = {r["query"] for r, _ in rows}
            for x in dev:
                self.assertNotIn(x["query"], queries)
                self.assertFalse({c["text"] for c in x["candidates"]} & trained)
                self.assertEqual(sum(c["label"] for c in x["candidates"]), 1)
                self.assertEqual(sorted(c["bm25_rank"] for c in x["candidates"]), list(range(1, len(x["candidates"]) + 1)))

    def test_prepare_is_repeatable_and_names_bad_lines(self):
        run("prepare.py", "--out", self.at("again"), *self.prepared[2:], "--name", "en-toy", *self.judged)
        for kind in ("train", "dev"):
            with open(self.at("data", kind, "en-toy.jsonl.gz"), "rb") as one, open(self.at("again", kind, "en-toy.jsonl.gz"), "rb") as two:
                self.assertEqual(one.read(), two.read())
        for bad, says in (('{"query": "a"}', "document or positive"), ("[1]", "not an object"), ("{", "not JSON"), ("", "no query"),
                          ('{"query": "a", "document": "b", "negatives": "c"}', "list of texts"),
                          ('{"query": "a", "document": "b", "scores": [1, 2]}', "2 scores for 1 passages")):
            with open(self.at("bad.jsonl"), "w", encoding="utf8") as f:
                f.write(bad + "\n")
            self.assertIn(says, run("prepare.py", "--out", self.at("bad"), "--name", "x", "--pairs", self.at("bad.jsonl"), fails=True))

    def start(self):
        tok = Tokenizer.from_file(self.at("tok", "tokenizer.json"))
        return Start({**CONFIG, "vocab_size": tok.get_vocab_size(), "intermediate_size": 176}, tok, self.at("embed.npz"))

    def test_texts_are_in_lower_case(self):
        tok = Tokenizer.from_file(self.at("tok", "tokenizer.json"))
        ids = lambda text: tok.encode(text, add_special_tokens=False).ids
        self.assertEqual(ids("Paris, E\u0301COLE and <|im_end|>"), ids("paris, \u00e9cole and <|im_end|>"))
        self.assertNotEqual(ids("<|IM_END|>"), ids("<|im_end|>"))

    def test_words_spelled_alike_begin_near_each_other(self):
        spellings = {0: " connect", 1: " connection", 2: " cafe\u0301s", 3: " cafes", 4: "\ufffd", 5: " river", 6: "\u6cb3\u5ddd", 7: "\u6cb3", 8: "42", 9: "."}
        tok = SimpleNamespace(get_vocab_size=lambda: len(spellings), decode=lambda ids, skip_special_tokens: spellings[ids[0]])
        ids, offsets, grams = spelling(tok)
        sets = [set(x.tolist()) for x in torch.tensor_split(ids, offsets[1:])]
        self.assertEqual(set().union(*sets), set(range(grams)))
        self.assertEqual(len(sets[0]), 7 + 6 + 5)  # "^connect", by two, three, four
        self.assertTrue(sets[0] < sets[1])
        self.assertEqual(sets[2], sets[3])
        self.assertTrue(sets[7] and sets[7] < sets[6])
        self.assertFalse(sets[4] or sets[8] or sets[9])
        torch.manual_seed(0)
        with torch.no_grad():
            M = Vectors(torch.ones(len(spellings)), 2 * M_DIM, tok).tables()[0][:, :M_DIM]
        self.assertTrue(bool(M.isfinite().all()))
        self.assertGreater(float(M[0] @ M[1]), float(M[0] @ M[5]) + 0.2)

    def test_a_step_is_nothing_below_its_threshold_and_all_above(self):
        start, at, one = self.start(), blocks(), torch.full((4,), 0.5)
        layer, C = start.model.layers[1], start.constants.of
        threshold, amount = float(C("match step")), float(C("match step amount"))
        for distance, part in ((-0.5, 0.0), (0.5, 1.0)):
            x = torch.zeros(HIDDEN)
            x[at["CONST"]], x[at["MATCH"]] = CONST * one, (threshold + distance) * MARK * one
            with torch.no_grad():
                y = torch.nn.functional.linear(swiglu(torch.nn.functional.linear(x * NORM_F, layer.gate_up)), layer.down)
            self.assertAlmostEqual(float(y[at["MATCH"]] @ one) / MARK, part * amount, places=2)
            y[at["MATCH"]] = 0
            self.assertEqual(float(y.abs().max()), 0)

    def test_the_answer_takes_the_marks_and_nothing_else(self):
        start, at = self.start(), blocks()
        rows = start.model.embed.detach()[[start.token("yes"), start.token("no")]].clone()
        answer, marks = rows[0] - rows[1], [at[name] for name in [*ANSWER, "CONST"]]
        for name, block in zip(ANSWER, marks):
            self.assertAlmostEqual(float(answer[block].sum()), 4 * float(start.constants.of("answer " + name)), places=4)
        answer[torch.cat(marks)] = 0
        self.assertEqual(float(answer.abs().max()), 0)
        # Rounded to 15 steps, as Q4_K does, the four numbers of a mark are right together though each is not.
        part = rows[:, at[ROUNDED[0]][0] : at[ROUNDED[-1]][-1] + 1]
        self.assertEqual((part.shape[1], int(at[ROUNDED[0]][0]) % 32), (32, 0))
        least = part.min(1, keepdim=True).values
        step = (part.max(1, keepdim=True).values - least) / 15
        wrong = (least + ((part - least) / step).round() * step - part).view(2, 8, 4)
        self.assertLess(float((wrong.sum(-1).abs() / step).max()), 0.75)
        self.assertGreater(float((wrong.abs() / step[..., None]).max()), 0.3)

    def test_coverage_is_the_weight_of_query_tokens_that_are_nearest(self):
        start, rng = self.start(), np.random.default_rng(0)
        tail, suffix, nearest = 3, 2, 0.1
        query, doc = rng.integers(0, 1000, (3, 9)), rng.integers(0, 1000, (6, 14))
        query_len, doc_len = np.array([9, 7, 4]), np.array([14, 9, 3, 12, 14, 8])
        got = coverage(start, SimpleNamespace(query=query, doc=doc, query_len=query_len, doc_len=doc_len, candidates=2), tail, suffix, nearest)
        with torch.no_grad():
            M, w = torch.nn.functional.normalize(start.vectors[:, :M_DIM], dim=-1).numpy(), start.weights().exp().numpy()
        for n in range(6):
            q, found = query[n // 2, : query_len[n // 2] - tail], set()
            for token in doc[n, : doc_len[n] - suffix]:
                cosine = M[q] @ M[token]
                if cosine.max() > nearest:
                    found.add(int(cosine.argmax()))
            self.assertAlmostEqual(float(got[n // 2, n % 2]), sum(w[q[i]] for i in found) / w[q].sum(), places=5)
        self.assertTrue(0 < float(got.max()) and float(got.std()) > 0)

    def test_vectors_and_network_meet_no_passage_together(self):
        tok = Tokenizer.from_file(self.at("tok", "tokenizer.json"))
        sets = D.load_train(self.at("data"), tok, self.at("work", "cache"))
        held = {id(s): D.held_passages(s) for s in sets}
        draw, met = Sampler(sets, tok, 1, 0.5, [], 0.4, False), set()
        passage = draw.passage
        draw.passage = lambda s, j, limit: met.add((id(s), int(j))) or passage(s, j, limit)
        for _ in range(20):
            draw.batch(64, 96, 160), draw.lists(16, 5, 64, 128)
        self.assertGreater(len(met), 50)
        self.assertFalse([x for x in met if held[x[0]][x[1]]])
        batches = D.Batcher(self.at("data"), sets, tok, 1, candidates=3, held=True)
        for k, s in enumerate(sets):
            self.assertGreater(len(D.held_lists(s)), 0)
            for _ in range(2 * len(D.held_lists(s))):
                self.assertTrue(held[id(s)][s.lists[batches.next_query(k)][0]])

    def test_lists_that_no_search_by_words_would_make_are_left_out(self):
        """By the rule, and in what is drawn; none left is said so, of passages held back too."""
        tok = Tokenizer.from_file(self.at("tok", "tokenizer.json"))
        sets = D.load_train(self.at("data"), tok, self.at("work", "cache"))
        found, kept = D.Batcher(self.at("data"), sets, tok, 1, candidates=3, found=0.9), []
        for s in sets:
            for q, l in zip(s.queries, s.lists):
                found.scratch[q] = found.idf[q]
                shared = [sum(found.idf[t] for t in set(s.passages[j].tolist()) & set(q.tolist())) for j in l[:4]]
                kept.append(bool(found.is_found(s, l)))
                self.assertEqual(kept[-1], len(l) < 2 or bool(shared[0] >= 0.9 * np.mean(shared[1:])))
                found.scratch[q] = 0
        self.assertEqual(set(kept), {True, False})
        asked, seen = found.is_found, []
        found.is_found = lambda s, l: seen.append(bool(asked(s, l))) or seen[-1]
        self.assertEqual(sum(len(b.query) for b in found.pool(64)), sum(seen))
        self.assertLess(sum(seen), len(seen))
        found.is_found = lambda s, l: False
        with self.assertRaisesRegex(ValueError, "--found"):
            next(iter(found))
        known = SimpleNamespace(name="known", lists=D.Ragged.of([[1, 2, 3]]), passages=D.Ragged.of([[5]] * 4), queries=D.Ragged.of([[5]]), scores=None, positives=lambda: np.array([1]))
        with self.assertRaisesRegex(ValueError, "--all-lists"):
            D.Batcher(self.at("data"), [known], tok, 1, candidates=3, held=True)

    def test_an_average_is_of_all_numbers(self):
        one, other, mean = (read_json(self.at(name)) for name in ("start.json", "tuned.json", "average.json"))
        for name, value in mean["constants"].items():
            self.assertAlmostEqual(value, (one["constants"][name] + other["constants"][name]) / 2)
        one, other, mean = (np.load(self.at(name)) for name in ("start.npz", "tuned.npz", "average.npz"))
        np.testing.assert_allclose(mean["log_weight"], (one["log_weight"] + other["log_weight"]) / 2, rtol=1e-5)
        unit = lambda z: z["vectors"][:, :M_DIM] / np.linalg.norm(z["vectors"][:, :M_DIM], axis=1, keepdims=True)
        np.testing.assert_allclose(mean["vectors"][:, :M_DIM], (unit(one) + unit(other)) / 2, rtol=1e-4, atol=1e-6)
        self.assertGreater(abs(one["vectors"] - other["vectors"]).max(), 1e-4)

    def test_the_answer_is_fitted(self):
        average, fitted = read_json(self.at("average.json")), read_json(self.at("answer.json"))
        self.assertLess(fitted["after"], fitted["before"])
        self.assertGreaterEqual(fitted["lists"], 40)
        changed = {name for name, x in fitted["constants"].items() if abs(x - average["constants"][name]) > 1e-6 * max(1, abs(x))}
        self.assertEqual(changed, {"answer " + name for name in [*ANSWER, "CONST"]})
        # Where marks tell positives apart there is one best value, whatever the numbers begin with.
        torch.manual_seed(1)
        marks, constant = torch.randn(64, 4, 3), torch.full((64, 4), 2.0)
        marks[:, 0, 0] += 1
        (one, bias, before, after), (other, *_) = (fit(marks, constant, first) for first in ([0.0, 0.0, 0.0], [3.0, -2.0, 1.0]))
        self.assertTrue(np.allclose(one, other, atol=1e-3), (one, other))
        self.assertLess(after, before)
        # Scale and constant: the scores of positives and of the others lie on both sides of a half, as many as can be told.
        scores = torch.sigmoid(marks @ torch.tensor(one) + bias * constant)
        self.assertGreater(float(scores[:, 0].mean()), 0.55)
        self.assertLess(float(scores[:, 1:].mean()), 0.45)

    def test_the_export_equals_transformers(self):
        out = run("evaluate.py", "--data", self.at("data"), "--model", self.at("work", "export"), "--check", "--out", self.at("f32.json"))
        r = read_json(self.at("f32.json"))
        self.assertLess(r["check"], 1e-3, out)
        self.assertEqual(set(r["languages"]["model"]), {"en", "zh"})
        self.assertEqual(r["sets"]["queries"], {"en-toy": 8, "zh-toy": 8})
        run("evaluate.py", "--data", self.at("data"), "--model", self.at("work", "export"), "--quantised", "--against", self.at("f32.json"), "--drop", 1)
        report = read_json(self.at("work", "train.json"))
        self.assertEqual((report["steps"], report["config"]["vocab_size"]), (4, 1024))
        self.assertAlmostEqual(report["ndcg"], r["sets"]["model"]["MEAN"], delta=0.1)  # trained with Q4_1 rows, evaluated with exact ones

    def teach(self, teacher, *args):
        """The scores that a teacher adds to a copy of the data, by set"""
        to = self.at("taught-" + teacher.split(":")[0])
        shutil.copytree(self.at("data"), to, dirs_exist_ok=True)
        run("teach.py", "--data", to, "--teacher", teacher, "--chunk", 20, "--threads", 1, *args)
        return to, {n: D.read(os.path.join(to, "train", n + ".jsonl.gz")) for n in D.set_names(to)}

    def own_scores(self, rows, texts):
        """yes - no by model.py"""
        from evaluate import load_export
        from prompt import DEFAULT_INSTRUCTION, PREFIX, SUFFIX, document_part, head_part, query_part

        model, tok = load_export(self.at("work", "export"))
        enc = lambda t: tok.encode(t, add_special_tokens=False).ids
        for r, t in zip(rows, texts):
            q, ql = D.pad([np.array(enc(query_part(r["query"])))])
            d, dl = D.pad([np.array(enc(document_part(x)) + enc(SUFFIX)) for x in t])
            head = np.array(enc(PREFIX) + enc(head_part(DEFAULT_INSTRUCTION)))
            with torch.no_grad():
                yield model(*map(torch.from_numpy, (head, q, ql, d, dl)), len(t)).tolist()

    def test_a_qwen3_teacher_scores_as_the_network_does(self):
        _, sets = self.teach("qwen:" + self.at("work", "export"))
        texts = [t for _, t in self.lists("en-toy")[0]]
        for r, own in zip(sets["en-toy"][:6], self.own_scores(sets["en-toy"][:6], texts)):
            np.testing.assert_allclose(r["scores"], own, atol=1e-3)

    @unittest.skipUnless(have_program(), "edge-reranker is not built")
    def test_a_gguf_can_be_evaluated_and_can_teach(self):
        gguf = self.at("toy.gguf")
        subprocess.run([native.program(), "quantize", self.at("work", "export"), gguf, "--type", "f16", "--quiet"], check=True)
        run("evaluate.py", "--data", self.at("data"), "--model", self.at("work", "export"), "--out", self.at("a.json"))
        run("evaluate.py", "--data", self.at("data"), "--model", gguf, "--against", self.at("a.json"), "--drop", 0.05, "--out", self.at("b.json"))
        _, sets = self.teach("gguf:" + gguf, "--sets", "en-toy")
        texts = [t for _, t in self.lists("en-toy")[0]]
        for r, own in zip(sets["en-toy"][:6], self.own_scores(sets["en-toy"][:6], texts)):
            np.testing.assert_allclose(r["scores"], own, atol=0.05)

    def test_sentence_transformers_teach_and_training_learns_from_them(self):
        from sentence_transformers import CrossEncoder, SentenceTransformer, models

        torch.manual_seed(0)
        z = np.load(self.at("embed.npz"))
        tok = Tokenizer.from_file(self.at("tok", "tokenizer.json"))
        SentenceTransformer(modules=[models.StaticEmbedding(tok, embedding_weights=z["vectors"])]).save(self.at("bi"))
        to, sets = self.teach("st:" + self.at("bi"))
        for r in sets["zh-toy"]:
            self.assertEqual(len(r["scores"]), 1 + len(r["negatives"]))
            self.assertTrue(all(-20.01 <= s <= 20.01 for s in r["scores"]))
        self.assertIn("has scores of", run("teach.py", "--data", to, "--teacher", "st:" + self.at("bi")))
        loaded = D.load_train(to, tok, self.at("work", "cache"))  # a cache of the same sets without scores
        self.assertTrue(all(np.isfinite(s.scores).all() for s in loaded))
        log = run("train.py", *[to if x == self.at("data") else x for x in self.options], "--work", self.at("distil"), "--steps", 2, "--distil", 1)
        self.assertEqual(read_json(self.at("distil", "train.json"))["taught"], ["en-toy", "zh-toy"], log)

        from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast
        BertForSequenceClassification(BertConfig(vocab_size=1024, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, num_labels=1)).save_pretrained(self.at("cross"))
        PreTrainedTokenizerFast(tokenizer_object=tok, pad_token="<|endoftext|>").save_pretrained(self.at("cross"))
        _, sets = self.teach("st:" + self.at("cross"), "--again", "--sets", "en-toy", "--limit", 5)
        texts = self.lists("en-toy")[0][0][1]
        expected = CrossEncoder(self.at("cross"), device="cpu").predict(
            [(sets["en-toy"][0]["query"], t) for t in texts], activation_fn=torch.nn.Identity())
        np.testing.assert_allclose(sets["en-toy"][0]["scores"], expected, atol=1e-3)

    def test_an_interrupted_teacher_goes_on(self):
        to = self.at("taught-part")
        shutil.copytree(self.at("data"), to)
        path = os.path.join(to, "train", "en-toy.jsonl.gz")
        rows = D.read(path)
        job = {"teacher": "qwen:" + self.at("work", "export"), "instruction": D.DEFAULT_INSTRUCTION, "negatives": 8, "scale": 1.0}
        kept = [99.0] * (1 + len(rows[0]["negatives"]))
        with open(path + ".scores", "w", encoding="utf8") as f:
            f.write(json.dumps(job) + "\n" + json.dumps(kept) + "\n[1.0, 2")  # the last line was cut off
        run("teach.py", "--data", to, "--teacher", job["teacher"], "--sets", "en-toy", "--threads", 1)
        taught = D.read(path)
        self.assertEqual(taught[0]["scores"], kept)
        self.assertTrue(all(len(r["scores"]) == 1 + len(r["negatives"]) and 99.0 not in r["scores"] for r in taught[1:]))

    def test_two_processes_train_one_model(self):
        common = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", os.path.join(HERE, "train.py")]
        r = subprocess.run([*common, *map(str, self.options), "--work", self.at("two"), "--steps", "3"], capture_output=True, encoding="utf8", check=False)
        self.assertEqual(r.returncode, 0, r.stdout + r.stderr)
        one, two = read_json(self.at("work", "train.json")), read_json(self.at("two", "train.json"))
        self.assertEqual((two["steps"], two["hardware"]["processes"]), (3, 2))
        self.assertGreater(two["lists"] / 3, 1.3 * one["lists"] / 4)  # the batches of both count
        with open(self.at("two", "log.jsonl"), encoding="utf8") as f:
            self.assertEqual(sum("eval" in json.loads(line) for line in f), 1)

    def test_a_run_in_two_parts_goes_on_exactly(self):
        run("train.py", *self.options, "--work", self.at("parts"), "--steps", 2)
        first = torch.load(self.at("parts", "last.pt"))
        run("train.py", *self.options, "--work", self.at("parts"), "--steps", 2, "--resume")
        again = torch.load(self.at("parts", "last.pt"))
        self.assertEqual((first["step"], again["step"], again["lists"]), (2, 2, first["lists"]))
        for part in ("model", "ema"):
            for k, v in first[part].items():
                self.assertTrue(torch.equal(v, again[part][k]), k)
        run("train.py", *self.options, "--work", self.at("parts"), "--steps", 3, "--resume")
        self.assertEqual(torch.load(self.at("parts", "last.pt"))["step"], 3)


class Card(unittest.TestCase):
    def test_notes_that_a_resumed_run_made_again_are_dropped(self):
        notes = [{"parameters": 1}, {"step": 50, "ce": 1.0}, {"step": 100, "ce": 0.9}, {"step": 100, "eval": 0.5}, {"step": 80, "eval": 0.6}]
        self.assertEqual(card.in_order(notes), [notes[1], notes[4]])

    def test_numbers_are_short(self):
        self.assertEqual([card.short(x) for x in (1e16, 1e-6, 1.2e-4, 10000.0, 0.5)], ["1e16", "1e-6", "0.00012", "10000", "0.5"])

    def test_only_marked_parts_change(self):
        parts, card.PARTS = card.PARTS, {"data": lambda run: run}
        self.addCleanup(setattr, card, "PARTS", parts)
        self.assertEqual(card.fill("a\n<!-- data -->\nold\n<!-- /data -->\nb", "new"), "a\n<!-- data -->\nnew\n<!-- /data -->\nb")
        self.assertEqual(card.fill("<!-- data -->\n<!-- /data -->", "new"), "<!-- data -->\nnew\n<!-- /data -->")
        for bad in ("<!-- data -->\nold", "<!-- other -->\n<!-- /other -->"):
            with self.assertRaises(SystemExit):
                card.fill(bad, "new")

    def test_the_card_in_the_repository_has_every_part(self):
        with open(os.path.join(HERE, "..", "models", "mini.md"), encoding="utf8") as f:
            text = f.read()
        for name in card.PARTS:
            self.assertEqual((text.count(f"<!-- {name} -->"), text.count(f"<!-- /{name} -->")), (1, 1), name)


class Distillation(unittest.TestCase):
    nan = float("nan")

    def test_nothing_where_the_student_agrees(self):
        t = torch.tensor([[4.0, 1.0, -2.0], [0.5, self.nan, 2.0]])
        s = t.nan_to_num(50.0) + 7  # a constant and what is not scored do not matter
        for kind in ("kl", "margin"):
            self.assertAlmostEqual(distillation(s.flatten(), t, kind, 2.0).item(), 0, places=5)

    def test_values_and_lists_without_scores(self):
        s, t = torch.tensor([[1.0, 0.0], [3.0, -3.0]]), torch.tensor([[0.0, 1.0], [self.nan, self.nan]])
        p = torch.softmax(torch.tensor([0.0, 1.0]) / 2, 0)
        kl = (p * (p / p.flip(0)).log()).sum() * 4 / 2  # of two lists one says nothing
        self.assertAlmostEqual(distillation(s.flatten(), t, "kl", 2.0).item(), kl.item(), places=5)
        self.assertAlmostEqual(distillation(s.flatten(), t, "margin", 2.0).item(), 2.0, places=5)

    def test_the_gradient_is_finite_and_ends_where_nothing_is_known(self):
        for kind in ("kl", "margin"):
            s = torch.tensor([1.0, 2.0, 3.0, 4.0], requires_grad=True)
            distillation(s, torch.tensor([[1.0, 0.0], [self.nan, self.nan]]), kind, 1.0).backward()
            self.assertTrue(s.grad.isfinite().all())
            self.assertTrue((s.grad[:2] != 0).all() and (s.grad[2:] == 0).all())


if __name__ == "__main__":
    unittest.main(verbosity=2)
