"""Well-known public models by name, and any other by its address: fetched once, checked file by file, kept in the cache."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

from tensorferry.download import DEFAULT_MOST, address_of, cache_folder, digest_of, download_model, is_address, plain_name
from tensorferry.errors import OptionError, SourceError
from tensorferry.writers.atomic import StagedFile, StagedFolder, explaining

RECORD = "fetched.json"
"""In each folder of the cache: the address, and the sha256 of every file as it came the first time."""

Told = Callable[[str, int, int | None], None]
"""Told (name of the file, bytes there, bytes in all, if known)."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A public model. `pins`: name of each file -> its sha256; empty where nobody has stated them to us."""

    name: str
    address: str
    pins: Mapping[str, str]
    licence: str
    licence_source: str
    description: str

    def as_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "address": self.address,
            "pinned": bool(self.pins),
            "licence": self.licence,
            "licence_source": self.licence_source,
            "description": self.description,
        }


@dataclass(frozen=True, slots=True)
class Fetched:
    """A model that is here now. `checksums` says what its files were compared with."""

    entry: Entry
    path: str
    files: Mapping[str, str]
    bytes: int
    checksums: str

    def as_dict(self) -> dict[str, Any]:
        about = {"path": self.path, "bytes": self.bytes, "checksums": self.checksums, "files": dict(self.files)}
        return self.entry.as_dict() | about


@cache
def known_models() -> Mapping[str, Entry]:
    """The table `models.tsv` beside this file."""
    here = Path(__file__).parent
    entries = {}
    for line in (here / "models.tsv").read_text("utf-8").splitlines()[1:]:
        name, address, checksums, licence, source, description = line.split("\t")
        pins: dict[str, str] = {}
        if checksums.endswith(".sha256"):
            lines = (here / checksums).read_text("utf-8").splitlines()
            pins = {file: digest for digest, file in (each.split() for each in lines if each)}
            pins = {plain_name(address): pins[plain_name(address)], **pins}
        elif checksums != "-":
            pins = {plain_name(address): checksums.partition(":")[0]}
        entries[name] = Entry(name, address, pins, licence, source, description)
    return entries


def fetch(
    wanted: str,
    target: str | os.PathLike[str] | None = None,
    *,
    sha256: str | None = None,
    most: int = DEFAULT_MOST,
    again: bool = False,
    tell: Told = lambda _name, _there, _total: None,
) -> Fetched:
    """The model of that name, or at that address, from the cache or fetched into it; copied to `target` if one is given.

    A model whose files have no known sha256 is taken as it comes the first time, which `Fetched.checksums` says, and held to that
    from then on; `again` fetches it anew. SourceError when it cannot be had, or is another than it was or should be.
    """
    entry = _entry_of(wanted, sha256)
    folder = cache_folder() / "models" / _folder_name(entry)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _alone(folder):
            recorded = _read_record(folder, entry)
            if again or not recorded or not _is_whole(folder, recorded):
                checksums = _fetch(entry, folder, recorded, most, tell)
                recorded = _read_record(folder, entry)
            else:
                checksums = "as stated" if entry.pins else "as at the first time"
    except OSError as error:
        remedy = "set TENSORFERRY_CACHE to a folder that can be written"
        raise SourceError(f"'{wanted}' cannot be kept in '{folder}'", why=error.strerror or str(error), remedy=remedy) from error
    size = sum((folder / name).stat().st_size for name in recorded)
    place = folder / next(iter(recorded))
    if target is not None:
        place = _copy(folder, list(recorded), Path(target))
    return Fetched(entry, str(place), recorded, size, checksums)


def _entry_of(wanted: str, sha256: str | None) -> Entry:
    if is_address(wanted):
        address = address_of(wanted)
        pins = {plain_name(address): sha256} if sha256 else {}
        return Entry(plain_name(address), address, pins, "not known", "", "")
    entry = known_models().get(wanted)
    if entry is None:
        close = get_close_matches(wanted, known_models(), n=3, cutoff=0.5)
        guess = f"did you mean {' or '.join(close)}? " if close else ""
        remedy = f"{guess}'tensorferry fetch --list' names all; or give an address"
        raise OptionError(f"no public model is known as '{wanted}'", remedy=remedy)
    if sha256 is not None:
        raise OptionError("--sha256 is for addresses", remedy="leave it out: what is known of a named model is checked")
    return entry


def _folder_name(entry: Entry) -> str:
    if entry.name in known_models():
        return entry.name
    return f"{entry.name}-{hashlib.sha256(entry.address.encode()).hexdigest()[:12]}"


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One process at a time: the second one would write into the first one's files."""
    try:
        import fcntl  # noqa: PLC0415 - absent on Windows
    except ImportError:
        yield
        return
    with folder.with_name(f".{folder.name}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise SourceError(f"another process is fetching '{folder.name}'", remedy="wait for it to end") from error
        yield


def _read_record(folder: Path, entry: Entry) -> dict[str, str]:
    try:
        record = json.loads((folder / RECORD).read_bytes())
        files = record["files"]
        if record["address"] == entry.address and files and all(isinstance(each, str) for each in files.values()):
            return dict(files)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        pass
    return {}


def _is_whole(folder: Path, recorded: Mapping[str, str]) -> bool:
    try:
        return all(digest_of(folder / name) == digest for name, digest in recorded.items())
    except OSError:
        return False


def _fetch(entry: Entry, folder: Path, recorded: Mapping[str, str], most: int, tell: Told) -> str:
    """Into a folder beside, which a cut leaves for the next try, then in place."""
    part = folder.with_name(f".{folder.name}.part")
    part.mkdir(exist_ok=True)
    files = download_model(entry.address, part, pins=entry.pins or recorded, most=most, tell=tell, resume=True)
    expected = dict(entry.pins) if len(entry.pins) > 1 else {}
    if expected and set(expected) != set(files):
        shutil.rmtree(part)
        odd = sorted(set(expected) ^ set(files))
        raise SourceError(f"'{entry.address}' does not name the files expected", why=f"{', '.join(odd[:5])}: in one list only")
    (part / RECORD).write_text(json.dumps({"address": entry.address, "files": files}, indent=1), "utf-8")
    if folder.exists():
        shutil.rmtree(folder)
    part.replace(folder)
    if entry.pins:
        return "as stated"
    return "as at the first time" if recorded else "not pinned: recorded now, compared from now on"


def _copy(folder: Path, names: list[str], target: Path) -> Path:
    """One file as `target`, or into it if that is a folder; several into a folder of that name."""
    if len(names) == 1:
        place = target / names[0] if target.is_dir() else target
        with StagedFile(place) as stage:
            with stage.open() as file, (folder / names[0]).open("rb") as source:
                shutil.copyfileobj(source, file, 1 << 20)
            stage.commit()
        return place
    with StagedFolder(target) as staged:
        with explaining(target):
            for name in names:
                place = staged.path / name
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(folder / name, place)
        staged.commit()
    with suppress(OSError):
        target.chmod(0o755)
    return target / names[0]
