"""The files that Keras models come in: HDF5 (whole, or weights alone), zip archives (.keras), and JSON (architecture alone)."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tensorferry.archives.limits import BoundedFile
from tensorferry.errors import OptionError, SourceError
from tensorferry.ir import Graph
from tensorferry.readers.keras.description import KerasModel
from tensorferry.readers.keras.hdf5 import MAGIC, Hdf5
from tensorferry.readers.keras.parsing import parse_model
from tensorferry.readers.keras.slots import Named, assign_assets, assign_filed, assign_listed, check_known
from tensorferry.readers.keras.walking import build_graph
from tensorferry.storage import MemoryFile, SourceFile
from tensorferry.tensor import Tensor
from tensorferry.wire.members import BROKEN, ZIP, place_of_stored, read_member

_CONFIG, _METADATA, _WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
_MOST_CONFIG = 256 << 20
_MOST_WEIGHTS = 4 << 30
_MOST_ASSETS = 256 << 20
WEIGHTS_ALONE = "name the architecture, which model.to_json() gives, with --architecture FILE.json"


@dataclass(frozen=True, slots=True)
class Parts:
    """What a file holds: the config (None: weights alone), the version of Keras, and the weights (None: architecture alone)."""

    config: Any
    version: str
    weights: Hdf5 | None
    assets: Mapping[str, Mapping[str, bytes]] = field(default_factory=dict)
    """Files beside the weights, by the folder of the layer that they belong to."""
    backend: str = ""
    """What Keras computed with when it saved the weights."""


def is_keras(head: bytes, file: SourceFile) -> bool:
    """Whether a file is HDF5, or a zip archive made by Keras; JSON is told by `is_architecture`."""
    return head.startswith(MAGIC) or (head.startswith(ZIP) and _holds_model(file))


def is_architecture(content: Any) -> bool:
    """Whether a JSON document describes a Keras model."""
    return isinstance(content, Mapping) and isinstance(content.get("class_name"), str) and "config" in content


def read_keras(file: SourceFile, architecture: Path | None = None, weights: Path | None = None) -> Graph:
    """The model in a file as a Graph."""
    return build_graph(read_model(file, architecture, weights))


def read_model(file: SourceFile, architecture: Path | None = None, weights: Path | None = None) -> KerasModel:
    """The model in a file, each layer with its weights; `architecture` and `weights` bring what the file itself lacks."""
    parts = _open(file)
    if parts.config is None:
        if architecture is None:
            raise SourceError(f"'{file.path}' holds weights without the model's architecture", remedy=WEIGHTS_ALONE)
        other = _open(SourceFile(architecture))
        parts = replace(other, version=other.version or parts.version, weights=parts.weights, backend=parts.backend)
    elif architecture is not None:
        raise OptionError(f"'{file.path}' has an architecture of its own", remedy="leave out --architecture")
    if parts.weights is None:
        if weights is None:
            raise SourceError(
                f"'{file.path}' is a Keras architecture without weights",
                remedy="name the file that holds them with --checkpoint, or convert that one and name this with --architecture",
            )
        other = _open(SourceFile(weights))
        parts = replace(parts, weights=other.weights, backend=other.backend)
    elif weights is not None:
        raise OptionError(f"'{file.path}' has weights of its own", remedy="leave out --checkpoint")
    if parts.config is None or parts.weights is None:
        raise SourceError("architecture and weights do not lie in the files that were named", remedy=WEIGHTS_ALONE)
    model = parse_model(parts.config, parts.version)
    check_known(model)
    _check_backend(model, parts.backend)
    assign_weights(model, parts.weights)
    assign_assets(model, parts.assets)
    return model


def _check_backend(model: KerasModel, backend: str) -> None:
    turned = [path for path, layer in model.everything() if layer.class_name.startswith("Conv")]
    if backend == "theano" and turned:
        raise SourceError(
            "the weights were saved by Keras on Theano, which keeps the kernels of convolutions turned round",
            where=f"layer '{turned[0]}'",
            remedy="load the model with Keras on TensorFlow, which turns them, and save it again",
        )


def weights_alone(file: SourceFile) -> dict[str, Tensor] | None:
    """Path in the file -> weight, of a file that has no architecture; None for one that has."""
    parts = _open(file)
    if parts.config is not None or parts.weights is None:
        return None
    return parts.weights.everything()


def assign_weights(model: KerasModel, file: Hdf5) -> None:
    """The weights of an HDF5 file, in whichever of Keras' forms it has them."""
    for root in ("model_weights", ""):
        names = file.texts(root, "layer_names")
        if names is not None:
            assign_listed(model, {name: _listed(file, f"{root}/{name}") for name in names})
            return
    folders = next((each for each in ("layers", "_layer_checkpoint_dependencies") if file.group(each) is not None), None)
    if folders is None:
        raise SourceError(f"'{file.file.path}' holds no weights of a Keras model", why=f"it has {', '.join(file.names('')[:5])}")

    def folder(path: str) -> Mapping[str, Tensor] | None:
        if folders != "layers":
            path = re.sub(r"(^|/)layers/", rf"\1{folders}/", path)
        if file.group(f"{path}/vars") is None:
            return None
        return {name: file.tensor(f"{path}/vars/{name}") for name in file.names(f"{path}/vars")}

    assign_filed(model, folder)


