"""One file from one address."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any
from urllib.parse import urljoin

from tensorferry.download.addresses import address_of
from tensorferry.errors import SourceError

DEFAULT_MOST = 4 << 30
"""Bytes of a model unless asked otherwise."""

TIMEOUT = 20.0
"""Seconds without an answer."""

MOST_REDIRECTS = 5
PATIENCE = 30.0
SLOWEST = 1 << 10
"""Bytes a second: what is slower than this for PATIENCE seconds, on the whole, is given up."""

_PIECE = 1 << 16
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")

Told = Callable[[int, int | None], None]
"""Told (bytes there, bytes in all, if known)."""

_FAULTS = (urllib.error.URLError, TimeoutError, ConnectionError, http.client.HTTPException, OSError, ValueError)


class _Redirects(urllib.request.HTTPRedirectHandler):
    """A few redirects, to http and https only, and never from the safe one to the other."""

    max_redirections = MOST_REDIRECTS
    max_repeats = 2

    def redirect_request(self, req: Any, fp: Any, code: Any, msg: Any, headers: Any, newurl: str) -> urllib.request.Request | None:
        target = address_of(urljoin(req.full_url, newurl))
        if req.full_url.startswith("https:") and not target.startswith("https:"):
            why = "it leads from https to http, where anybody on the way can change what is sent"
            raise SourceError(f"'{req.full_url}' is not followed to '{target}'", why=why)
        return super().redirect_request(req, fp, code, msg, headers, target)


class _Gone(Exception):
    """The server has another file by now, or does not send parts: begin anew."""


def download(
    address: str,
    target: Path,
    *,
    sha256: str | None = None,
    most: int = DEFAULT_MOST,
    timeout: float = TIMEOUT,
    tell: Told = lambda _there, _total: None,
    resume: bool = False,
) -> str:
    """Write the file into `target`, which appears whole or not at all, and return its sha256.

    With `resume`, what was had before a cut stays beside `target` as `*.part`, and the next call asks for the rest, if the server
    still has the same file. SourceError when it does not come, or whole, or in time, or is larger than `most` or another than
    `sha256`.
    """
    address = address_of(address)
    part, label = target.with_name(f"{target.name}.part"), target.with_name(f"{target.name}.part.json")
    if not resume:
        _forget(part, label)
    try:
        try:
            digest = _fetch(address, part, label, most, timeout, tell)
        except _Gone:
            _forget(part, label)
            digest = _fetch(address, part, label, most, timeout, tell)
        if sha256 is not None and digest != sha256.lower():
            _forget(part, label)
            raise SourceError(
                f"'{address}' is not the file expected",
                why=f"its sha256 is {digest}, not {sha256.lower()}",
                remedy="the file was changed, or a proxy answered in its place",
            )
        part.replace(target)
        _forget(part, label)
        return digest
    finally:
        if not resume:
            _forget(part, label)


def digest_of(path: Path) -> str:
    """The sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _forget(*paths: Path) -> None:
    for path in paths:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def _fetch(address: str, part: Path, label: Path, most: int, timeout: float, tell: Told) -> str:
    had, mark = _had_before(address, part, label)
    headers = {"User-Agent": "tensorferry", "Accept-Encoding": "identity"}
    if had:
        headers |= {"Range": f"bytes={had}-", "If-Range": mark}
    try:
        opener = urllib.request.build_opener(_Redirects)
        with opener.open(urllib.request.Request(address, headers=headers), timeout=timeout) as answer:
            had, total = _judge(address, answer, had)
            if total is not None and total > most:
                raise _too_large(address, most)
            _write_label(label, address, answer)
            return _receive(address, answer, part, had, total, most, tell)
    except urllib.error.HTTPError as error:
        error.close()  # it holds the connection
        if error.code == 416:
            raise _Gone from error
        raise _explain(address, error) from error
    except _FAULTS as error:
        raise _explain(address, error) from error


def _had_before(address: str, part: Path, label: Path) -> tuple[int, str]:
    """Bytes of an earlier try, and by what the server knows that they are still good; 0 when there is no such thing."""
    try:
        facts = json.loads(label.read_bytes())
        mark = facts["mark"]
        if facts["address"] == address and isinstance(mark, str) and mark.isascii() and mark.isprintable():
            return part.stat().st_size, mark
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        pass
    return 0, ""


def _write_label(label: Path, address: str, answer: Any) -> None:
    etag = answer.headers.get("ETag") or ""
    mark = etag if etag and not etag.startswith("W/") else answer.headers.get("Last-Modified")
    if mark:  # without one nobody can tell whether a rest belongs to a beginning
        label.write_text(json.dumps({"address": address, "mark": mark}), "utf-8")
    else:
        _forget(label)


def _judge(address: str, answer: Any, had: int) -> tuple[int, int | None]:
    """(bytes to keep, bytes in all). The server may send everything instead of the rest."""
    encoding = answer.headers.get("Content-Encoding", "identity")
    if encoding not in ("identity", ""):
        raise SourceError(f"'{address}' is sent {encoding}-encoded, which was not asked for")
    length = answer.headers.get("Content-Length")
    if length is not None and not length.isdecimal():
        raise SourceError(f"'{address}' answers with the length {length[:40]!r}")
    if answer.status != 206:
        return 0, None if length is None else int(length)
    found = _RANGE.fullmatch(answer.headers.get("Content-Range", ""))
    if found is None or int(found[1]) != had:
        raise _Gone
    return had, None if found[3] == "*" else int(found[3])


def _receive(address: str, answer: Any, part: Path, had: int, total: int | None, most: int, tell: Told) -> str:
    seen = hashlib.sha256()
    with part.open("r+b" if had else "wb") as file:
        _read_again(file, had, seen)
        there, start = had, time.monotonic()
        tell(there, total)
        while piece := answer.read1(_PIECE):
            there += len(piece)
            if there > most or (total is not None and there > total):
                raise _too_large(address, most if there > most else there - 1)
            seen.update(piece)
            file.write(piece)
            tell(there, total)
            waited = time.monotonic() - start
            if waited > PATIENCE and there - had < SLOWEST * waited:
                raise TimeoutError(f"only {there - had} bytes came in {waited:.0f} s")
        file.truncate()
        file.flush()
        os.fsync(file.fileno())
    if total is not None and there != total:
        raise ConnectionError(f"the connection ended after {there} of {total} bytes")
    return seen.hexdigest()


def _read_again(file: IO[bytes], had: int, seen: Any) -> None:
    left = had
    while left and (piece := file.read(min(left, 1 << 20))):
        seen.update(piece)
        left -= len(piece)
    if left:
        raise _Gone


def _too_large(address: str, most: int) -> SourceError:
    remedy = "allow more with --max-download, if you trust it; or download it yourself"
    return SourceError(f"'{address}' is larger than {most} bytes", remedy=remedy)


def _explain(address: str, error: Exception) -> SourceError:
    reason = getattr(error, "reason", None) or error
    if isinstance(reason, SourceError):
        return reason
    why = f"the server answers {error.code} ({error.reason})" if isinstance(error, urllib.error.HTTPError) else str(reason)
    remedy = f"check the address and the network connection; without one, download {address} elsewhere and name that file"
    return SourceError(f"'{address}' cannot be downloaded", why=why or type(error).__name__, remedy=remedy)
