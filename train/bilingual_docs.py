"""Documents of Debian packages that exist in several languages, aligned paragraph by paragraph.

Translations are made from message catalogues, so a translated page has the sections and paragraphs of the English one, in order. A
section whose paragraphs differ in number or kind from those of the English section is left out.
"""
import collections
import gzip
import re
from html.parser import HTMLParser

from bilingual_read import files, language

ESCAPES = [(r"\\f(\[\w*\]|\(..|.)|\\s[-+]?\d", ""), (r"\\-", "-"), (r"\\\(aq|\\\(cq|\\\(oq", "'"), (r"\\\(lq|\\\(rq|\\\(dq", '"'),
           (r"\\[&,/|^:%)]", ""), (r"\\[ ~0]", " "), (r"\\\(em", "—"), (r"\\\(bu", "•"), (r"\\e", "\\\\")]


def inline(macro, rest):
    """The words of a font macro: .BR joins them, .B keeps the spaces."""
    words = [a or b for a, b in re.findall(r'"([^"]*)"|(\S+)', rest)]
    return ("" if len(macro) == 2 else " ").join(words)


def roff(raw):
    """Sections of a manual page, each [(kind, text)]; [] for pages in mdoc, which is written otherwise."""
    out, kind, text, verbatim = [], "P", [], False

    def flush(new):
        nonlocal kind, text
        if text and out:
            t = " ".join(text)
            for a, b in ESCAPES:
                t = re.sub(a, b, t)
            out[-1].append((kind, t))
        kind, text = new, []

    for line in raw.splitlines():
        m = re.match(r"[.']\s*([A-Za-z\\\"]+)\s*(.*)", line)
        macro, rest = (m[1], m[2]) if m else ("", line)
        if macro == "Dd":
            return []
        if macro in ("nf", "EX", "TS"):
            verbatim = True
        elif macro in ("fi", "EE", "TE"):
            verbatim = False
        elif macro == "SH":
            flush("P")
            out.append([])
        elif macro in ("SS", "PP", "P", "LP", "HP", "IP", "sp", "RS", "RE", "TP", "TQ", "br"):
            flush("T" if macro in ("TP", "TQ") else "P")
            if rest and macro in ("SS", "IP"):
                text = [inline("B", rest) if macro == "SS" else (re.findall(r'"[^"]*"|\S+', rest) or [""])[0].strip('"')]
                flush("P")
        elif not verbatim and (not macro or macro in ("B", "I", "BR", "RB", "IR", "RI", "BI", "IB", "SM", "SB")):
            if rest.strip():
                text.append(inline(macro, rest) if macro else rest)
                if kind == "T":  # one line of tag, then its text
                    flush("P")
    flush("P")
    return out


class Blocks(HTMLParser):
    """Sections of an HTML page or a DocBook file, each [(tag, text)]. A heading starts a section."""

    HEADINGS = {"h1", "h2", "h3", "h4", "h5", "h6", "title"}
    TAGS = HEADINGS | {"p", "li", "dt", "dd", "para", "simpara", "term"}  # no tables: they hold names and package descriptions
    SKIP = {"pre", "script", "style", "programlisting", "screen", "remark", "nav", "table", "informaltable"}

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.sections, self.tag, self.text, self.skip = [[]], None, [], 0

    def flush(self, tag):
        t = re.sub(r"\s+", " ", re.sub(r"&(\w+);", r"\1", "".join(self.text))).strip()
        if self.tag and t:
            if self.tag in self.HEADINGS:
                self.sections.append([])
            self.sections[-1].append((self.tag, t))
        self.tag, self.text = tag, []

    def handle_starttag(self, tag, attrs):
        self.skip += tag in self.SKIP
        if tag in self.TAGS:
            self.flush(tag)

    def handle_endtag(self, tag):
        self.skip -= tag in self.SKIP and self.skip > 0
        if tag in self.TAGS:
            self.flush(None)

    def handle_data(self, data):
        if not self.skip:
            self.text.append(data)


def markup(raw):
    b = Blocks()
    b.feed(raw)
    b.flush(None)
    return b.sections


def aligned(pages, parse):
    """Units of pages {page: {language: source text}}: the paragraphs of equally built sections."""
    for versions in pages.values():
        if "en" not in versions or len(versions) < 2:
            continue
        english = parse(versions["en"])
        shape = [[k for k, _ in s] for s in english]
        units = collections.defaultdict(dict)
        for lang, raw in versions.items():
            theirs = english if lang == "en" else parse(raw)
            # a translation may add a section about itself at the end
            if abs(len(theirs) - len(english)) > 1:
                continue
            for i, (section, kinds) in enumerate(zip(theirs, shape)):
                if [k for k, _ in section] == kinds:
                    for j, (_, text) in enumerate(section):
                        units[i, j][lang] = text
        # paragraphs in proportion: one that is much longer or shorter is no translation
        for u in units.values():
            n = len(u.get("en", ""))
            near = {lang: t for lang, t in u.items() if n and 0.2 < len(t) / n < 3 and (n > 3)}
            if len(near) > 1 and not re.match("(Prev|Next|Up|Home)([^a-z]|$)", u["en"]):  # links to other pages
                yield near


def manual(debs):
    pages = collections.defaultdict(dict)
    for deb in debs:
        for m, raw in files(deb, r"/man/(?:([a-z]{2,3}(?:_[A-Z]{2})?)/)?man\d\w*/([^/]+)\.gz$"):
            lang = language(m[1]) if m[1] else "en"
            if lang:
                pages[m[2]].setdefault(lang, gzip.decompress(raw).decode("utf8", "replace"))
    return aligned(pages, roff)


def place(path, own):
    """(language, page) of a file: the language is a folder, a suffix (page.de.html) or that of the package."""
    *folders, name = path.split("/")
    code, rest = own, [name]
    for i, f in enumerate(folders):
        if re.fullmatch(r"[a-z]{2}([-_]([A-Z]{2}|br|cn|tw))?(@\w+)?", f) and f != "js":
            code, rest = f, [*folders[i + 1 :], name]
            break
    if m := re.fullmatch(r"(.+?)\.([a-z]{2}(?:[-_]\w+)?)(\.\w+)", name):
        code, rest[-1] = m[2], m[1] + m[3]
    return ("en" if code in ("en", "en-US") else language(code)), "/".join(rest)


def documents(debs):
    pages = collections.defaultdict(dict)
    for deb in debs:
        package = re.sub(r"_.*", "", deb.rpartition("/")[2])
        m = re.fullmatch(r"(.+?)-([a-z]{2}|pt-br|zh-cn|zh-tw)", package)
        package, own = (m[1], m[2]) if m else (package, "en")
        for m, raw in files(deb, r"/share/(.+\.(?:html|docbook))(?:\.gz)?$"):
            lang, page = place(m[1], own)
            if lang:
                raw = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
                pages[package, page].setdefault(lang, raw.decode("utf8", "replace"))
    return aligned(pages, markup)
