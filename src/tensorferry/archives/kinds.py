"""What kind of archive a file is, told from its first bytes."""

from __future__ import annotations

import zipfile
from pathlib import Path

from tensorferry.archives.limits import BoundedFile
from tensorferry.errors import FerryError

KINDS = {
    "zip": "a zip archive",
    "tar": "a tar archive",
    "gzip": "a gzip file",
    "bzip2": "a bzip2 file",
    "xz": "an xz file",
}
"""Kinds that can be opened, with what a person calls them."""

COMPRESSED = frozenset({"gzip", "bzip2", "xz"})
"""Kinds that hold one stream of bytes: a tar archive, or a single file."""

BLOCK = 512
"""Bytes of a header of a tar archive."""

_MAGIC = {
    b"PK\x03\x04": "zip",
    b"PK\x05\x06": "zip",
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\0": "xz",
}
_CHECKSUM = slice(148, 156)


def kind_of_archive(path: Path) -> str | None:
    """A key of KINDS; None for everything else, and for `.keras` and `.npz` files: zip archives that are a model as they are."""
    try:
        with path.open("rb") as file:
            head = file.read(BLOCK)
    except OSError:
        return None  # whoever reads it says why
    for magic, kind in _MAGIC.items():
        if head.startswith(magic):
            return None if kind == "zip" and (_is_keras(path) or is_numpy(path)) else kind
    return "tar" if is_tar_header(head) else None


def is_tar_header(block: bytes) -> bool:
    """Whether the block's checksum is right: older archives have no other mark."""
    if len(block) < BLOCK or not block[0]:
        return False
    try:
        stored = int(block[_CHECKSUM].replace(b"\0", b" ").decode("ascii"), 8)
    except ValueError:
        return False
    return stored == sum(block) - sum(block[_CHECKSUM]) + 8 * ord(" ")


def _is_keras(path: Path) -> bool:
    names = _members(path)
    return "config.json" in names and bool({"model.weights.h5", "metadata.json"} & names)


def is_numpy(path: Path) -> bool:
    """Whether everything in a zip archive is an array."""
    names = _members(path)
    return bool(names) and all(name.endswith(".npy") for name in names)


def _members(path: Path) -> set[str]:
    try:
        with BoundedFile(path) as file, zipfile.ZipFile(file) as archive:
            return set(archive.namelist())
    except (FerryError, zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return set()
