"""Readers: bytes to Graph. What a file is follows from its content, never from its name."""

from __future__ import annotations

import os
from pathlib import Path

from tensorferry.errors import OptionError, SourceError
from tensorferry.ir import Graph
from tensorferry.readers.checkpoint import find_prefix
from tensorferry.readers.detect import FORMATS, Source, recognize
from tensorferry.readers.graphdef import read_graphdef
from tensorferry.readers.savedmodel import read_metagraph, read_savedmodel
from tensorferry.readers.tfjs import read_graph_model, read_old_graph_model
from tensorferry.readers.variables import restore_variables
from tensorferry.wire.bundle import Bundle

__all__ = ["FORMATS", "detect", "read"]


def detect(path: str | os.PathLike[str]) -> str:
    """The source's kind, a key of FORMATS. SourceError when it is nothing that can be read, with what it is and the way on."""
    return recognize(path).kind


def read(
    path: str | os.PathLike[str],
    *,
    signature: str | None = None,
    tags: tuple[str, ...] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
) -> Graph:
    """The model at `path`, whole, its inputs and outputs as far as they show; `selection.select` narrows it to those wanted.

    `signature` and `tags` choose one of those that a SavedModel has; `checkpoint` is the prefix (or folder) of a checkpoint that
    holds the graph's variables. No weight byte is read. Ops that nobody knows are kept; values whose type cannot be told are of
    unknown type.
    """
    source = recognize(path)
    try:
        graph = _read(source, signature, tags)
        if checkpoint is not None:
            restore_variables(graph, Bundle(find_prefix(Path(checkpoint))))
        return graph
    except SourceError as error:
        if str(path) not in str(error):
            error.where = f"'{path}'" + (f", {error.where}" if error.where else "")
        raise


def _read(source: Source, signature: str | None, tags: tuple[str, ...] | None) -> Graph:
    if source.kind == "savedmodel":
        return read_savedmodel(source.file, tags=tags, signature=signature)
    if tags is not None:
        raise OptionError("tags are for SavedModels; this is another kind of source", remedy="leave out --tags")
    if source.kind == "metagraph":
        return read_metagraph(source.file, signature=signature)
    if source.kind == "tfjs":
        return read_graph_model(source.file)
    if source.kind == "tfjs0":
        return read_old_graph_model(source.file)
    if signature is not None:
        raise OptionError("a plain graph has no signatures", remedy="name its --inputs and --outputs instead of a --signature")
    return read_graphdef(source.file)
