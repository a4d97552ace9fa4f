"""How much an archive may hold, and what its files may be called."""

from __future__ import annotations

import io
import re
import shutil
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path

from tensorferry.errors import SourceError

MOST_ENTRIES = 20_000
MOST_BYTES = 16 << 30
"""Of all files of an archive together."""

MOST_AT_ONCE = 8 << 20
"""Bytes of a directory or header: what is read in one piece, before anything in it can be judged."""

MOST_DEPTH = 32
_MOST_NAME = 255
_MOST_RATIO = 250
_FREE_RATIO = 64 << 20
"""Up to here it does not matter how well something was compressed: zeros shrink a thousandfold."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class BoundedFile(io.FileIO):
    """A file of which no more than MOST_AT_ONCE bytes can be asked for at once: the modules that read archives take a whole
    directory into memory, however long it says that it is."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "rb")
        self.path = path
        self.length = path.stat().st_size

    def read(self, size: int | None = -1) -> bytes:
        """SourceError when more is wanted."""
        wanted = self.length - self.tell() if size is None or size < 0 else size
        if wanted > MOST_AT_ONCE:
            raise SourceError(
                f"'{self.path}' has a directory of {wanted} bytes",
                why=f"more than {MOST_AT_ONCE >> 20} MiB are not read",
                remedy="unpack it and name the model inside",
            )
        return super().read(wanted) or b""


@dataclass(slots=True)
class Budget:
    """What is still allowed of one archive and of those inside it."""

    where: str
    folder: Path
    bytes: int = MOST_BYTES
    entries: int = MOST_ENTRIES
    _free: int = field(init=False)

    def __post_init__(self) -> None:
        self._free = shutil.disk_usage(self.folder).free

    def take_entry(self) -> None:
        """SourceError when there are too many."""
        self.entries -= 1
        if self.entries < 0:
            raise self.refuse(f"it holds more than {MOST_ENTRIES} files")

    def take_bytes(self, count: int) -> None:
        """SourceError when they are too many, or more than the disk has room for."""
        self.bytes -= count
        self._free -= count
        if self.bytes < 0:
            raise self.refuse(f"its files have more than {MOST_BYTES >> 30} GiB together")
        if self._free < 0:
            why = f"there is no room for its files in '{self.folder.parent}'"
            raise SourceError(f"'{self.where}' cannot be unpacked", why=why, remedy="set TMPDIR to a folder on a larger disk")

    def check_ratio(self, unpacked: int, packed: int) -> None:
        """SourceError when so few bytes become so many that it is no model."""
        if unpacked > _FREE_RATIO and unpacked > _MOST_RATIO * max(packed, 1):
            raise self.refuse(f"{packed} bytes of it become {unpacked}: more than {_MOST_RATIO} times as many")

    def refuse(self, why: str, *, name: str = "") -> SourceError:
        """The error for an archive that is not opened."""
        where = f"its entry {name!r}" if name else ""
        remedy = "make the archive anew; or, if you trust it, unpack it yourself and name the model inside"
        return SourceError(f"'{self.where}' is not opened", where=where, why=why, remedy=remedy)


class Names:
    """The files of one archive as places in a folder: none leads out of it, no two are the same on any system."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._kinds: dict[tuple[str, ...], tuple[bool, str]] = {}

    def place(self, name: str, *, folder: bool) -> tuple[str, ...] | None:
        """The parts of the path. None for what an operating system has left in the archive, and for the archive's root."""
        refuse = self._budget.refuse
        if _CONTROL.search(name):
            raise refuse("a name holds control characters", name=name)
        plain = name.replace("\\", "/")
        if plain.startswith("/"):
            raise refuse("a name begins at the root of the file system", name=name)
        parts = tuple(part for part in plain.split("/") if part not in ("", "."))
        if ".." in parts:
            raise refuse("a name leads out of the archive's folder", name=name)
        if any(":" in part for part in parts):
            raise refuse("a name holds a colon, which names a drive or a stream elsewhere", name=name)
        if len(parts) > MOST_DEPTH or any(len(part.encode("utf-8", "surrogateescape")) > _MOST_NAME for part in parts):
            raise refuse("a name is longer or deeper than file systems take", name=name[:100])
        if not parts or parts[0] == "__MACOSX" or parts[-1] == ".DS_Store" or parts[-1].startswith("._"):
            return None
        self._note(parts, name, folder=folder)
        return parts

    def _note(self, parts: tuple[str, ...], name: str, *, folder: bool) -> None:
        key = tuple(unicodedata.normalize("NFC", part).casefold() for part in parts)
        for length in range(1, len(key)):
            kind, spelt = self._kinds.setdefault(key[:length], (True, "/".join(parts[:length])))
            if not kind:
                raise self._budget.refuse(f"it is inside of '{spelt}', which is a file", name=name)
            if spelt != "/".join(parts[:length]):
                raise self._budget.refuse(f"it differs from '{spelt}' only in upper and lower case", name=name)
        spelling = "/".join(parts)
        known = self._kinds.setdefault(key, (folder, spelling))
        if known[1] != spelling:
            raise self._budget.refuse(f"it differs from '{known[1]}' only in upper and lower case", name=name)
        if known[0] != folder:
            raise self._budget.refuse("it is a file and a folder", name=name)
        if not folder:
            self._refuse_second(key, name)

    def _refuse_second(self, key: tuple[str, ...], name: str) -> None:
        seen = (*key, "\0")  # no part of a path is called so
        if seen in self._kinds:
            raise self._budget.refuse("two files have this name", name=name)
        self._kinds[seen] = (False, name)
