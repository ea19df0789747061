"""Shards: the parts of a corpus that are read, scored, written and, after a failure, done again as a whole.

Which rows make a shard depends on the input and `--batch` alone. A shard's file gets its name only when it is whole and on the disk, so that it is there
once or not at all, however often the shard was begun.
"""

import base64
import dataclasses
import hashlib
import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

import rows

LONGEST_LINE = 256 << 20  # bytes; a file that is no JSONL may be one line
RESULT = pa.struct(
    [("index", pa.int32()), ("relevance_score", pa.float32()), ("logit", pa.float32()), ("tokens", pa.int32()), ("truncated", pa.bool_())]
)


class Unusable(Exception):
    """Input or output with which the run cannot begin."""


@dataclasses.dataclass(frozen=True)
class Shard:
    number: int
    path: str
    first: int  # line of a JSONL file or row of a Parquet file, from 1
    rows: int
    offset: int = 0  # of JSONL: where its bytes are
    bytes: int = 0

    @property
    def parquet(self):
        return is_parquet(self.path)

    @property
    def name(self):
        return f"part-{self.number:06}.{'parquet' if self.parquet else 'jsonl'}"

    @property
    def rejects(self):
        return f"rejects-{self.number:06}.jsonl"

    def read(self):
        """(place, line or row as it is in the input, its fields or why it is bad)"""
        name = Path(self.path).name
        if self.parquet:
            for i, fields in enumerate(read_parquet(self).to_pylist()):
                yield f"{name}:{self.first + i}", fields, fields
            return
        with open(self.path, "rb") as file:
            file.seek(self.offset)
            data = file.read(self.bytes)
        if len(data) != self.bytes:
            raise OSError(f"{self.path}: became shorter during the run")
        lines = data.split(b"\n")
        for i, line in enumerate(lines):
            if not line.strip(b" \t\r\xef\xbb\xbf"):
                continue
            try:
                fields = rows.parse(line)
            except rows.Bad as e:
                fields = e
            yield f"{name}:{self.first + i}", line, fields


def is_parquet(path):
    return path.endswith(".parquet")


def find(inputs):
    """The files of a corpus, folders opened."""
    found = []
    for path in inputs:
        if "://" in path:
            raise Unusable(f"{path}: only paths are read; mount the storage on every node, or copy the corpus to a file system that all nodes share")
        if os.path.isdir(path):
            files = sorted(str(p) for p in Path(path).iterdir() if p.name.endswith((".jsonl", ".ndjson", ".parquet")))
            if not files:
                raise Unusable(f"{path}: no .jsonl and no .parquet file in the folder")
            found += files
        elif not os.path.isfile(path):
            raise Unusable(f"{path}: no such file or folder")
        elif not path.endswith((".jsonl", ".ndjson", ".parquet")):
            raise Unusable(f"{path}: expected .jsonl or .parquet; unpack compressed files")
        else:
            found.append(path)
    found = [os.path.abspath(path) for path in found]
    if len(set(found)) < len(found):
        raise Unusable("a file is named twice in --input")
    if len({os.path.basename(path) for path in found}) < len(found):
        raise Unusable("two files of --input have the same name, by which the output tells rows apart: rename one")
    return found


def divide(files, batch):
    """(shards, what the files hold as a hash)"""
    shards, digest = [], hashlib.sha256()
    for path in files:
        digest.update(f"{os.path.basename(path)}\n".encode())
        try:
            ranges = divide_parquet(path, batch, digest) if is_parquet(path) else divide_lines(path, batch, digest)
            shards += [Shard(len(shards) + i, path, *at) for i, at in enumerate(ranges)]
        except (OSError, pa.ArrowException) as e:
            raise Unusable(f"{path}: cannot be read: {e}") from None
    return shards, digest.hexdigest()


