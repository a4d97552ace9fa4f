"""Readers: bytes to Graph. What a file is follows from its content, never from its name."""

from __future__ import annotations

import os
from pathlib import Path

from tensorferry.errors import OptionError, SourceError
from tensorferry.ir import Graph
from tensorferry.readers.checkpoint import open_checkpoint
from tensorferry.readers.description import describe_values
from tensorferry.readers.detect import FORMATS, VARIABLES_ONLY, Source, recognize
from tensorferry.readers.graphdef import read_graphdef
from tensorferry.readers.keras import read_keras
from tensorferry.readers.keras.files import WEIGHTS_ALONE, weights_alone
from tensorferry.readers.manifests import read_weights
from tensorferry.readers.npz import read_npz
from tensorferry.readers.savedmodel import read_metagraph, read_savedmodel, signature_names
from tensorferry.readers.tfjs import read_graph_model, read_old_graph_model
from tensorferry.readers.tfjs_layers import read_layers_model
from tensorferry.readers.tflite.reader import read_tflite
from tensorferry.readers.tflite.reader import signature_names as lite_signatures
from tensorferry.readers.variables import NamedValues, Values, restore_variables
from tensorferry.tensor import Tensor

__all__ = ["FORMATS", "VARIABLES_ONLY", "detect", "read", "variables", "wanted_signatures", "why_variables_only"]


def detect(path: str | os.PathLike[str]) -> str:
    """The source's kind, a key of FORMATS. SourceError when it is nothing that can be read, with what it is and the way on."""
    return recognize(path).kind


def read(
    path: str | os.PathLike[str],
    *,
    signature: str | None = None,
    tags: tuple[str, ...] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    architecture: str | os.PathLike[str] | None = None,
    any_signature: bool = False,
    plain_float: bool = False,
) -> Graph:
    """The model at `path`, whole, its inputs and outputs as far as they show; `selection.select` narrows it to those wanted.

    `signature` and `tags` choose one of those that a SavedModel has (`any_signature`: one to look at, where nobody has chosen);
    `checkpoint` is the prefix (or folder) of a checkpoint that holds the graph's variables, or the file with the weights of a Keras
    architecture; `architecture` is the JSON file of one, for a file that holds its weights. `plain_float`: of a quantised
    TensorFlow Lite file the real numbers that its own stand for, nothing rounded to their steps. No weight byte is read. Ops that
    nobody knows are kept; values whose type cannot be told are of unknown type.
    """
    source = recognize(path)
    try:
        if source.kind == "keras":
            return _read_keras(source, signature, tags, checkpoint, architecture)
        if architecture is not None:
            raise OptionError(
                f"'{path}' is a {FORMATS[source.kind]}, which has its own architecture", remedy="leave out --architecture"
            )
        graph = _read(source, signature, tags, any_signature=any_signature, plain=plain_float)
        if checkpoint is not None:
            values = _values(Path(checkpoint))
            restore_variables(graph, values)
            describe_values(graph.facts, values)
        return graph
    except SourceError as error:
        if str(path) not in str(error):
            error.where = f"'{path}'" + (f", {error.where}" if error.where else "")
        raise


def _read_keras(
    source: Source,
    signature: str | None,
    tags: tuple[str, ...] | None,
    weights: str | os.PathLike[str] | None,
    architecture: str | os.PathLike[str] | None,
) -> Graph:
    if signature is not None or tags is not None:
        raise OptionError("a Keras model has neither signatures nor tags", remedy="leave out --signature and --tags")
    return read_keras(source.file, Path(architecture) if architecture else None, Path(weights) if weights else None)


def wanted_signatures(
    path: str | os.PathLike[str], wanted: str | None, tags: tuple[str, ...] | None = None
) -> tuple[str | None, ...]:
    """The signatures that `a,b` or `all` mean, the default one first; (None,) where none is asked for."""
    if wanted is None or not ("," in wanted or wanted == "all"):
        return (wanted,)
    source = recognize(path)
    if source.kind == "tflite":
        names = lite_signatures(source.file)
    elif source.kind in ("savedmodel", "metagraph"):
        names = signature_names(source.file, whole=source.kind == "savedmodel", tags=tags)
    else:
        return (wanted,)
    if wanted in names:
        return (wanted,)
    if wanted == "all":
        return names or (None,)
    return tuple(dict.fromkeys(name.strip() for name in wanted.split(",") if name.strip())) or (None,)


def variables(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Name -> value of what holds variables alone (see VARIABLES_ONLY). SourceError for any other source."""
    source = recognize(path)
    if source.kind == "tfjs-weights":
        return read_weights(source.file)
    if source.kind == "npz":
        return read_npz(source.file)
    if source.kind == "checkpoint":
        values = open_checkpoint(source.file.path)
        return {name: values.tensor(name) for name, (dtype, _shape) in values.describe().items() if dtype.width}
    if source.kind == "keras" and (weights := weights_alone(source.file)) is not None:
        return weights
    raise SourceError(f"'{path}' is a {FORMATS[source.kind]}, not variables alone")


def why_variables_only(path: str | os.PathLike[str], *, architecture: bool = False) -> str | None:
    """How to go on with what holds variables alone; None for what can be read as a graph, such as
    Keras weights with an architecture."""
    source = recognize(path)
    if source.kind == "keras" and not architecture and weights_alone(source.file) is not None:
        return WEIGHTS_ALONE
    return VARIABLES_ONLY.get(source.kind)


def _values(checkpoint: Path) -> Values:
    """The values of variables: of a checkpoint, or of a source that holds nothing else."""
    if checkpoint.is_file() and checkpoint.suffix in (".json", ".npz"):
        return NamedValues(variables(checkpoint))
    return open_checkpoint(checkpoint)


def _read(source: Source, signature: str | None, tags: tuple[str, ...] | None, *, any_signature: bool, plain: bool) -> Graph:
    if source.kind == "savedmodel":
        return read_savedmodel(source.file, tags=tags, signature=signature, any_will_do=any_signature)
    if tags is not None:
        raise OptionError("tags are for SavedModels; this is another kind of source", remedy="leave out --tags")
    if source.kind == "metagraph":
        return read_metagraph(source.file, signature=signature)
    if source.kind == "tflite":
        return read_tflite(source.file, signature=signature, any_will_do=any_signature, plain=plain)
    if source.kind == "tfjs":
        return read_graph_model(source.file)
    if source.kind == "tfjs-layers":
        return read_layers_model(source.file)
    if source.kind == "tfjs0":
        return read_old_graph_model(source.file)
    if source.kind in VARIABLES_ONLY:
        raise SourceError(
            f"'{source.file.path}' holds weights only, not what is computed with them", remedy=VARIABLES_ONLY[source.kind]
        )
    if signature is not None:
        raise OptionError("a plain graph has no signatures", remedy="name its --inputs and --outputs instead of a --signature")
    return read_graphdef(source.file)
