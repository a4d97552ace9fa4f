"""Where a source comes from: a file or folder as it is; or an address, or an archive, opened in a private folder that is gone
afterwards."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tensorferry.archives import KINDS, Budget, kind_of_archive, unpack
from tensorferry.download import DEFAULT_MOST, address_of, digest_of, download_model, is_address, plain_name
from tensorferry.errors import FerryError, OptionError, SourceError
from tensorferry.readers.finding import find_models
from tensorferry.storage import SourceFile

INSIDE = "!"
"""Stands between an archive's name and that of the model inside: `models.zip!pose/model.json`."""

_MOST_SHOWN = 10
_SUFFIXES = frozenset({".zip", ".tar", ".gz", ".tgz", ".bz2", ".tbz2", ".xz", ".txz"})


Progress = Callable[[str], None]


class Share(str):
    """The name of a step that knows how far it is: `there` bytes of `total`, if that is known, or so many of something else."""

    def __new__(cls, name: str, there: int, total: int | None, unit: str = "") -> Self:
        made = super().__new__(cls, name)
        made.there, made.total, made.unit = there, total, unit
        return made

    there: int
    total: int | None
    unit: str


@dataclass(frozen=True, slots=True)
class Origin:
    """A source as it was `given`, and the file or folder at `path` that is read in its stead.

    `name` is what to call it in a report, `container` what it was taken out of (or nothing), `file` what was given, here.
    """

    given: str
    path: Path
    name: str
    file: Path
    container: str = ""

    @property
    def bytes(self) -> int:
        """Of the file as it was given, or of all files of a folder."""
        if self.file.is_file():
            return self.file.stat().st_size
        return sum(each.stat().st_size for each in self.file.rglob("*") if each.is_file())


@contextmanager
def open_origin(
    source: str | os.PathLike[str],
    *,
    inside: str | None = None,
    sha256: str | None = None,
    most: int = DEFAULT_MOST,
    progress: Progress = lambda _step: None,
) -> Iterator[Origin]:
    """The source as something that can be read; what had to be fetched or unpacked is removed at the end, however it ends.

    `inside` names the model in an archive, as `!` behind the archive's name does; `sha256` is of the file as it is given; of an
    address no more than `most` bytes are read. SourceError for a file that does not come or is another one, and for an archive
    that is damaged, not to be trusted, or holds no model, or several.
    """
    if not is_address(os.fspath(source)):
        with _open_file(os.fspath(source), inside, sha256) as origin:
            yield origin
        return
    address, _, wanted = os.fspath(source).partition(INSIDE)
    with private_folder() as folder:
        place = folder / (_stem(plain_name(address_of(address))) or "model")
        place.mkdir(mode=0o700)

        def tell(name: str, there: int, total: int | None) -> None:
            progress(Share(f"download {name}", there, total))

        pins = {} if sha256 is None else {plain_name(address_of(address)): sha256}
        path = place / next(iter(download_model(address, place, pins=pins, most=most, tell=tell)))
        wanted = f"{INSIDE}{wanted}" if wanted else ""
        with _named_as(str(place), address), _named_as(str(path), address), _open_file(f"{path}{wanted}", inside, None) as origin:
            progress("read")
            name = origin.name.replace(str(path), address)
            yield Origin(address, origin.path, name, path, origin.container)


@contextmanager
def _open_file(source: str, inside: str | None, sha256: str | None) -> Iterator[Origin]:
    given, wanted = _split(source, inside)
    if sha256 is not None:
        _check_sum(Path(given), sha256)
    kind = kind_of_archive(Path(given)) if Path(given).is_file() else None
    if kind is None:
        if wanted:
            raise OptionError(f"'{given}' is no archive", remedy="leave out what should be inside of it")
        yield Origin(given, Path(given), given, Path(given))
        return
    with private_folder() as folder:
        opened = _Opened(given, folder)
        with opened.naming():
            opened.unpack(Path(given), kind, given)
            path = opened.find(wanted or "")
            yield Origin(given, path, opened.tell(str(path)), Path(given), KINDS[kind])


@contextmanager
def _named_as(path: str, name: str) -> Iterator[None]:
    """Errors name what was given."""
    try:
        yield
    except FerryError as error:
        for role in ("what", "where", "why", "remedy"):
            setattr(error, role, getattr(error, role).replace(path, name))
        raise


def _check_sum(path: Path, expected: str) -> None:
    if path.is_dir():
        raise OptionError(f"'{path}' is a folder, which has no checksum", remedy="leave out --sha256")
    SourceFile(path)  # says what is wrong with it
    digest = digest_of(path)
    if digest != expected.lower():
        why = f"its sha256 is {digest}, not {expected.lower()}"
        raise SourceError(f"'{path}' is not the file expected", why=why, remedy="copy or download it again")


