"""Weights of TensorFlow.js without a topology: a manifest of groups (face-api), or of a file per variable (deeplearn.js, ml5)."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tensorferry.errors import SourceError
from tensorferry.storage import SourceFile
from tensorferry.tensor import FileTensor, Tensor
from tensorferry.wire.webweights import DTYPES, place_inside, read_manifest, read_shape

_MOST_JSON = 512 << 20


def load_json(file: SourceFile) -> Any:
    """The document. SourceError when it is none, or is larger than any topology."""
    if file.size > _MOST_JSON:
        raise SourceError(f"'{file.path}' is {file.size} bytes long, which no topology is")
    try:
        return json.loads(bytes(file.view))
    except (ValueError, RecursionError) as error:
        raise SourceError(f"'{file.path}' is no JSON that can be read", why=str(error)[:100]) from error


def is_manifest(content: Any) -> bool:
    """Whether it is a list of groups of weights, some with weights."""
    return isinstance(content, list) and bool(content) and all(isinstance(each, Mapping) and "weights" in each for each in content)


def is_list_of_files(content: Any) -> bool:
    """Whether it names a file and a shape for each variable."""
    entries = list(content.values()) if isinstance(content, Mapping) else []
    return bool(entries) and all(isinstance(each, Mapping) and {"filename", "shape"} <= each.keys() for each in entries)


def read_weights(file: SourceFile) -> dict[str, Tensor]:
    """Name -> values, of either form."""
    content = load_json(file)
    if is_list_of_files(content):
        return {str(name): _read_file(str(name), entry, file.path.parent) for name, entry in content.items()}
    return read_manifest(content, file.path.parent)


def _read_file(name: str, entry: Mapping[str, Any], folder: Path) -> Tensor:
    """The values of one variable, float32 unless the entry says otherwise."""
    shape, kind = read_shape(name, entry["shape"]), str(entry.get("dtype", "float32"))
    if kind not in DTYPES:
        raise SourceError(f"variable '{name}' has the unknown type {kind}")
    file = SourceFile(place_inside(folder, entry["filename"]))
    length = math.prod(shape) * DTYPES[kind].numpy.itemsize
    if file.size != length:
        raise SourceError(
            f"'{file.path}' has {file.size} bytes, variable '{name}' of shape {shape} takes {length}",
            remedy="copy or download it again",
        )
    return FileTensor(file, 0, DTYPES[kind], shape)


def is_layers_model(document: Any) -> bool:
    """Whether the topology of a `model.json` is a Keras config: by itself, or as `model_config` among more."""
    topology = document.get("modelTopology") if isinstance(document, Mapping) else None
    return isinstance(topology, Mapping) and ("model_config" in topology or {"class_name", "config"} <= topology.keys())
