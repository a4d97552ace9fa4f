"""Readers: bytes to Graph. What a file is follows from its content, never from its name."""

from __future__ import annotations

import os

from tensorferry.errors import SourceError
from tensorferry.ir import Graph
from tensorferry.readers.detect import FORMATS, recognize
from tensorferry.readers.graphdef import read_graphdef

__all__ = ["FORMATS", "detect", "read"]


def detect(path: str | os.PathLike[str]) -> str:
    """The source's kind, a key of FORMATS. SourceError when it is nothing that can be read, with what it is and the way on."""
    return recognize(path)[0]


def read(path: str | os.PathLike[str]) -> Graph:
    """The model at `path`, whole, its inputs and outputs as far as they show; `selection.select` narrows it to those wanted.

    No weight byte is read. Ops that nobody knows are kept; values whose type cannot be told are of unknown type.
    """
    kind, file = recognize(path)
    try:
        return _READERS[kind](file)
    except SourceError as error:
        if str(path) not in str(error):
            error.where = f"'{path}'" + (f", {error.where}" if error.where else "")
        raise


_READERS = {"graphdef": read_graphdef}
