"""Files of lines."""
import gzip
import json
import os


def open_text(path):
    with open(path, "rb") as f:
        packed = f.read(2) == b"\x1f\x8b"
    return gzip.open(path, "rt", encoding="utf8") if packed else open(path, encoding="utf8")


def write_gz(path, rows):
    """JSON Lines; the file is whole or not there, and equal rows give equal bytes."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path + ".tmp", "wb") as raw:
        with gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as f:
            for r in rows:
                f.write((json.dumps(r, ensure_ascii=False) + "\n").encode())
    os.replace(path + ".tmp", path)
