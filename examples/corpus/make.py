"""Makes corpus.jsonl, the texts of the page's demo, from chosen.tsv: python make.py --data DATA

DATA is a folder of development sets, NAME.jsonl.gz, as `edge-reranker eval` reads them. A line of chosen.tsv is: the id of a passage, its language,
the words with which it ends where only its beginning is taken, and the title and address of the page it is from where they are known.
"""
import argparse
import gzip
import json
import os

HERE = os.path.dirname(os.path.abspath(__file__))

# set -> (source, licence), as the page's attribution.js knows them. Where a set is free but its texts are Wikipedia's, the licence is Wikipedia's.
SOURCES = {
    "ar-no-pt-qa/nb": ("Wikipedia, in NorQuAD", "CC BY-SA 3.0"),
    "en-medquad": ("MedQuAD", "CC BY 4.0"),
    "en-nq": ("Wikipedia, in Natural Questions", "CC BY-SA 3.0"),
    "es-squad": ("Wikipedia, in SQuAD-es", "CC BY-SA 4.0"),
    "fa-pquad": ("Wikipedia, in PQuAD", "CC BY-SA 4.0"),
    "ja-jaquad": ("Wikipedia, in JaQuAD", "CC BY-SA 3.0"),
    "th-iapp": ("Wikipedia, in iapp-wiki-qa", "CC BY-SA 3.0"),
    "xl-afriqa": ("Wikipedia, in AfriQA", "CC BY-SA 3.0"),
    "xl-gnome-help": ("GNOME Help", "CC BY-SA 3.0"),
    "xl-libreoffice": ("LibreOffice Help", "MPL 2.0"),
    "xl-python-docs": ("Python documentation", "PSF-2.0"),
    "xl-tldr": ("tldr-pages", "CC BY 4.0"),
    "zh-cmrc2018": ("Wikipedia, in CMRC 2018", "CC BY-SA 4.0"),
    "zh-drcd": ("Wikipedia, in DRCD", "CC BY-SA 3.0"),
}


def load_passages(data, names):
    """Passage id -> text."""
    passages = {}
    for name in names:
        with gzip.open(os.path.join(data, f"{name}.jsonl.gz"), "rt", encoding="utf8") as lines:
            for line in lines:
                passages.update((c["doc_id"], c["text"]) for c in json.loads(line)["candidates"])
    return passages


def load_choice():
    with open(os.path.join(HERE, "chosen.tsv"), encoding="utf8") as lines:
        return [(line.rstrip("\n").split("\t") + [""] * 4)[:5] for line in lines]


def shorten(text, end):
    """The text up to the first place where it says `end`, if that is not empty."""
    if not end:
        return text
    if end not in text:
        raise SystemExit(f"“{end}” is not in: {text[:80]}")
    return text[: text.index(end) + len(end)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", default=os.path.join(HERE, "corpus.jsonl"))
    options = parser.parse_args()
    choice = load_choice()
    passages = load_passages(options.data, sorted({id.split(":")[0] for id, *_ in choice}))
    with open(options.out, "w", encoding="utf8") as out:
        for id, lang, end, title, url in choice:
            if id not in passages:
                raise SystemExit(f"{id} is not in {options.data}")
            name = id.split(":")[0]
            source, licence = SOURCES.get(name) or SOURCES[f"{name}/{lang}"]
            text = shorten(passages[id].strip(), end.replace("\\n", "\n"))
            origin = {"title": title, "url": url} if url else {}
            out.write(json.dumps({"id": id, "lang": lang, "text": text, "source": source, **origin, "licence": licence}, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
