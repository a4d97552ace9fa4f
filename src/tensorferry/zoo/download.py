"""PoseNet's official weights from their public address: one file per variable, each checked by its sha256."""

from __future__ import annotations

import hashlib
import http.client
import json
import secrets
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from tensorferry.errors import SourceError

ADDRESS = "https://storage.googleapis.com/tfjs-models/weights/posenet/mobilenet_v1_075/"
TIMEOUT = 20.0
"""Seconds without an answer."""

MOST_BYTES = 8 << 20
"""Of one file; the largest has 0.6 MB."""

_PIECE = 1 << 16
_CHECKSUMS = Path(__file__).with_name("posenet075.sha256")


def checksums() -> dict[str, str]:
    """File name -> sha256, of the manifest and every file it names."""
    lines = _CHECKSUMS.read_text("utf-8").split("\n")
    return {name: digest for digest, name in (line.split() for line in lines if line)}


def download_weights(
    folder: Path, progress: Callable[[int, int], None] | None = None, *, address: str = ADDRESS, timeout: float = TIMEOUT
) -> None:
    """Fill `folder`, which appears whole or not at all. `progress` is told (files done, files in all).

    SourceError when the address does not answer, or a file is not the one expected.
    """
    expected = checksums()
    partial = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.part")
    try:
        partial.mkdir(parents=True)
        for done, (name, digest) in enumerate(expected.items()):
            if progress is not None:
                progress(done, len(expected))
            _fetch(address + name, partial / name, digest, timeout)
        _check_manifest(partial / "manifest.json", expected)
        if progress is not None:
            progress(len(expected), len(expected))
        _put_in_place(partial, folder)
    except OSError as error:
        raise SourceError(f"the weights cannot be kept in '{folder}'", why=error.strerror or str(error)) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _fetch(address: str, target: Path, digest: str, timeout: float) -> None:
    seen = hashlib.sha256()
    length = 0
    try:
        with urllib.request.urlopen(address, timeout=timeout) as answer, target.open("wb") as file:
            while piece := answer.read(_PIECE):
                length += len(piece)
                if length > MOST_BYTES:
                    raise SourceError(f"'{address}' is larger than expected", remedy="the address may have changed hands")
                seen.update(piece)
                file.write(piece)
    except (urllib.error.URLError, TimeoutError, ConnectionError, http.client.HTTPException) as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()  # it holds the connection
        reason = getattr(error, "reason", None) or error
        raise SourceError(f"'{address}' cannot be downloaded", why=str(reason), remedy="check the network connection") from error
    if seen.hexdigest() != digest:
        raise SourceError(
            f"'{address}' is not the file expected",
            why=f"its sha256 is {seen.hexdigest()}, not {digest}",
            remedy="the file was changed, or a proxy answered in its place",
        )


def _check_manifest(path: Path, expected: dict[str, str]) -> None:
    named = {entry["filename"] for entry in json.loads(path.read_bytes()).values()}
    if named | {path.name} != set(expected):
        raise SourceError("the manifest of the weights does not name the files expected")


def _put_in_place(partial: Path, folder: Path) -> None:
    if folder.exists():  # an earlier attempt of another version, without a manifest
        shutil.rmtree(folder)
    partial.replace(folder)
