"""What people say of a model, as TensorFlow Lite Model Metadata: MediaPipe, ML Kit and Android Studio feed and read a model by it.

The tables go into a buffer of the file; the files that they name, such as the labels, follow behind the model as a zip archive,
stored uncompressed, as the official tools leave it.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tensorferry.errors import OptionError
from tensorferry.program import Program, ProgramTensor
from tensorferry.tensor import DType
from tensorferry.wire import tflite_metadata
from tensorferry.wire.flatbuffer import TableBuilder

MOST_LABELS = 16 << 20
"""Bytes of a file of labels."""

_COLOURS = {1: "GRAYSCALE", 3: "RGB"}
_BRIGHTEST = 255.0


@dataclass(frozen=True, slots=True)
class Labels:
    """A file of labels: what it is called in the model, and a label for each line."""

    name: str
    lines: tuple[str, ...]

    @property
    def content(self) -> bytes:
        return "".join(f"{line}\n" for line in self.lines).encode()


def read_labels(path: str | os.PathLike[str]) -> Labels:
    """One label a line, as UTF-8; blank lines at the end do not count. OptionError for anything else."""
    file = Path(path)
    if not file.is_file():
        raise OptionError(f"the file of labels '{file}' does not exist", remedy="give a text file with one label a line")
    if file.stat().st_size > MOST_LABELS:
        raise OptionError(f"the file of labels '{file}' is larger than {MOST_LABELS >> 20} MiB")
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise OptionError(f"the file of labels '{file}' is no text", why=f"byte {error.start} is no UTF-8") from error
    lines = [line.strip() for line in text.replace("\r\n", "\n").replace("\r", "\n").rstrip().split("\n")]
    for number, line in enumerate(lines, 1):
        if not line or not line.isprintable():
            what = "is empty" if not line else "holds what cannot be printed"
            raise OptionError(f"line {number} of the file of labels '{file}' {what}", remedy="give one label a line")
    return Labels(file.name if file.name.isprintable() else "labels.txt", tuple(lines))


@dataclass(frozen=True, slots=True)
class Card:
    """What is said of a model. An input is made of pixels (0 to 255) by (pixel - mean) / std, one value or one for each channel.

    `labels`: name of an output -> its classes; "" stands for the output with as many.
    """

    name: str = ""
    description: str = ""
    version: str = ""
    author: str = ""
    license: str = ""
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    labels: Mapping[str, Labels] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return any((self.name, self.description, self.version, self.author, self.license, self.mean, self.std, self.labels))


@dataclass(frozen=True, slots=True)
class Described:
    """The metadata buffer of a model, and the files to append to it."""

    metadata: bytes
    files: Mapping[str, bytes]
    notices: tuple[str, ...] = ()


def describe_program(program: Program, card: Card) -> Described:
    """The metadata of a program's first subgraph. OptionError for labels and normalisations that do not fit its tensors."""
    entry, main = program.entries[0], program.subgraphs[0]
    inputs = dict(zip(entry.input_names, (main.tensors[number] for number in main.inputs), strict=True))
    outputs = dict(zip(entry.output_names, (main.tensors[number] for number in main.outputs), strict=True))
    labelled = _place_labels(card.labels, outputs)
    normalised = _place_normalisation(card, inputs)
    subgraph = {
        "input_tensor_metadata": [_describe_input(name, tensor, card, name in normalised) for name, tensor in inputs.items()],
        "output_tensor_metadata": [_describe_output(name, labelled.get(name)) for name in outputs],
    }
    texts = {key: getattr(card, key) or None for key in ("name", "description", "version", "author", "license")}
    builder = TableBuilder(tflite_metadata.schema())
    root = builder.build(
        "ModelMetadata", texts | {"subgraph_metadata": [subgraph], "min_parser_version": tflite_metadata.OLDEST_PARSER}
    )
    files = {labels.name: labels.content for labels in labelled.values()}
    notices = _tell_obstacles(inputs, outputs, labelled, normalised)
    return Described(bytes(builder.finish(root, tflite_metadata.IDENTIFIER)), files, tuple(notices))


def append_files(path: Path, files: Mapping[str, bytes]) -> int:
    """Put files behind a model, and return how many bytes that took. The same files give the same bytes."""
    before = path.stat().st_size
    if files:
        with zipfile.ZipFile(path, "a", zipfile.ZIP_STORED) as archive:
            for name, content in files.items():
                archive.writestr(zipfile.ZipInfo(name), content)  # dated 1980, the archive's own zero
    return path.stat().st_size - before


# -- inputs --------------------------------------------------------------------------------------------------------


def _is_image(tensor: ProgramTensor) -> bool:
    shape = tensor.shape
    return shape is not None and len(shape) == 4 and shape[3] in _COLOURS and tensor.dtype in _PIXELS


_PIXELS = (DType.FLOAT32, DType.FLOAT16, DType.UINT8, DType.INT8)


def _place_normalisation(card: Card, inputs: Mapping[str, ProgramTensor]) -> frozenset[str]:
    """Names of the inputs that mean and std are for: the images, else the only input."""
    if not (card.mean or card.std):
        return frozenset()
    chosen = {name: tensor for name, tensor in inputs.items() if _is_image(tensor)} or (inputs if len(inputs) == 1 else {})
    if not chosen:
        raise OptionError(
            "mean and std belong to no input", why=f"none of {', '.join(inputs)} is an image, [batch, height, width, 3 or 1]"
        )
    for role, values in (("mean", card.mean), ("std", card.std)):
        for name, tensor in chosen.items():
            channels = tensor.shape[-1] if tensor.shape else None
            if len(values) > 1 and len(values) != channels:
                what = f"{channels} channels" if isinstance(channels, int) else "an unknown number of channels"
                raise OptionError(
                    f"{role} has {len(values)} values, input '{name}' has {what}", remedy="give one value, or one each"
                )
    return frozenset(chosen)