def divide_lines(path, batch, digest):
    ranges, number, begin, offset = [], 0, (1, 0), 0
    with open(path, "rb") as file:
        while line := file.readline(LONGEST_LINE):
            number += 1
            if len(line) == LONGEST_LINE and not line.endswith(b"\n"):
                raise Unusable(f"{path}:{number}: a line of over {LONGEST_LINE >> 20} MB: is it JSONL, one object a line?")
            digest.update(line)
            offset += len(line)
            if number - begin[0] + 1 == batch:
                ranges.append((begin[0], batch, begin[1], offset - begin[1]))
                begin = (number + 1, offset)
    if offset > begin[1]:
        ranges.append((begin[0], number - begin[0] + 1, begin[1], offset - begin[1]))
    return ranges


def divide_parquet(path, batch, digest):
    with pq.ParquetFile(path) as file:
        names = file.schema_arrow.names
        if "query" not in names or not set(rows.TEXTS) & set(names):
            raise Unusable(f"{path}: expected the columns query and {' or '.join(rows.TEXTS)}, found {', '.join(names)}")
        total = file.metadata.num_rows
    with open(path, "rb") as file:
        digest.update(hashlib.file_digest(file, "sha256").digest())
    return [(first + 1, min(batch, total - first)) for first in range(0, total, batch)]


def read_parquet(shard):
    """The shard's rows; only the row groups that hold them are read."""
    with pq.ParquetFile(shard.path) as file:
        start, groups, skip = 0, [], None
        for group in range(file.num_row_groups):
            rows_here = file.metadata.row_group(group).num_rows
            if start < shard.first - 1 + shard.rows and start + rows_here > shard.first - 1:
                skip = shard.first - 1 - start if skip is None else skip
                groups.append(group)
            start += rows_here
        table = file.read_row_groups(groups).slice(skip or 0, shard.rows)
    if len(table) != shard.rows:
        raise OSError(f"{shard.path}: became shorter during the run")
    return table


def write(folder, shard, good, bad):
    """`good`: (index of the row among the shard's, place, Row, results); `bad`: (place, line or row, reason)."""
    if bad:
        lines = [{"source": place, "reason": reason, **as_json(raw)} for place, raw, reason in bad]
        put(folder, shard.rejects, to_lines(lines))
    else:
        Path(folder, shard.rejects).unlink(missing_ok=True)
    # Last, since a part that is there means that its shard is done.
    if not shard.parquet:
        put(folder, shard.name, to_lines({**row.carried, "source": place, "results": results} for _, place, row, results in good))
        return
    table = read_parquet(shard)
    if not len(good) == len(table):
        table = table.take(pa.array([i for i, *_ in good], pa.int64()))
    table = table.drop_columns([name for name in (*rows.TEXTS, "source", "results") if name in table.column_names])
    table = table.append_column("source", pa.array([place for _, place, *_ in good], pa.string()))
    table = table.append_column("results", result_column([results for *_, results in good]))
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    put(folder, shard.name, sink.getvalue())


def result_column(lists):
    """Every part has the same columns: ids are texts, and null where documents have none."""
    fields = [*RESULT, pa.field("id", pa.string()), pa.field("document", pa.string())]
    texts = lambda result: {**result, "id": None if result.get("id") is None else str(result["id"])}
    return pa.array([[texts(r) for r in results] for results in lists], pa.list_(pa.struct(fields)))


def to_lines(values):
    return b"".join(to_line(value) + b"\n" for value in values)


def to_line(value):
    try:
        return json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:  # half a surrogate pair, which JSON can write in escapes only
        return json.dumps(value).encode()


def as_json(raw):
    """A rejected row such that nothing of it is lost."""
    if not isinstance(raw, bytes):
        return {"row": json.loads(json.dumps(raw, default=str))}
    try:
        return {"line": raw.decode()}
    except UnicodeDecodeError:
        return {"line_base64": base64.b64encode(raw).decode()}


def put(folder, name, data):
    """A file that is there whole or not at all, also after a loss of power."""
    partial = Path(folder, f".{name}.{os.uname().nodename}-{os.getpid()}.partial")
    with open(partial, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, Path(folder, name))
    at = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(at)
    finally:
        os.close(at)
