"""A model from an address: one file, or a TensorFlow.js model with the files of weights that it names."""

from __future__ import annotations

import json
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tensorferry.download.addresses import address_of, beside, plain_name
from tensorferry.download.client import DEFAULT_MOST, TIMEOUT, digest_of, download
from tensorferry.errors import SourceError

MOST_FILES = 5_000
_MOST_JSON = 512 << 20
OLD_TOPOLOGY, OLD_MANIFEST = "tensorflowjs_model.pb", "weights_manifest.json"

Step = Callable[[str, int, int | None], None]
"""Told (name of the file, bytes there, bytes in all, if known)."""


def download_model(
    address: str,
    folder: Path,
    *,
    pins: Mapping[str, str] | None = None,
    most: int = DEFAULT_MOST,
    timeout: float = TIMEOUT,
    tell: Step = lambda _name, _there, _total: None,
    resume: bool = False,
) -> dict[str, str]:
    """Put the model's own file into `folder` and those that it names beside it; name -> sha256 of each, the model's own first.

    `pins`: the sha256 that files must have, by name. `most` counts all bytes. With `resume`, files that an earlier try has left
    in the folder are taken as they are if they are not pinned otherwise, and what was cut goes on.

    Of TensorFlow.js models the files of weights are fetched from beside the model, with the same query: no other host is asked.
    """
    address = address_of(address)
    name = plain_name(address)
    target = folder / name

    digests: dict[str, str] = {}

    def fetch(source: str, place: Path) -> int:
        known = place.relative_to(folder).as_posix()
        pin = (pins or {}).get(known)

        def told(there: int, total: int | None) -> None:
            tell(place.name, there, total)

        digest = digest_of(place) if resume and place.is_file() else None
        if digest is None or (pin is not None and digest != pin.lower()):
            digest = download(source, place, sha256=pin, most=most - spent, timeout=timeout, tell=told, resume=resume)
        digests[known] = digest
        return place.stat().st_size

    spent = 0
    spent += fetch(address, target)
    manifest = target
    if name == OLD_TOPOLOGY:
        manifest = folder / OLD_MANIFEST
        spent += fetch(beside(address, OLD_MANIFEST), manifest)
    names = dict.fromkeys(_named_files(manifest, address))
    if len(names) > MOST_FILES:
        raise SourceError(f"the model at '{address}' names {len(names)} files", why=f"more than {MOST_FILES} are not fetched")
    sources = {each: beside(address, each) for each in names}  # all are judged before any is fetched
    places = {each: folder.joinpath(*urllib.parse.unquote(each).split("/")) for each in names}
    if {target, manifest} & set(places.values()):
        raise SourceError(f"the model at '{address}' names itself as a file of weights")
    for each, source in sources.items():
        place = places[each]
        place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        spent += fetch(source, place)
    if name == OLD_MANIFEST and not names:
        raise SourceError(f"the manifest at '{address}' names no files")
    return digests


def _named_files(path: Path, address: str) -> Iterator[str]:
    """Of what may be a TensorFlow.js model or a manifest; nothing for any other file."""
    with path.open("rb") as file:
        if file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n")[:1] not in (b"{", b"["):
            return
    if path.stat().st_size > _MOST_JSON:
        raise SourceError(f"'{address}' is larger than any model.json")
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return  # whoever reads it says what it is
    groups = content.get("weightsManifest") if isinstance(content, dict) else content
    yield from _of_groups(groups, address)
    if isinstance(content, dict) and "weightsManifest" not in content and "modelTopology" not in content:
        entries = [each for each in content.values() if isinstance(each, dict)]
        if entries and len(entries) == len(content) and all("filename" in each and "shape" in each for each in entries):
            yield from _plain((each["filename"] for each in entries), address)


def _of_groups(groups: Any, address: str) -> Iterator[str]:
    for group in groups if isinstance(groups, list) else ():
        if isinstance(group, dict) and isinstance(group.get("paths"), list):
            yield from _plain(group["paths"], address)


def _plain(names: Any, address: str) -> Iterator[str]:
    for name in names:
        if not isinstance(name, str):
            raise SourceError(f"the model at '{address}' names the file {name!r}")
        yield name
