"""Where a zoo model's weights come from: a folder with one raw file per variable, or a seeded generator."""

from __future__ import annotations

import json
import logging
import math
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from tensorferry.download import cache_folder
from tensorferry.errors import FerryError, SourceError
from tensorferry.storage import SourceFile
from tensorferry.tensor import ArrayTensor, DType, FileTensor, Tensor
from tensorferry.zoo.fetching import fetch

log = logging.getLogger(__name__)

POSENET = "posenet075_tfjs_manifest"
"""Folder name of PoseNet's weights among the models."""

POSENET_PUBLIC = "posenet-weights-075"
"""Their name among the public models."""

MODELS_VARIABLE = "TENSORFERRY_MODELS"
MODELS_DEFAULT = "../shared/models"

_MANIFEST_LIMIT = 16 << 20


class Weights(Protocol):
    """Gives the weights of a variable."""

    def tensor(self, name: str, shape: tuple[int, ...]) -> Tensor:
        """The variable's float32 elements in this shape."""


class RandomWeights:
    """Normal with He's deviation (weights) or small (biases); equal seeds and names give equal numbers."""

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def tensor(self, name: str, shape: tuple[int, ...]) -> Tensor:
        random = np.random.default_rng((self.seed, zlib.crc32(name.encode())))
        # Of a depthwise filter (h, w, channels, 1) a result takes h * w numbers in, of any other (h, w, in, out) h * w * in.
        taken = math.prod(shape[:2] if shape[-1] == 1 else shape[:-1])
        deviation = math.sqrt(2 / taken) if len(shape) > 1 else 0.1
        return ArrayTensor((random.standard_normal(shape, np.float32) * np.float32(deviation)).astype(np.float32))


class FolderWeights:
    """A folder with `manifest.json` (variable -> filename and shape) and one raw little-endian float32 file per variable."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self._entries = read_manifest(self.folder / "manifest.json")

    def tensor(self, name: str, shape: tuple[int, ...]) -> Tensor:
        """SourceError when the variable is missing, or not of this shape, or its file not of this size."""
        place = str(self.folder / "manifest.json")
        if name not in self._entries:
            raise SourceError(f"the weights have no variable '{name}'", where=place, remedy="choose the weights of this model")
        filename, stored = self._entries[name]
        if stored != shape:
            raise SourceError(
                f"variable '{name}' has the shape {list(stored)}, the model needs {list(shape)}",
                where=place,
                remedy="choose the width multiplier that the weights were trained for",
            )
        file = SourceFile(self.folder / filename)
        if file.size != math.prod(shape) * 4:
            raise SourceError(
                f"'{file.path}' has {file.size} bytes, {math.prod(shape) * 4} are needed for {list(shape)}",
                remedy="copy or download it again",
            )
        return FileTensor(file, 0, DType.FLOAT32, shape)


def read_manifest(path: Path) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Variable -> (file name, shape). SourceError unless each is a plain name within the folder and a sensible shape."""
    file = SourceFile(path)
    if file.size > _MANIFEST_LIMIT:
        raise SourceError(f"'{path}' is too large for a manifest ({file.size} bytes)")
    try:
        content = json.loads(file.read(0, file.size))
    except (ValueError, RecursionError) as error:
        raise SourceError(f"'{path}' is not JSON", why=str(error), remedy="copy or download it again") from error
    if not isinstance(content, dict):
        raise SourceError(f"'{path}' is not a manifest", why="it is no table of variables")
    return {name: _read_entry(path, name, entry) for name, entry in content.items()}


def _read_entry(path: Path, name: str, entry: Any) -> tuple[str, tuple[int, ...]]:
    filename = entry.get("filename") if isinstance(entry, dict) else None
    shape = entry.get("shape") if isinstance(entry, dict) else None
    if not isinstance(filename, str) or not is_plain_name(filename):
        raise SourceError(f"'{path}' gives no plain file name for '{name}'", why=f"it says {filename!r}")
    if not isinstance(shape, list) or not all(type(size) is int and 0 < size < 1 << 31 for size in shape):
        raise SourceError(f"'{path}' gives no shape for '{name}'", why=f"it says {shape!r}")
    return filename, tuple(shape)


def is_plain_name(name: str) -> bool:
    """A file's name that cannot lead out of its folder, on any system."""
    return bool(name) and name not in (".", "..") and not any(character in "/\\:\0" for character in name)


def find_weights(*, download: bool = True, progress: Callable[[str, int, int | None], None] | None = None) -> Path | None:
    """PoseNet's folder of weights: in $TENSORFERRY_MODELS (default ../shared/models), in the cache, or fetched into it.

    None when it is nowhere and cannot be had; the caller then says that it uses random weights.
    """
    for folder in (Path(os.environ.get(MODELS_VARIABLE) or MODELS_DEFAULT) / POSENET, cache_folder() / "models" / POSENET_PUBLIC):
        if (folder / "manifest.json").is_file():
            return folder
    if not download:
        return None
    try:
        return Path(fetch(POSENET_PUBLIC, tell=progress or (lambda _name, _there, _total: None)).path).parent
    except FerryError as error:
        log.warning("%s", error)
        return None
