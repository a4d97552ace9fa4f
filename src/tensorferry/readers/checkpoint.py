"""Where a checkpoint is, from whatever of it a user names."""

from __future__ import annotations

import re
from pathlib import Path

from tensorferry.errors import SourceError

_PART = re.compile(r"(.*)\.(index|meta|data-\d{5}-of-\d{5})")
_LATEST = re.compile(rb'^model_checkpoint_path:\s*"([^"]*)"', re.MULTILINE)


def find_prefix(path: Path) -> Path:
    """The checkpoint's prefix: from the prefix itself, one of its files, or its folder (there the latest one)."""
    if path.is_dir():
        return _latest_in(path)
    part = _PART.fullmatch(path.name)
    prefix = path.with_name(part[1]) if part else path
    if not prefix.with_name(prefix.name + ".index").is_file():
        near = sorted(each.name.removesuffix(".index") for each in prefix.parent.glob("*.index"))[:5]
        raise SourceError(
            f"there is no checkpoint '{prefix}' ('{prefix.name}.index' is not there)",
            remedy=f"checkpoints there are {', '.join(near)}" if near else "give the path without .index",
        )
    return prefix


def _latest_in(folder: Path) -> Path:
    """What the folder's list of checkpoints names as the latest; without a list the only one."""
    listing = folder / "checkpoint"
    if listing.is_file():
        found = _LATEST.search(listing.read_bytes()[: 1 << 20])
        name = Path(found[1].decode("utf-8", "replace")).name if found else ""
        if name and (folder / f"{name}.index").is_file():
            return folder / name
    prefixes = sorted(each.with_name(each.name.removesuffix(".index")) for each in folder.glob("*.index"))
    if len(prefixes) == 1:
        return prefixes[0]
    listed = ", ".join(each.name for each in prefixes[:5])
    raise SourceError(
        f"'{folder}' holds {'several checkpoints' if prefixes else 'no checkpoint'}",
        remedy=f"name one: {listed}" if prefixes else "name the path of a checkpoint without .index",
    )
