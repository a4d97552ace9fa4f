"""What a source is, told from its content; and for what cannot be read, what it is instead and how to go on."""

from __future__ import annotations

import codecs
import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from tensorferry.errors import SourceError
from tensorferry.readers.checkpoint import LISTING, find_prefix, has_checkpoint, is_part, main_file
from tensorferry.readers.keras.files import is_architecture, is_keras
from tensorferry.readers.manifests import is_layers_model, is_list_of_files, is_manifest
from tensorferry.readers.npz import is_npz
from tensorferry.storage import MemoryFile, SourceFile
from tensorferry.wire.named import encode
from tensorferry.wire.protobuf import DELIMITED, VARINT, Field, Span, fields, whole
from tensorferry.wire.tensorflow import GraphDef
from tensorferry.wire.textform import parse

FORMATS = {
    "graphdef": "TensorFlow GraphDef",
    "savedmodel": "TensorFlow SavedModel",
    "metagraph": "TensorFlow MetaGraph with its checkpoint",
    "tfjs": "TensorFlow.js graph model",
    "tfjs0": "TensorFlow.js 0.x graph model",
    "tfjs-layers": "TensorFlow.js layers-model",
    "tfjs-weights": "TensorFlow.js weights without a topology",
    "checkpoint": "TensorFlow checkpoint",
    "tflite": "TensorFlow Lite model",
    "keras": "Keras model",
    "npz": "NumPy archive of arrays",
}
"""Kinds of sources that can be read, with the name a person knows them by."""

VARIABLES_ONLY = {
    "tfjs-weights": (
        "give the graph they belong to and name them with --checkpoint, write them as .npz, or build PoseNet of them with "
        "'tensorferry zoo'"
    ),
    "npz": "give the graph they belong to and name them with --checkpoint",
    "checkpoint": (
        "name the graph (.pb, or the checkpoint's .meta) and give the checkpoint with --checkpoint, or write them as .npz"
    ),
}
"""Kinds that hold values of variables without a structure, with the way on."""

OLD_TFJS = "tensorflowjs_model.pb"
"""The topology of TensorFlow.js 0.x; its constants have no values."""

MANIFEST = "weights_manifest.json"

_HEAD = 4096
_MOST_TEXT = 512 << 20
_LITE_MAGIC = b"TFL3"
"""Behind the four bytes of the first offset."""

_NAME = re.compile(r"[\w.>/-]+")
_GRAPH_KEYS = (
    GraphDef.NODE << 3 | DELIMITED,
    GraphDef.LIBRARY << 3 | DELIMITED,
    GraphDef.VERSION << 3,
    GraphDef.VERSIONS << 3 | DELIMITED,
)
_GRAPH_TEXT = re.compile(rb"(\s|#[^\n]*\n)*(node|versions|library|meta_graphs|saved_model_schema_version|graph_def)\s*[:{]")


@dataclass(frozen=True, slots=True)
class Foreign:
    """Something recognisable that is not readable: `what` it is and `remedy`, how to go on."""

    what: str
    remedy: str
    matches: Callable[[bytes, SourceFile], bool]


def _starts(*prefixes: bytes) -> Callable[[bytes, SourceFile], bool]:
    return lambda head, _file: head.startswith(prefixes)


def _is_html(head: bytes, _file: SourceFile) -> bool:
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    return text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head", b"<body", b"<!--"))


_DOWNLOAD = "download the file itself: on GitHub use its 'raw' address, on a drive its direct link"
_FOREIGN = (
    Foreign("an HTML page, probably an error or a preview page saved in place of the model", _DOWNLOAD, _is_html),
    Foreign(
        "a Git LFS pointer, not the file it points to",
        "run 'git lfs pull' in the repository it came from",
        _starts(b"version https://git-lfs"),
    ),
    Foreign(
        "a zip archive",
        "unpack it and name the model inside; an archive within an archive is opened, none within that",
        _starts(b"PK\x03\x04", b"PK\x05\x06"),
    ),
    Foreign("a gzip archive", "unpack it (gunzip, or tar xzf) and name the model inside", _starts(b"\x1f\x8b")),
    Foreign("a tar archive", "unpack it and name the model inside", lambda head, _file: head[257:262] == b"ustar"),
)