def _listed(file: Hdf5, group: str) -> list[Named]:
    names = file.texts(group, "weight_names") or []
    return [(name, file.tensor(f"{group}/{name}")) for name in names]


# -- containers ----------------------------------------------------------------------------------------------------


def _open(file: SourceFile) -> Parts:
    head = bytes(file.view[: len(MAGIC)])
    if head.startswith(MAGIC):
        return _from_hdf5(Hdf5(file))
    if head.startswith(ZIP):
        return _from_zip(file)
    return Parts(_parse_json(bytes(file.view[:_MOST_CONFIG]), file.path), "", None)


def _from_hdf5(file: Hdf5) -> Parts:
    config, version = file.attribute("", "model_config"), file.attribute("", "keras_version")
    if version is None and file.group("model_weights") is not None:
        version = file.attribute("model_weights", "keras_version")
    if config is not None and not isinstance(config, str):
        raise SourceError(f"the model_config of '{file.file.path}' is no text")
    backend = next((said for group in ("", "model_weights") if (said := file.attribute(group, "backend"))), "")
    document = None if config is None else _parse_json(config.encode(), file.file.path)
    return Parts(document, str(version or ""), file, backend=str(backend))


def _parse_json(text: bytes, path: Path) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SourceError(f"the architecture in '{path}' is no JSON that can be read", why=str(error)[:100]) from error


def _holds_model(file: SourceFile) -> bool:
    try:
        with BoundedFile(file.path) as opened, zipfile.ZipFile(opened) as archive:
            names = set(archive.namelist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, SourceError):
        return False
    return _CONFIG in names and (_WEIGHTS in names or _METADATA in names)


def _from_zip(file: SourceFile) -> Parts:
    try:
        with BoundedFile(file.path) as opened, zipfile.ZipFile(opened) as archive:
            config = _parse_json(read_member(archive, file, archive.getinfo(_CONFIG), _MOST_CONFIG), file.path)
            metadata: Any = {}
            if _METADATA in archive.namelist():
                metadata = _parse_json(read_member(archive, file, archive.getinfo(_METADATA), _MOST_CONFIG), file.path)
            version = str(metadata.get("keras_version", "")) if isinstance(metadata, Mapping) else ""
            return Parts(config, version, _weights_of(archive, file), _assets_of(archive, file))
    except BROKEN as error:
        raise SourceError(
            f"the archive '{file.path}' cannot be read", why=str(error)[:120], remedy="copy or download it again"
        ) from error


def _weights_of(archive: zipfile.ZipFile, file: SourceFile) -> Hdf5 | None:
    if _WEIGHTS not in archive.namelist():
        return None
    info = archive.getinfo(_WEIGHTS)
    if info.compress_type == zipfile.ZIP_STORED:
        return Hdf5(file, place_of_stored(file, info), info.file_size)
    return Hdf5(MemoryFile(file.path, read_member(archive, file, info, _MOST_WEIGHTS)))


def _assets_of(archive: zipfile.ZipFile, file: SourceFile) -> dict[str, dict[str, bytes]]:
    """Vocabularies, which lie below `assets/` in the folders of their layers."""
    found: dict[str, dict[str, bytes]] = {}
    total = 0
    for info in archive.infolist():
        _top, _, path = info.filename.partition("assets/")
        folder, _, name = path.rpartition("/")
        if _top or not name.endswith(".txt"):
            continue
        total += info.file_size
        if total > _MOST_ASSETS:
            raise SourceError(f"the assets in the archive '{file.path}' hold more than {_MOST_ASSETS >> 20} MiB")
        found.setdefault(folder, {})[name] = read_member(archive, file, info, _MOST_ASSETS)
    return found
