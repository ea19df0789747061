"""Rows of a corpus: what a good one is, and what is asked of the program about it."""

import json

TEXTS = ("documents", "candidates", "passages")  # the field that holds a row's documents: the first of these that it has
IDS = ("id", "doc_id")


class Bad(Exception):
    """Why a row is rejected."""


def parse(line):
    """A line of JSONL."""
    try:
        return json.loads(line.decode("utf-8-sig"), parse_constant=not_json)
    except UnicodeDecodeError as e:
        raise Bad(f"is not UTF-8: byte {e.start} of the line") from None
    except RecursionError:
        raise Bad("is nested too deeply") from None
    except ValueError as e:
        raise Bad(f"is not JSON: {e}") from None


def not_json(name):
    raise ValueError(f"{name} is not a value of JSON")


class Row:
    """One query with its documents. Every other field of the row is carried to the output."""

    def __init__(self, fields):
        if not isinstance(fields, dict):
            raise Bad(f"is no object but {kind(fields)}")
        self.query = text(fields.get("query"), "query")
        if not self.query.strip():
            raise Bad("query is empty")
        instruction = fields.get("instruction")
        self.instruction = None if instruction is None else text(instruction, "instruction")
        name = next((name for name in TEXTS if fields.get(name) is not None), None)
        if name is None:
            raise Bad(f"has no documents: expected a list in {', '.join(TEXTS[:-1])} or {TEXTS[-1]}")
        if not isinstance(fields[name], list):
            raise Bad(f"{name} is no list but {kind(fields[name])}")
        self.documents, self.ids = [], []
        for i, document in enumerate(fields[name]):
            ids = [None]
            if isinstance(document, dict):
                ids = [document[key] for key in IDS if document.get(key) is not None] or ids
                document = document.get("text")
            self.documents.append(text(document, f"{name}[{i}]"))
            self.ids.append(ids[0])
        self.carried = {key: value for key, value in fields.items() if key not in TEXTS}

    def pairs(self):
        instruction = {} if self.instruction is None else {"instruction": self.instruction}
        return [{"query": self.query, "document": document, **instruction} for document in self.documents]

    def results(self, answers, top_n=None, return_documents=False):
        """The documents in the order of their scores; equal ones stay as they came."""
        results = []
        for index, (answer, document, id) in enumerate(zip(answers, self.documents, self.ids, strict=True)):
            result = {
                "index": index,
                "relevance_score": answer["score"],
                "logit": answer["logit"],
                "tokens": answer["tokens"],
                "truncated": answer["truncated"],
            }
            if id is not None:
                result["id"] = id
            if return_documents:
                result["document"] = document
            results.append(result)
        return sorted(results, key=lambda r: (-r["logit"], r["index"]))[:top_n]


def text(value, name):
    if not isinstance(value, str):
        raise Bad(f"{name} is no text but {kind(value)}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise Bad(f"{name} holds half a surrogate pair, which is no text") from None
    return value


def kind(value):
    names = {type(None): "missing or null", bool: "a truth value", dict: "an object without text", list: "a list", str: "a text"}
    return names.get(type(value), "a number" if isinstance(value, (int, float)) else f"a {type(value).__name__}")