def is_model(path: Path) -> bool:
    """Whether a file among others is one: raw weights may begin like a graph, so of a graph more is asked here."""
    source = recognize(path)
    if source.kind != "graphdef" or isinstance(source.file, MemoryFile) or path.suffix in (".pb", ".graphdef"):
        return source.file.path == path  # else the manifest beside it
    return _holds_nodes(whole(source.file.view))


_OWN: tuple[tuple[str, Callable[[bytes, SourceFile], bool]], ...] = (
    ("tflite", lambda head, _file: head[4:8] == _LITE_MAGIC),
    ("keras", is_keras),
    ("npz", is_npz),
)
"""Kinds that tell themselves by their first bytes."""


@dataclass(frozen=True, slots=True)
class Source:
    """Something that can be read: its kind and its open file; of a SavedModel that is `saved_model.pb`."""

    kind: str
    file: SourceFile


def recognize(path: str | os.PathLike[str]) -> Source:
    """A source that can be read. SourceError names what anything else is."""
    place = Path(path)
    if place.is_dir():
        return _recognize_folder(place)
    if not place.exists() and place.name and has_checkpoint(place):
        return _recognize_checkpoint(place)
    file = SourceFile(place)
    if not file.size:
        raise SourceError(f"'{place}' is empty", remedy="copy or download it again")
    head = bytes(file.view[:_HEAD])
    for kind, matches in _OWN:
        if matches(head, file):
            return Source(kind, file)
    for foreign in _FOREIGN:
        if foreign.matches(head, file):
            raise _not_a_graph(place, foreign.what, foreign.remedy)
    if is_part(place, head):
        return _recognize_checkpoint(place)
    if _GRAPH_TEXT.match(head):
        return _recognize_text_form(file)
    if _is_text(head):
        if head.lstrip()[:1] in (b"{", b"["):
            return _recognize_json(place, file)
        raise _not_a_graph(place, "text", "name the model's own file")
    kind = _kind_of_message(place, whole(file.view))
    if kind == "graphdef" and place.name == OLD_TFJS and place.with_name(MANIFEST).is_file():
        kind = "tfjs0"
    return Source(kind, file)


def _recognize_checkpoint(path: Path) -> Source:
    """From its prefix, its folder or a part of it: the graph that was saved with it, if it is there, else the values alone."""
    prefix = find_prefix(path)
    meta = prefix.with_name(f"{prefix.name}.meta")
    if not meta.is_file():
        return Source("checkpoint", SourceFile(main_file(prefix)))
    if is_part(meta, bytes(SourceFile(meta).view[:_HEAD])):
        raise _not_a_graph(meta, "a table of a checkpoint under the name of its graph", "copy the .meta file anew, or take it away")
    return recognize(meta)


def _recognize_text_form(file: SourceFile) -> Source:
    """A graph written as text is read as the bytes it stands for."""
    if file.size > _MOST_TEXT:
        raise _not_a_graph(file.path, f"text of {file.size} bytes", "write it in binary form, which is a fraction of that")
    try:
        data = parse(bytes(file.view).decode("utf-8"))
    except UnicodeDecodeError as error:
        raise _not_a_graph(file.path, "a graph in text form with bytes that are no text", "write it anew") from error
    kind, message = ("graphdef", "GraphDef")
    if "meta_graphs" in data or "saved_model_schema_version" in data:
        kind, message = ("savedmodel", "SavedModel")
    elif "graph_def" in data or "meta_info_def" in data:
        kind, message = ("metagraph", "MetaGraphDef")
    encoded = b"".join(bytes(chunk) for chunk in encode(message, data).chunks())
    return Source(kind, MemoryFile(file.path, encoded))


def _not_a_graph(path: Path, what: str, remedy: str) -> SourceError:
    return SourceError(f"'{path}' is {what}, not a model that can be read", remedy=remedy)