def _split(source: str, inside: str | None) -> tuple[str, str | None]:
    """At the first mark behind a file that exists; a file whose own name holds the mark is itself."""
    position = -1 if os.path.lexists(source) else source.find(INSIDE)
    while position > 0 and not Path(source[:position]).is_file():
        position = source.find(INSIDE, position + 1)
    if position <= 0:
        return source, inside
    wanted = source[position + 1 :]
    if inside and inside != wanted:
        raise OptionError(f"two models are named: '{wanted}' and '{inside}'", remedy="name one of them")
    return source[:position], wanted


class _Keeper:
    """Something to watch."""


@contextmanager
def private_folder() -> Iterator[Path]:
    """A new folder that nobody else may look into, removed at the end; at the latest when the program ends."""
    try:
        folder = Path(tempfile.mkdtemp(prefix="tensorferry-")).resolve()
    except OSError as error:
        remedy = "set TMPDIR to a folder that can be written"
        raise SourceError("no temporary folder can be made", why=error.strerror or str(error), remedy=remedy) from error
    keeper = _Keeper()
    removal = weakref.finalize(keeper, shutil.rmtree, folder, ignore_errors=True)
    try:
        yield folder
    finally:
        removal()


class _Opened:
    """An archive in a private folder, and perhaps one more that was inside of it; each has a folder named after it."""

    def __init__(self, given: str, folder: Path) -> None:
        self.given = given
        self.folder = folder
        self.budget = Budget(given, folder)
        self.place = folder
        self._names: list[tuple[str, str]] = []

    def unpack(self, archive: Path, kind: str, name: str) -> None:
        """Into a folder of its own, which is then the `place` where models are looked for; `name` is what errors call it."""
        self.place = self.folder / str(len(self._names)) / (_stem(Path(name).name) or "model")
        self.place.mkdir(parents=True, mode=0o700)
        self._names.insert(0, (str(self.place), name))
        unpack(archive, kind, self.place, self.budget)

    def find(self, wanted: str) -> Path:
        """The model that is named, or the only one. What is named, or alone, may be one more archive, but none within that."""
        first, _, second = wanted.partition(INSIDE)
        files = self._files()
        chosen = self._named(first) if first else files[0] if len(files) == 1 else self.place
        kind = kind_of_archive(chosen) if chosen.is_file() else None
        if kind is None:
            return chosen if first else self._only(files)
        self.unpack(chosen, kind, self.tell(str(chosen)))
        chosen.unlink()
        return self._named(second) if second else self._only(self._files())

    def _files(self) -> list[Path]:
        return sorted(path for path in self.place.rglob("*") if path.is_file())

    def _named(self, inside: str) -> Path:
        place = self.place.joinpath(*(part for part in inside.split("/") if part))
        if not place.exists() or not place.resolve().is_relative_to(self.place):
            raise SourceError(f"'{self.place}' has nothing called '{inside}'", remedy=self._offer(find_models(self.place)))
        return place

    def _only(self, files: list[Path]) -> Path:
        found = find_models(self.place)
        if len(found) == 1 or (not found and len(files) == 1):
            return (found or files)[0]  # reading a file that is no model says what it is
        if found:
            raise SourceError(f"'{self.place}' holds {len(found)} models", remedy=self._offer(found))
        names = [path.relative_to(self.place).as_posix() for path in files]
        holds = f"it holds {len(files)} files: {', '.join(names[:_MOST_SHOWN])}" if files else "it holds no files"
        raise SourceError(f"'{self.place}' holds no model that can be read", why=holds)

    def _offer(self, found: list[Path]) -> str:
        if found == [self.place]:
            return "name the archive alone"
        some = ", ".join(f"'{path}'" for path in (found or self._files())[:_MOST_SHOWN])
        return f"name {'one of them' if found else 'one of its files'}: {some}" if some else ""

    def tell(self, text: str) -> str:
        """A text in which paths of the private folder stand as a person would write them."""
        for place, name in self._names:
            text = text.replace(place + os.sep, name + INSIDE).replace(place, name)
        return text.replace(str(self.folder), "the temporary folder")

    @contextmanager
    def naming(self) -> Iterator[None]:
        """Errors name the archive and what is inside it, never the private folder."""
        try:
            yield
        except FerryError as error:
            for role in ("what", "where", "why", "remedy"):
                setattr(error, role, self.tell(getattr(error, role)))
            raise


def _stem(name: str) -> str:
    while Path(name).suffix.lower() in _SUFFIXES:
        name = Path(name).stem
    return name
