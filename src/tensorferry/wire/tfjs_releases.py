"""Since when TensorFlow.js knows an op: the data of `tfjs.ops`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

Release = tuple[int, int]
"""Major and minor version."""


@cache
def first_releases() -> Mapping[str, Release]:
    """Op -> the first release whose graph-model loader knows it."""
    releases: dict[str, Release] = {}
    current: Release = (0, 0)
    for line in Path(__file__).with_name("tfjs.ops").read_text("ascii").splitlines():
        if line.startswith("#"):
            continue
        words = line.split()
        if not line.startswith(" "):
            major, minor = words.pop(0).split(".")
            current = (int(major), int(minor))
        releases |= dict.fromkeys(words, current)
    return releases


HALVES = (2, 0, 1)
"""The first release that loads weights stored as float16: tfjs-core 2.0.0 was looked at, and does not."""


def oldest_release(ops: Iterable[str], *, halves: bool = False) -> str:
    """The oldest release that knows all these ops, as `1.4`, and weights stored as float16 (`halves`); empty when one of the ops is
    in no list."""
    known = first_releases()
    found = [known.get(op) for op in ops]
    if any(release is None for release in found):
        return ""
    oldest: tuple[int, ...] = max((release for release in found if release is not None), default=(1, 0))
    return ".".join(map(str, max(oldest, HALVES) if halves else oldest))