def _is_text(head: bytes) -> bool:
    """UTF-8 without control characters, as no message of more than a few bytes is."""
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)  # the head may end within a character
    except UnicodeDecodeError:
        return False
    return len(text) > 8 and all(character.isprintable() or character in "\t\r\n\f\ufeff" for character in text)


def _recognize_folder(path: Path) -> Source:
    for name in ("saved_model.pb", "saved_model.pbtxt", "model.json", OLD_TFJS):
        if (path / name).is_file():
            return recognize(path / name)
    if (path / LISTING).is_file() or any(path.glob("*.index")):
        return _recognize_checkpoint(path)
    manifests = [*path.glob("manifest.json"), *path.glob(f"*{MANIFEST}")]
    if len(manifests) == 1:
        return recognize(manifests[0])
    raise _about_folder(path)


def _about_folder(path: Path) -> SourceError:
    below = sorted(each.parent.name for each in path.glob("*/saved_model.pb"))
    if below:
        remedy = f"name the folder inside it that is one: {', '.join(below[:5])}"
        return _not_a_graph(path, "a folder of SavedModels", remedy)
    models = sorted(each.name for each in path.glob("*.pb"))[:5]
    return _not_a_graph(path, "a folder", f"name the file inside it: {', '.join(models)}" if models else "name a file")


def _recognize_json(path: Path, file: SourceFile) -> Source:
    try:
        content = json.loads(bytes(file.view)) if file.size < _MOST_TEXT else None
    except (ValueError, RecursionError):
        raise _not_a_graph(path, "JSON-like text", "name the model's own file") from None
    if isinstance(content, dict) and "modelTopology" in content:
        return Source("tfjs-layers" if is_layers_model(content) else "tfjs", file)
    if is_architecture(content):
        return Source("keras", file)
    if isinstance(content, list) and path.with_name(OLD_TFJS).is_file():
        return Source("tfjs0", SourceFile(path.with_name(OLD_TFJS)))
    if is_manifest(content) or is_list_of_files(content):
        return Source("tfjs-weights", file)
    raise _not_a_graph(path, "a JSON file", "name the model's own file")


def _kind_of_message(path: Path, message: Span) -> str:
    """Tell GraphDefs, SavedModels and MetaGraphs from each other and from other protocol buffers, by their first fields.

    Only what is surely something else is refused here; of a broken GraphDef the reader says where it breaks.
    """
    found: dict[int, Field] = {}
    try:
        for field in fields(message):
            found.setdefault(field.tag, field)
            if len(found) > 8 or (field.tag == 1 and field.wire == DELIMITED and _is_node(field.span)):
                break
    except SourceError:
        pass  # judged by what was legible
    first, second = found.get(1), found.get(2)
    if first is not None and first.wire == VARINT:
        if any(found[tag].wire == DELIMITED for tag in (7, 8) if tag in found):
            raise _not_a_graph(path, "an ONNX model", "start from the TensorFlow model it was made of")
        if second is not None and second.wire == DELIMITED:
            return "savedmodel"
    if second is not None and second.wire == DELIMITED and _holds_nodes(second.span):
        return "metagraph"
    if message.data[0] not in _GRAPH_KEYS:
        raise _not_a_graph(path, "of no known kind", "check that it is a graph in binary form (.pb)")
    return "graphdef"


def _holds_nodes(message: Span) -> bool:
    try:
        first = next(fields(message), None)
    except SourceError:
        return False
    return first is not None and first.tag == 1 and first.wire == DELIMITED and _is_node(first.span)


def _is_node(message: Span) -> bool:
    """Whether these bytes are a NodeDef as far as the first fields tell: a name and an op, both text."""
    try:
        name, op = islice(fields(message), 2)
        texts = [field.delimited().text for field in (name, op)]
    except (SourceError, ValueError):
        return False
    return (name.tag, op.tag) == (1, 2) and all(_NAME.fullmatch(text) for text in texts)
