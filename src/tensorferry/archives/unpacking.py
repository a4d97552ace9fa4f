"""The files of an archive, written into a folder of our own.

Nothing of the standard library's extracting is used: names are judged before a file is made, each file is made anew and is an
ordinary one, and every byte is counted when it arrives, whatever the archive said before.
"""

from __future__ import annotations

import os
import stat
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, Any

from tensorferry.archives.kinds import BLOCK, COMPRESSED, is_tar_header
from tensorferry.archives.limits import BoundedFile, Budget, Names
from tensorferry.archives.streams import FAULTS, PIECE, Inflated, broken
from tensorferry.errors import SourceError

_ENCRYPTED = 1
_FAULTS = (*FAULTS, zipfile.BadZipFile, tarfile.TarError, NotImplementedError, RuntimeError, RecursionError, KeyError, IndexError)


def unpack(archive: Path, kind: str, folder: Path, budget: Budget) -> None:
    """Write the archive's files into `folder`, which is empty. SourceError for one that is damaged or not to be trusted."""
    if kind == "zip":
        _unpack_zip(archive, folder, budget)
        return
    with closing(_open(archive, kind, budget)) as stream:
        try:
            head = stream.read(BLOCK)
            stream.seek(0)
        except FAULTS as error:
            raise broken(budget, error) from error
        if kind == "tar" or is_tar_header(head):
            _unpack_tar(stream, folder, budget)
        else:
            budget.take_entry()
            name = archive.stem if archive.suffix.lower() in _SUFFIXES else archive.name
            _write(folder, (name or "model",), _pieces(stream), budget)


_SUFFIXES = (".gz", ".gzip", ".bz2", ".xz")


def _open(archive: Path, kind: str, budget: Budget) -> Inflated:
    try:
        return Inflated(archive, kind if kind in COMPRESSED else None, budget)
    except OSError as error:
        raise SourceError(f"'{budget.where}' cannot be read", why=error.strerror or str(error)) from error


def _unpack_zip(archive: Path, folder: Path, budget: Budget) -> None:
    try:
        with BoundedFile(archive) as file, zipfile.ZipFile(file) as opened:
            wanted = _judge_zip(opened, file.length, budget)
            for info, parts in wanted:
                if parts is not None:
                    try:
                        with opened.open(info) as member:
                            _write(folder, parts, _exactly(member, info.file_size, budget), budget)
                    except _FAULTS as error:
                        raise broken(budget, error, name=info.filename) from error
    except _FAULTS as error:
        raise broken(budget, error) from error


def _judge_zip(opened: zipfile.ZipFile, length: int, budget: Budget) -> list[tuple[zipfile.ZipInfo, tuple[str, ...] | None]]:
    """All entries with their places: nothing is written before each has been looked at."""
    names, found, packed = Names(budget), [], 0
    unpacked = 0
    for info in opened.infolist():
        budget.take_entry()
        name, folder = info.orig_filename, info.is_dir()
        mode = info.external_attr >> 16
        if info.flag_bits & _ENCRYPTED:
            raise SourceError(
                f"'{budget.where}' is encrypted",
                where=f"its entry {name!r}",
                remedy="unpack it with its password and name the model",
            )
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise budget.refuse(f"it is {_what_is(mode)}", name=name)
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise budget.refuse("it is compressed by another method than deflate", name=name)
        packed, unpacked = packed + info.compress_size, unpacked + info.file_size
        budget.check_ratio(info.file_size, info.compress_size)
        parts = names.place(name, folder=folder)
        found.append((info, None if folder else parts))
    if packed > length:
        raise budget.refuse("its entries lie over each other: together they are longer than the file")
    budget.check_ratio(unpacked, length)
    return found


def _unpack_tar(stream: Inflated, folder: Path, budget: Budget) -> None:
    names = Names(budget)
    file: Any = stream  # has what tarfile uses of a file
    try:
        with tarfile.open(fileobj=file, mode="r:", errorlevel=2) as opened:
            for info in opened:
                budget.take_entry()
                opened.members.clear()  # type: ignore[attr-defined]  # else every entry is kept
                _unpack_member(opened, info, names, folder, budget)
        if not stream.drain():  # a header that is broken or not whole ends the loop as well
            raise EOFError("it has no end, or something that is no header follows its last entry")
    except _FAULTS as error:
        raise broken(budget, error) from error


def _unpack_member(opened: tarfile.TarFile, info: tarfile.TarInfo, names: Names, folder: Path, budget: Budget) -> None:
    parts = names.place(info.name, folder=info.isdir())
    if info.isdir() or (parts is None and info.isfile()):
        return
    if not info.isfile() or info.issparse():
        raise budget.refuse(f"it is {_what_is_member(info)}", name=info.name)
    member = opened.extractfile(info)
    if parts is None or member is None:
        raise budget.refuse("it is no ordinary file", name=info.name)
    _write(folder, parts, _exactly(member, info.size, budget), budget)


def _pieces(stream: Inflated) -> Iterator[bytes]:
    while piece := stream.read(PIECE):
        yield piece


def _exactly(member: IO[bytes], size: int, budget: Budget) -> Iterator[bytes]:
    left = size
    while piece := member.read(PIECE):
        left -= len(piece)
        if left < 0:
            raise budget.refuse(f"an entry is longer than the {size} bytes that it claims")
        yield piece
    if left:
        raise EOFError(f"{left} of {size} bytes are missing")


def _write(folder: Path, parts: tuple[str, ...], pieces: Iterator[bytes], budget: Budget) -> None:
    place = folder.joinpath(*parts)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    with _writing(budget, parts):
        place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(place, flags, 0o600)
    with open(handle, "wb", buffering=0) as file:
        while piece := _next(pieces, budget, parts):
            budget.take_bytes(len(piece))
            with _writing(budget, parts):
                file.write(piece)


def _next(pieces: Iterator[bytes], budget: Budget, parts: tuple[str, ...]) -> bytes:
    try:
        return next(pieces, b"")
    except _FAULTS as error:
        raise broken(budget, error, name="/".join(parts)) from error


@contextmanager
def _writing(budget: Budget, parts: tuple[str, ...]) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:  # ValueError: a name that the system has no bytes for
        why = getattr(error, "strerror", None) or str(error)
        where = f"its entry {'/'.join(parts)!r}, in '{budget.folder}'"
        raise SourceError(f"'{budget.where}' cannot be unpacked", where=where, why=why) from error


def _what_is(mode: int) -> str:
    kinds = {stat.S_IFLNK: "a symbolic link", stat.S_IFIFO: "a pipe", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}
    return kinds.get(stat.S_IFMT(mode), "no ordinary file")


def _what_is_member(info: tarfile.TarInfo) -> str:
    if info.issym() or info.islnk():
        return f"a {'symbolic' if info.issym() else 'hard'} link to {info.linkname!r}"
    if info.isdev():
        return "a pipe" if info.isfifo() else "a device"
    return "a file with holes" if info.issparse() else "no ordinary file"
