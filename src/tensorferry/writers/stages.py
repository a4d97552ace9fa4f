"""Targets of several files that appear whole or not at all: a folder of its own, and files that share a prefix."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from tensorferry.errors import TargetError
from tensorferry.writers.atomic import Stage, StagedFile, explaining, sync

SAVED_MODEL_PARTS = frozenset(
    {"saved_model.pb", "saved_model.pbtxt", "variables", "assets", "assets.extra", "fingerprint.pb", "keras_metadata.pb", "debug"}
)
"""What a SavedModel's folder holds."""


class StagedTree(Stage):
    """A folder that is replaced as a whole. One that holds anything but what such a folder holds is refused."""

    def __init__(
        self,
        target: str | os.PathLike[str],
        sources: Iterable[str | os.PathLike[str]] = (),
        parts: frozenset[str] = SAVED_MODEL_PARTS,
    ) -> None:
        super().__init__(target, sources)
        if self.target.exists() and not self.target.is_dir():
            raise TargetError(f"'{self.given}' cannot be written", why="it is a file, not a folder", remedy="name a folder")
        if self.target.is_dir():
            others = sorted(each.name for each in self.target.iterdir() if each.name not in parts)
            if others:
                why = f"the folder holds other files ({', '.join(others[:3])}), and it is written as a whole"
                raise TargetError(f"'{self.given}' cannot be written", why=why, remedy="name a new folder")
            if not os.access(self.target, os.W_OK):
                raise TargetError(
                    f"'{self.given}' cannot be written", why="the folder is read-only", remedy="choose another folder"
                )
        for source in self.sources:
            inside = source.exists() and self.target.exists() and self.target.resolve() in source.resolve().parents
            if inside:
                raise TargetError(f"the target '{self.given}' holds the source", remedy="choose another name for the target")
        self.path = self._temporary("part")
        self._old = self._temporary("old")
        self._placed = False
        with explaining(self.given):
            self.path.mkdir()

    def publish(self) -> None:
        with explaining(self.given):
            for each in sorted(self.path.rglob("*"), reverse=True):
                sync(each)
            sync(self.path)
            if self.target.exists():
                shutil.copymode(self.target, self.path)
                self.target.replace(self._old)
            try:
                self.path.replace(self.target)
                self._placed = True
            except BaseException:
                self.roll_back()
                raise
            sync(self.target.parent)

    def roll_back(self) -> None:
        if self._placed:
            self._placed = False
            self.target.replace(self.path)
        if self._old.exists() and not self.target.exists():
            self._old.replace(self.target)

    def finish(self) -> None:
        self._placed = False
        shutil.rmtree(self._old, ignore_errors=True)
        self.discard()

    def discard(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)


class StagedPrefix(Stage):
    """Files named by a prefix and a suffix each; put in place in the order of the suffixes. `path` is the prefix for now."""

    def __init__(
        self, target: str | os.PathLike[str], suffixes: Sequence[str], sources: Iterable[str | os.PathLike[str]] = ()
    ) -> None:
        given = os.fspath(target)
        if given.endswith(("/", os.sep)) or Path(target).is_dir():
            raise TargetError(
                f"'{given}' cannot be written", why="it is a folder", remedy=f"name a prefix in it: {Path(given) / 'model'}"
            )
        super().__init__(target, sources)
        self.path = self._temporary("part")
        self._files: list[StagedFile] = []
        try:
            for suffix in suffixes:
                place, temporary = (path.with_name(path.name + suffix) for path in (self.target, self.path))
                self._files.append(StagedFile(place, self.sources, path=temporary))
        except BaseException:
            self.discard()
            raise

    def publish(self) -> None:
        done: list[StagedFile] = []
        try:
            for each in self._files:
                done.append(each)
                each.publish()
        except BaseException:
            for each in reversed(done):
                with suppress(OSError):
                    each.roll_back()
            raise

    def roll_back(self) -> None:
        for each in reversed(self._files):
            each.roll_back()

    def finish(self) -> None:
        for each in self._files:
            each.finish()

    def discard(self) -> None:
        for each in self._files:
            each.discard()
