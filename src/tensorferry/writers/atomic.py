"""Targets that appear whole or not at all.

A target is first *staged*: written under a temporary name beside where it will stand, so that the last step is a rename within one
file system. Several targets of one conversion are staged, verified, and then put in place together by `commit_all`; when
anything goes wrong before, nothing of what was there has been touched, and the temporary names are gone.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from tensorferry.errors import TargetError

MANIFEST = "model.json"
"""The file of a TensorFlow.js folder that names the others: written last, so that it never names a file not yet there."""

_MANIFEST_LIMIT = 256 << 20
_SYNC_UNSUPPORTED = (errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES)

_REASONS = {
    errno.ENOSPC: ("the disk is full", "free some space, or name a target on another disk"),
    errno.EDQUOT: ("the disk quota is used up", "free some space, or name a target on another disk"),
    errno.EFBIG: ("the file is larger than the file system or a limit of the system allows", "name a target on another disk"),
    errno.EACCES: ("permission denied", "name a target in a folder you may write to"),
    errno.EPERM: ("permission denied", "name a target in a folder you may write to"),
    errno.EROFS: ("the file system is read-only", "name a target on another disk"),
    errno.ENOENT: ("its folder does not exist", "create the folder first"),
    errno.ENOTDIR: ("a part of its path is a file, not a folder", "check the path"),
    errno.ENAMETOOLONG: ("the name is too long", "choose a shorter one"),
}


@contextmanager
def explaining(target: Path) -> Iterator[None]:
    """Turn an OSError met while writing into a TargetError that names the target and what to do."""
    try:
        yield
    except OSError as error:
        why, remedy = _REASONS.get(error.errno or 0, (error.strerror or str(error), ""))
        raise TargetError(f"'{target}' cannot be written", why=why, remedy=remedy) from error


class Stage:
    """A target in the making: `path` is where to write it for now.

    `commit` puts it in place, `discard` forgets it; leaving the `with` block uncommitted discards. A committed stage can be
    taken back by `roll_back` until `finish`.
    """

    path: Path

    def __init__(self, target: str | os.PathLike[str], sources: Iterable[str | os.PathLike[str]]) -> None:
        given = Path(target)
        self.given = given
        with explaining(given):  # a link stays a link; what it points to is replaced
            with suppress(FileNotFoundError, NotADirectoryError):
                given.stat()  # a name that the system cannot even look up shows here
            # `.` and `..` have no name beside which something could be staged.
            self.target = given.resolve() if given.is_symlink() or given.name in ("", "..") else given
        if not self.target.name:
            raise TargetError(f"'{given}' cannot be written", why="it is the root of the file system", remedy="name a folder in it")
        self.sources = [Path(source) for source in sources]
        for source in self.sources:
            self._refuse_source(self.target, source)
        if not self.target.parent.is_dir():
            raise TargetError(
                f"'{given}' cannot be written",
                why=f"the folder '{self.target.parent}' does not exist",
                remedy="create the folder first",
            )

    def _refuse_source(self, target: Path, source: Path) -> None:
        if target.exists() and source.exists() and target.samefile(source):
            raise TargetError(f"the target '{target}' is the source itself", remedy="choose another name for the target")

    def _temporary(self, role: str) -> Path:
        name = os.fsdecode(os.fsencode(self.target.name)[:80])  # bytes: a name has room for 255 of them
        return self.target.with_name(f".{name}.{os.urandom(4).hex()}.{role}")

    def commit(self) -> None:
        """Put in place and forget what was there."""
        self.publish()
        self.finish()

    def publish(self) -> None:
        """Put in place, keeping what was there for `roll_back`."""
        raise NotImplementedError

    def roll_back(self) -> None:
        """After `publish`: restore what was there before."""
        raise NotImplementedError

    def finish(self) -> None:
        """After `publish`: the new target stays."""
        raise NotImplementedError

    def discard(self) -> None:
        """Remove everything temporary; nothing to do once finished."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.discard()


class StagedFile(Stage):
    """One file. The temporary file exists, empty, from the start: an unwritable folder shows before any work is done.

    `path` is where it is written for now, beside the target; a name is made up when none is given.
    """

    def __init__(
        self, target: str | os.PathLike[str], sources: Iterable[str | os.PathLike[str]] = (), *, path: Path | None = None
    ) -> None:
        super().__init__(target, sources)
        if self.target.exists():
            if not self.target.is_file():
                kind = "a folder" if self.target.is_dir() else "not an ordinary file"
                raise TargetError(f"'{self.given}' cannot be written", why=f"it is {kind}", remedy="name a file")
            if not os.access(self.target, os.W_OK):
                raise TargetError(f"'{self.given}' cannot be written", why="the file is read-only", remedy="choose another name")
        self.path = path or self._temporary("part")
        self._backup: Path | None = None
        self._placing = False
        self._new = not self.target.exists()
        with explaining(self.given):
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """The temporary file, emptied, for writing; a full disk and the like become TargetErrors."""
        with explaining(self.given), open(self.path, "wb+") as file:
            yield file

    def publish(self) -> None:
        with explaining(self.given):
            sync(self.path)
            if self.target.exists():
                shutil.copymode(self.target, self.path)
                self._backup = self._temporary("old")
                try:
                    os.link(self.target, self._backup)
                except OSError:  # a file system without hard links: the rename is still whole, only not to be taken back
                    self._backup = None
            self._placing = True
            self.path.replace(self.target)
            sync(self.target.parent)

    def roll_back(self) -> None:
        if not self._placing or self.path.exists():  # the rename has not happened
            return
        self._placing = False
        backup, self._backup = self._backup, None  # should the next step fail, `discard` leaves the backup where it is
        if backup is not None:
            backup.replace(self.target)
        elif self._new:
            self.target.unlink(missing_ok=True)

    def finish(self) -> None:
        self._placing = False
        self.discard()

    def discard(self) -> None:
        for path in (self.path, self._backup):
            if path is not None:
                with suppress(OSError):
                    path.unlink(missing_ok=True)


