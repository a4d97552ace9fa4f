"""Where a checkpoint is, from whatever of it a user names."""

from __future__ import annotations

import re
from pathlib import Path

from tensorferry.errors import SourceError
from tensorferry.storage import SourceFile
from tensorferry.wire.bundle import Bundle
from tensorferry.wire.slices import SavedSlices
from tensorferry.wire.table import MAGIC

_PART = re.compile(r"(.*)\.(index|meta|data-\d{5}-of-\d{5})")
_SHARD = re.compile(r"(.*)-(\d{5}|\?{5})-of-(\d{5})")
_LATEST = re.compile(rb'^model_checkpoint_path:\s*"([^"]*)"', re.MULTILINE)
_MOST_SHARDS = 10_000

LISTING = "checkpoint"
"""The file in which TensorFlow names a folder's checkpoints."""


def open_checkpoint(path: Path) -> Bundle | SavedSlices:
    """The checkpoint's values, in whichever format it is. SourceError when there is none, with those that are near."""
    prefix = find_prefix(path)
    return Bundle(prefix) if _index_of(prefix).is_file() else SavedSlices(_shards_of(prefix))


def main_file(prefix: Path) -> Path:
    """The file that lists a checkpoint's tensors."""
    return _index_of(prefix) if _index_of(prefix).is_file() else _shards_of(prefix)[0]


def find_prefix(path: Path) -> Path:
    """The checkpoint's prefix: from the prefix itself, one of its files, or its folder (there the latest one)."""
    if path.is_dir():
        return _latest_in(path)
    if path.name == LISTING and path.is_file() and not is_table(path):
        return _latest_in(path.parent)
    part = _PART.fullmatch(path.name)
    prefix = path.with_name(part[1]) if part else path
    if not has_checkpoint(prefix):
        near = _prefixes_in(prefix.parent)[:5]
        raise SourceError(
            f"there is no checkpoint '{prefix}' ('{prefix.name}.index' is not there)",
            remedy=f"checkpoints there are {', '.join(each.name for each in near)}" if near else "give the path without .index",
        )
    return prefix


def is_part(path: Path, head: bytes) -> bool:
    """Whether a file belongs to a checkpoint: by its end, its name or (the list of a folder's checkpoints) its beginning."""
    return (
        is_table(path)
        or re.fullmatch(r".*\.data-\d{5}-of-\d{5}", path.name) is not None
        or head.startswith(b"model_checkpoint_path")
    )


def is_table(path: Path) -> bool:
    """Whether a file ends as the tables of checkpoints do."""
    try:
        file = SourceFile(path)
    except SourceError:
        return False
    return bytes(file.view[-8:]) == MAGIC.to_bytes(8, "little")


def _index_of(prefix: Path) -> Path:
    return prefix.with_name(prefix.name + ".index")


def has_checkpoint(prefix: Path) -> bool:
    """Whether files of a checkpoint of this prefix are there."""
    return _index_of(prefix).is_file() or all(is_table(each) for each in _shards_of(prefix))


def _shards_of(prefix: Path) -> list[Path]:
    """The files of a checkpoint of the first format: itself, or `PREFIX-00000-of-00002` and its like."""
    if prefix.is_file() and not _SHARD.fullmatch(prefix.name):
        return [prefix]
    shard = _SHARD.fullmatch(prefix.name)
    if shard is None:
        first = next(iter(sorted(_matching(prefix.parent, re.escape(prefix.name) + r"-00000-of-\d{5}"))), None)
        shard = _SHARD.fullmatch(first.name) if first is not None else None
    if shard is None or not 0 < int(shard[3]) <= _MOST_SHARDS:
        return [prefix]
    return [prefix.with_name(f"{shard[1]}-{number:05d}-of-{shard[3]}") for number in range(int(shard[3]))]


def _matching(folder: Path, pattern: str) -> list[Path]:
    return [each for each in folder.iterdir() if re.fullmatch(pattern, each.name)] if folder.is_dir() else []


def _prefixes_in(folder: Path) -> list[Path]:
    indices = (each.with_name(each.name.removesuffix(".index")) for each in _matching(folder, r".+\.index"))
    metas = (each.with_name(each.name.removesuffix(".meta")) for each in _matching(folder, r".+\.meta"))
    return sorted({*indices, *(each for each in metas if has_checkpoint(each))})


def _latest_in(folder: Path) -> Path:
    """What the folder's list of checkpoints names as the latest; without a list the only one."""
    listing = folder / LISTING
    if listing.is_file():
        with listing.open("rb") as file:
            found = _LATEST.search(file.read(1 << 20))
        name = Path(found[1].decode("utf-8", "replace")).name if found else ""
        if name and has_checkpoint(folder / name):
            return folder / name
    prefixes = _prefixes_in(folder)
    if len(prefixes) == 1:
        return prefixes[0]
    listed = ", ".join(each.name for each in prefixes[:5])
    raise SourceError(
        f"'{folder}' holds {'several checkpoints' if prefixes else 'no checkpoint'}",
        remedy=f"name one: {listed}" if prefixes else "name the path of a checkpoint without .index",
    )