def _describe_input(name: str, tensor: ProgramTensor, card: Card, normalised: bool) -> dict[str, Any]:
    described: dict[str, Any] = {"name": name, "content": {"content_properties": ("FeatureProperties", {})}}
    if _is_image(tensor):
        assert tensor.shape is not None
        described["description"] = "Image"
        described["content"] = {"content_properties": ("ImageProperties", {"color_space": _COLOURS[int(tensor.shape[3])]})}
    if normalised:
        mean, std = card.mean or (0.0,), card.std or (1.0,)
        described["process_units"] = [{"options": ("NormalizationOptions", {"mean": mean, "std": std})}]
        described["stats"] = _reach(mean, std)
    return described


def _reach(mean: Sequence[float], std: Sequence[float]) -> dict[str, list[float]]:
    """What black and white become."""
    count = max(len(mean), len(std))
    means, stds = ([*values] * (count if len(values) == 1 else 1) for values in (mean, std))
    ends = [sorted(((0 - m) / s, (_BRIGHTEST - m) / s)) for m, s in zip(means, stds, strict=True)]
    return {"min": [low for low, _ in ends], "max": [high for _, high in ends]}


# -- outputs -------------------------------------------------------------------------------------------------------


def _classes(tensor: ProgramTensor) -> int | None:
    """How many numbers an output gives for one input: classes lie along its last axis, all others hold one."""
    shape = tensor.shape
    if not shape or not isinstance(shape[-1], int) or any(size != 1 for size in shape[1:-1]):
        return None
    return shape[-1]


def _place_labels(labels: Mapping[str, Labels], outputs: Mapping[str, ProgramTensor]) -> dict[str, Labels]:
    """Name of an output -> its labels, under names that no two share."""
    placed: dict[str, Labels] = {}
    for wanted, each in labels.items():
        name = wanted or _find_output(each, outputs)
        if name not in outputs:
            raise OptionError(f"there is no output '{name}' to label", why=f"outputs are {', '.join(outputs)}")
        if name in placed:
            raise OptionError(f"output '{name}' gets two files of labels")
        count = _classes(outputs[name])
        if count != len(each.lines):
            gives = f"{count} numbers" if count is not None else f"the shape {list(outputs[name].shape or ())}"
            raise OptionError(f"'{each.name}' holds {len(each.lines)} labels, output '{name}' gives {gives}", remedy=_COUNT)
        placed[name] = each
    names = [each.name for each in placed.values()]
    return {
        output: each if names.count(each.name) == 1 else Labels(f"{_file_name(output)}_{each.name}", each.lines)
        for output, each in placed.items()
    }


_COUNT = "one label a line, one line a class; some nets have a class 'background' before all others"


def _find_output(labels: Labels, outputs: Mapping[str, ProgramTensor]) -> str:
    fitting = [name for name, tensor in outputs.items() if _classes(tensor) == len(labels.lines)]
    if len(fitting) == 1:
        return fitting[0]
    sizes = ", ".join(
        f"{name} [{', '.join(str(size) if isinstance(size, int) else '?' for size in tensor.shape or ())}]"
        for name, tensor in outputs.items()
    )
    if fitting:
        raise OptionError(
            f"{len(fitting)} outputs give {len(labels.lines)} numbers: {', '.join(fitting)}",
            remedy="say which: --labels OUTPUT=FILE",
        )
    raise OptionError(
        f"'{labels.name}' holds {len(labels.lines)} labels, and no output gives as many numbers",
        why=f"outputs: {sizes}",
        remedy=_COUNT,
    )


def _file_name(output: str) -> str:
    return "".join(each if each.isalnum() or each in "-_." else "_" for each in output)


def _describe_output(name: str, labels: Labels | None) -> dict[str, Any]:
    described: dict[str, Any] = {"name": name, "content": {"content_properties": ("FeatureProperties", {})}}
    if labels is not None:
        about = {"name": labels.name, "description": "Labels of the classes, in their order", "type": "TENSOR_AXIS_LABELS"}
        described["associated_files"] = [about]
    return described


# -- what MediaPipe and ML Kit want --------------------------------------------------------------------------------


def _tell_obstacles(
    inputs: Mapping[str, ProgramTensor],
    outputs: Mapping[str, ProgramTensor],
    labelled: Mapping[str, Labels],
    normalised: frozenset[str],
) -> list[str]:
    """Why the image classifiers of MediaPipe and ML Kit would not take a model with labels: their documents name what they want."""
    if not labelled:
        return []
    found = []
    if len(inputs) != 1:
        found.append(f"they take one input, this model has {len(inputs)}")
    for name, tensor in inputs.items():
        shape = tensor.shape or ()
        if not _is_image(tensor) or shape[3] != 3:
            found.append(f"input '{name}' is no RGB image, [1, height, width, 3]")
        elif shape[0] != 1 or not all(isinstance(size, int) for size in shape):
            found.append(f"input '{name}' has open sizes or a batch (--fixed, --shape)")
        elif tensor.dtype not in (DType.FLOAT32, DType.UINT8):
            found.append(f"input '{name}' is {tensor.dtype}, they take float32 or uint8 (--io-dtype)")
        elif tensor.dtype is DType.FLOAT32 and name not in normalised:
            found.append(f"input '{name}' is float32, so they must be told --mean and --std")
    found += [
        f"output '{name}' is {outputs[name].dtype}" for name in labelled if outputs[name].dtype not in (DType.FLOAT32, DType.UINT8)
    ]
    return [f"image classifiers of MediaPipe and ML Kit will not take it: {'; '.join(found)}"] if found else []