class StagedFolder(Stage):
    """A TensorFlow.js folder: files are staged in a folder of their own, then moved into the target folder, `model.json` last.

    Shards that the old `model.json` named and the new one does not are deleted; other files in the target are left alone.
    """

    def __init__(self, target: str | os.PathLike[str], sources: Iterable[str | os.PathLike[str]] = ()) -> None:
        super().__init__(target, sources)
        if self.target.exists() and not self.target.is_dir():
            raise TargetError(f"'{self.given}' cannot be written", why="it is a file, not a folder", remedy="name a folder")
        if self.target.is_dir() and not os.access(self.target, os.W_OK):
            raise TargetError(f"'{self.given}' cannot be written", why="the folder is read-only", remedy="choose another folder")
        for source in self.sources:
            self._refuse_source(self.target / MANIFEST, source)
        self.path = self._temporary("part")
        self._moved: list[Path] = []
        self._saved: list[tuple[Path, Path]] = []  # (where it was, where it is kept)
        self._made_target = False
        self._keep = False
        with explaining(self.given):
            self.path.mkdir()

    def publish(self) -> None:
        names = sorted((path.name for path in self.path.iterdir()), key=lambda name: (name == MANIFEST, name))
        for name in names:
            for source in self.sources:
                self._refuse_source(self.target / name, source)
        with explaining(self.given):
            for name in names:
                sync(self.path / name)
            try:
                self._move_in(names)
            except BaseException:
                self.roll_back()
                raise
            sync(self.target)

    def _move_in(self, names: Sequence[str]) -> None:
        if not self.target.exists():
            self.target.mkdir()
            self._made_target = True
        kept = self.path / "old"
        kept.mkdir()
        stale = [name for name in _named_shards(self.target / MANIFEST) if name not in names]
        stale = [name for name in stale if not any(_same(self.target / name, source) for source in self.sources)]
        # The old manifest goes first: from then on until the new one stands, there is no model rather than a mixed one.
        for name in sorted((*names, *stale), key=lambda name: (name != MANIFEST, name)):
            old = self.target / name
            if old.is_dir() and not old.is_symlink():
                raise TargetError(f"'{old}' cannot be written", why="it is a folder", remedy="choose another target folder")
            if old.exists() or old.is_symlink():
                self._saved.append((old, kept / name))
                old.replace(kept / name)
        for name in names:
            self._moved.append(self.target / name)
            (self.path / name).replace(self.target / name)

    def roll_back(self) -> None:
        moved, saved = self._moved, self._saved
        self._moved, self._saved, self._keep = [], [], True  # should a step fail, `discard` leaves the old files where they are
        for path in reversed(moved):
            path.unlink(missing_ok=True)
        for place, kept in reversed(saved):  # the manifest was saved first, so it is restored last
            if kept.exists() or kept.is_symlink():
                kept.replace(place)
        self._keep = False
        if self._made_target:
            with suppress(OSError):
                self.target.rmdir()

    def finish(self) -> None:
        self._moved, self._saved = [], []
        self.discard()

    def discard(self) -> None:
        if not self._keep:
            shutil.rmtree(self.path, ignore_errors=True)


def commit_all(stages: Sequence[Stage]) -> None:
    """Put all targets in place, or none: when one cannot be, those already placed are taken back (of a stage that was not
    published, `roll_back` changes nothing)."""
    try:
        for stage in stages:
            stage.publish()
    except BaseException:
        for stage in reversed(stages):
            with suppress(OSError):
                stage.roll_back()
            stage.discard()
        raise
    for stage in stages:
        stage.finish()


@contextmanager
def atomic_file(path: str | os.PathLike[str], sources: Iterable[str | os.PathLike[str]] = ()) -> Iterator[BinaryIO]:
    """A binary file that appears at `path` when the block ends well, and leaves no trace when it does not."""
    with StagedFile(path, sources) as stage:
        with stage.open() as file:
            yield file
        stage.commit()


def sync(path: Path) -> None:
    """Have the system write a file, or a folder's list of names, to the disk."""
    if path.is_dir() and os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _SYNC_UNSUPPORTED:
            raise
    finally:
        os.close(handle)


def _same(one: Path, other: Path) -> bool:
    return one.exists() and other.exists() and one.samefile(other)


def _named_shards(manifest: Path) -> list[str]:
    """Plain file names that an existing `model.json` gives for its weights; nothing when it is not such a file."""
    try:
        if manifest.stat().st_size > _MANIFEST_LIMIT:
            return []
        groups = json.loads(manifest.read_bytes())["weightsManifest"]
        names = {path for group in groups for path in group["paths"]}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return []
    return sorted(
        name for name in names if isinstance(name, str) and name == Path(name).name and name not in ("", ".", "..", MANIFEST)
    )
