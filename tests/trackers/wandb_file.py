"""Reads W&B's `.wandb` files. No package has a reader since 0.30, so the format is checked at each step.

A header of 7 bytes, `:W&B`, a magic number and a version; then blocks of 32 KiB (the first holds the header, too) with
chunks as in LevelDB's log: CRC-32 of type and data, length, type (1 whole, 2 first, 3 middle, 4 last). A record is a
`Record` of `wandb.proto`.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wandb.proto import wandb_internal_pb2

BLOCK = 32 * 1024
HEADER = struct.Struct("<4sHB")
CHUNK = struct.Struct("<IHB")
WHOLE, FIRST, MIDDLE, LAST = 1, 2, 3, 4


class FormatChanged(Exception):
    """The file is not as this reader knows it."""


def read_records(path: Path) -> list[Any]:
    """Returns all whole records; a torn last one is left out.

    Raises:
        FormatChanged: the header, a checksum or a type of chunk is another.
    """
    content = path.read_bytes()
    ident, magic, version = HEADER.unpack_from(content)
    if (ident, magic, version) != (b":W&B", 0xBEE1, 0):
        raise FormatChanged(f"the header is {ident!r}, {magic:#x}, version {version}: W&B's file format has changed")
    records = []
    for payload in _payloads(content):
        record = wandb_internal_pb2.Record()  # type: ignore[attr-defined]
        record.ParseFromString(payload)
        records.append(record)
    return records


def _payloads(content: bytes) -> Iterator[bytes]:
    place, parts = HEADER.size, []
    while place + CHUNK.size <= len(content):
        if BLOCK - place % BLOCK < CHUNK.size:  # padding
            place += BLOCK - place % BLOCK
            continue
        checksum, length, kind = CHUNK.unpack_from(content, place)
        data = content[place + CHUNK.size : place + CHUNK.size + length]
        if len(data) < length:
            return
        if kind not in (WHOLE, FIRST, MIDDLE, LAST):
            raise FormatChanged(f"a chunk of type {kind}: W&B's file format has changed")
        if zlib.crc32(bytes([kind]) + data) != checksum:
            raise FormatChanged("a checksum is wrong: the file is damaged, or W&B's file format has changed")
        place += CHUNK.size + length
        parts = [data] if kind in (WHOLE, FIRST) else [*parts, data]
        if kind in (WHOLE, LAST):
            yield b"".join(parts)


def history(records: list[Any]) -> list[dict[str, Any]]:
    """Returns the rows."""
    return [_items(record.history.item) for record in records if record.WhichOneof("record_type") == "history"]


def summary(records: list[Any]) -> dict[str, Any]:
    """Returns the summary, as the last records leave it."""
    found: dict[str, Any] = {}
    for record in records:
        if record.WhichOneof("record_type") == "summary":
            found |= _items(record.summary.update)
    return found


def config(records: list[Any]) -> dict[str, Any]:
    """Returns the configuration, as the last records leave it."""
    found: dict[str, Any] = {}
    for record in records:
        kind = record.WhichOneof("record_type")
        if kind in ("run", "config"):
            found |= _items((record.run.config if kind == "run" else record.config).update)
    return {name: value for name, value in found.items() if name != "_wandb"}


def only(records: list[Any], kind: str) -> Any:
    """Returns the one record of a kind."""
    [found] = [record for record in records if record.WhichOneof("record_type") == kind]
    return getattr(found, kind)


def _items(items: Any) -> dict[str, Any]:
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}
