"""What a user may ask of a conversion, as one record that checks itself."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tensorferry.errors import OptionError, nearest

Kind = str
"""A kind of target: a key of TARGETS."""


@dataclass(frozen=True, slots=True)
class TargetKind:
    """One kind of target: what people call it, the suffixes that tell it, and what a name of it stands for.

    A `prefix` stands for several files whose names begin with it.
    """

    title: str
    suffixes: tuple[str, ...] = ()
    form: Literal["file", "folder", "prefix"] = "file"


TARGETS: Mapping[Kind, TargetKind] = {
    "tflite": TargetKind("TensorFlow Lite", (".tflite",)),
    "tfjs": TargetKind("TensorFlow.js", form="folder"),
    "tfjs-layers": TargetKind("TensorFlow.js layers-model", form="folder"),
    "graphdef": TargetKind("frozen GraphDef", (".pb",)),
    "graphdef-text": TargetKind("frozen GraphDef as text", (".pbtxt",)),
    "savedmodel": TargetKind("SavedModel", form="folder"),
    "checkpoint": TargetKind("TensorFlow checkpoint", (".ckpt",), form="prefix"),
    "npz": TargetKind("NumPy archive of the weights", (".npz",)),
}
"""Everything that `convert` can write. A folder's name tells nothing: without `--to` it is TensorFlow.js."""

KINDS = ("tflite", "tfjs")
"""The targets with an instruction set of their own, which may lack an op; all others are TensorFlow's own formats."""

CONTROL_FLOW = ("v1", "v2")

QUANTISATIONS: Mapping[Kind, tuple[str, ...]] = {
    "tflite": ("dynamic", "float16", "int8", "int16x8", "weights4"),
    "tfjs": ("uint8", "uint8-channels", "uint16", "float16"),
    "tfjs-layers": ("uint8", "uint16", "float16"),
}
"""How each kind of target can be quantised."""

CALIBRATED = ("int8", "int16x8", "dynamic", "weights4")
"""Ways that samples are of use for: ranges of what is computed, and weights that are rounded as the samples ask for."""

SPARED = ("float", "int16")
"""What becomes of operators that a budget spares."""

IO_DTYPES = ("float32", "int8", "uint8", "int16")

REFERENCES = ("numpy", "tensorflow")

MAX_SIZE = 2**31 - 1
"""The largest size of an axis that either target can say."""

DEFAULT_TOLERANCE = 1e-4
"""Largest accepted error of a float output, relative to the largest reference value of that output."""

DEFAULT_SHARD_SIZE = 4 << 20
MOST_METADATA = 64 << 20
MOST_TEXT = 1 << 16
DEFAULT_VERIFY_MEMORY = 4 << 30
DEFAULT_MAX_DOWNLOAD = 4 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Everything a conversion can be told.

    `to`: the kind of all targets, or one for each in their order; None lets their names tell.
    `inputs`, `outputs`: node or tensor names (`image` or `image:0`), in the order wanted; None lets them be found.
    `input_shapes`: input name -> shape, where -1 leaves a size open. `shard_size`: bytes a TensorFlow.js shard, 0 for one shard.
    `signature`, `tags`: which of a SavedModel's is meant; `checkpoint`: prefix, file or folder of a graph's variables;
    `architecture`: a Keras model's JSON, for a file that holds its weights alone.
    `inside`: path of the model in an archive that holds several. `sha256`: of the source's own file; `max_download`: most bytes
    of a source that is an address.
    `allow_custom` passes ops that a target lacks on under their names, `allow_select` makes them TensorFlow Lite's Select (Flex)
    operators: neither runs in a plain runtime. `fixed` gives every open batch the size 1, and wants all other sizes known.
    `state_as_io` makes variables that a run assigns inputs and outputs in TensorFlow Lite too, as they are in TensorFlow.js.
    `rename`: input, output or signature -> its name in the result. `metadata`: key -> file whose content goes into the result.
    `keep_names` tells which of the source's nodes have no tensor of their name in it. `strip_debug` takes out what watches over
    values (Print, CheckNumerics). `plain_float` leaves out the rounding of models that
    are quantised or were trained to be: of a quantised TensorFlow Lite file what is left are floats, its inputs and outputs too.
    `control_flow`: the form of loops and choices in TensorFlow.js and frozen graphs,
    functional (v2) or TensorFlow 1's (v1).
    `labels`: name of an output -> file of its classes, one a line; "" stands for the output with as many. `mean`, `std`: an
    input is made of pixels from 0 to 255 by (pixel - mean) / std, one value or one a channel. These and `model_name`,
    `description`, `version_name`, `author`, `license` become the metadata of a TensorFlow Lite file.
    `quantize`: how, in words of QUANTISATIONS; of several each kind of target takes its own. `uint8=PATTERN` (of TensorFlow.js)
    is for the weights whose names fit. `io_dtype`: type of the inputs and outputs of a TensorFlow Lite file that computes with
    whole numbers. `keep_float`: names of tensors or operators, with `*` and
    `?`, that stay float. `calibrate`: where samples are that show the ranges of what is computed (a folder of pictures, .npy,
    .npz, .csv), or an iterable or a function that gives them; `calibration_samples` of them at most. Ranges are made by
    `calibration_method`, `percentile` for the one of that name. `picture_fit`, `colour_order`: how pictures become inputs.
    `corrections`: which of the weights' corrections that follow samples are made; None: all. `plan`: a plan to be followed;
    `plan_out`: where to write the plan. `per_tensor`: one scale for the weights of a dense layer, for runtimes from before 2.17.
    `max_error`: as many operators stay float as it takes to keep the outputs this near to the float model's on the samples;
    `metric` measures it (two lists of outputs by name, a sample each -> a number; else the relative error of the worst output).
    `spare_as`: what becomes of them, float or, in a file of int8, int16: then all stays whole numbers.
    `max_drift`: the same for a PoseNet, in pixels of its input within which 95 of 100 key points stay.
    `max_size`: bytes of the file, within which as much stays float as is worth most.
    `tolerance`: accepted error relative to the largest reference value; None: 1e-4, and of quantised targets what the way of
    quantising can be expected to cost. `verify_memory`: bytes; a model whose verification is
    expected to need more is converted unverified, with a notice.
    """

    inputs: tuple[str, ...] | None = None
    outputs: tuple[str, ...] | None = None
    to: tuple[Kind, ...] | None = None
    input_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    shard_size: int = DEFAULT_SHARD_SIZE
    verify: bool = True
    verify_inputs: Path | None = None
    verify_memory: int = DEFAULT_VERIFY_MEMORY
    reference: str = "numpy"
    tolerance: float = DEFAULT_TOLERANCE
    tolerance_given: bool = False
    seed: int = 0
    signature: str | None = None
    tags: tuple[str, ...] | None = None
    checkpoint: Path | None = None
    architecture: Path | None = None
    inside: str | None = None
    sha256: str | None = None
    max_download: int = DEFAULT_MAX_DOWNLOAD
    allow_custom: bool = False
    allow_select: bool = False
    fixed: bool = False
    state_as_io: bool = False
    rename: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, Path] = field(default_factory=dict)
    keep_names: bool = False
    strip_debug: bool = True
    plain_float: bool = False
    control_flow: str = "v2"
    labels: Mapping[str, Path] = field(default_factory=dict)
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    model_name: str = ""
    description: str = ""
    version_name: str = ""
    author: str = ""
    license: str = ""
    quantize: tuple[str, ...] | None = None
    plan: Path | None = None
    plan_out: Path | None = None
    corrections: tuple[str, ...] | None = None
    calibrate: Any = None
    calibration_samples: int | None = None
    calibration_method: str = "minmax"
    percentile: float = 99.99
    picture_fit: str = "stretch"
    colour_order: str = "rgb"
    io_dtype: str = "float32"
    keep_float: tuple[str, ...] = ()
    per_tensor: bool = False
    max_error: float | None = None
    max_size: int | None = None
    max_drift: float | None = None
    spare_as: str = "float"
    metric: Any = None

    def __post_init__(self) -> None:
        for role, names in (("inputs", self.inputs), ("outputs", self.outputs)):
            if names is not None:
                _check_names(role, names)
        for kind in self.to or ():
            if kind not in TARGETS:
                raise OptionError(
                    f"unknown target kind '{kind}'", why=nearest(kind, TARGETS), remedy=f"choose one of {', '.join(TARGETS)}"
                )
        if self.reference not in REFERENCES:
            raise OptionError(f"unknown reference '{self.reference}'", remedy=f"choose one of {', '.join(REFERENCES)}")
        if self.shard_size < 0:
            raise OptionError("the shard size cannot be negative", remedy="0 writes one shard")
        if not 0 < self.tolerance < 1:
            raise OptionError(f"the tolerance must lie between 0 and 1, not {self.tolerance}")
        _check_faces(self)
        _check_quantisation(self)
        _check_card(self)
        _check_download(self.sha256, self.max_download)
        if self.verify_memory < 0 or self.seed < 0:
            raise OptionError("verify_memory and seed cannot be negative")
        for name, shape in self.input_shapes.items():
            if any(size < -1 for size in shape):
                raise OptionError(f"input '{name}' cannot have the shape {list(shape)}", remedy="-1 leaves a size open")
            if any(size > MAX_SIZE for size in shape):
                raise OptionError(f"input '{name}' cannot have the shape {list(shape)}", why=f"a size is above {MAX_SIZE}")

    def quantize_for(self, kind: Kind) -> str | None:
        """How all of this kind of target is to be quantised."""
        return next((way for way in self.quantize or () if way in QUANTISATIONS.get(kind, ())), None)

    def ways_for(self, kind: Kind) -> tuple[tuple[str, str], ...]:
        """(way, pattern of names) for all that is said in ways of this kind; an empty pattern stands for everything."""
        parted = [_part_way(each) for each in self.quantize or ()]
        return tuple(each for each in parted if each[0] in QUANTISATIONS.get(kind, ()))

    @classmethod
    def of(cls, **keywords: Any) -> Options:
        """From a caller's keyword arguments: lists become tuples, `a,b` is split, an unknown keyword is an OptionError."""
        unknown = sorted(set(keywords) - set(cls.__dataclass_fields__))
        if unknown:
            near = nearest(unknown[0], cls.__dataclass_fields__)
            raise OptionError(
                f"unknown option {', '.join(unknown)}", why=near, remedy=f"options are {', '.join(cls.__dataclass_fields__)}"
            )
        given = keywords.pop("tolerance", None)
        if given is not None:
            keywords |= {"tolerance": given, "tolerance_given": True}
        keywords["keep_float"] = split_names(keywords.get("keep_float")) or ()
        for role in ("inputs", "outputs", "tags", "to", "quantize", "corrections"):
            keywords[role] = split_names(keywords.get(role))
        for role in ("verify_inputs", "checkpoint", "architecture", "plan", "plan_out"):
            if keywords.get(role) is not None:
                keywords[role] = Path(keywords[role])
        keywords["metadata"] = {key: Path(path) for key, path in (keywords.get("metadata") or {}).items()}
        labels = keywords.get("labels") or {}
        named = labels if isinstance(labels, Mapping) else {"": labels}
        keywords["labels"] = {output: Path(path) for output, path in named.items()}
        for role in ("mean", "std"):
            keywords[role] = split_numbers(role, keywords.get(role))
        keywords["rename"] = dict(keywords.get("rename") or {})
        keywords["input_shapes"] = {name: tuple(shape) for name, shape in (keywords.get("input_shapes") or {}).items()}
        return cls(**keywords)


def split_numbers(role: str, given: float | str | Sequence[float] | None) -> tuple[float, ...]:
    """127.5, (123.7, 116.8, 103.9) or the same as text."""
    several = given.split(",") if isinstance(given, str) else [given] if isinstance(given, int | float) else given or ()
    try:
        return tuple(float(each) for each in several)
    except (TypeError, ValueError):
        raise OptionError(f"{role} is no list of numbers: {given!r}", remedy="write it as 127.5, or as 123.7,116.8,103.9") from None


def split_names(names: str | Sequence[str] | None) -> tuple[str, ...] | None:
    """Names given as `a,b`, as a sequence, or not at all."""
    if names is None:
        return None
    pieces = names.split(",") if isinstance(names, str) else list(names)
    return tuple(piece.strip() for piece in pieces if piece.strip()) or None


RESERVED_METADATA = ("min_runtime_version", "signature")
"""Keys that the formats themselves use."""


def _check_faces(options: Options) -> None:
    """Names and files that a user brings, before anything is read."""
    if options.control_flow not in CONTROL_FLOW:
        why = nearest(options.control_flow, CONTROL_FLOW)
        remedy = "v2 writes If and While, v1 TensorFlow 1's Switch, Merge and Enter"
        raise OptionError(f"unknown form of control flow '{options.control_flow}'", why=why, remedy=remedy)
    for old, new in options.rename.items():
        if not old or not new:
            raise OptionError(f"'{old}={new}' renames nothing", remedy="write it as OLD=NEW")
    for key, path in options.metadata.items():
        if not key or key in RESERVED_METADATA:
            raise OptionError(f"metadata cannot have the key '{key}'", remedy="choose another key")
        if not path.is_file():
            raise OptionError(f"the metadata file '{path}' does not exist", remedy="write it as KEY:FILE")
        if path.stat().st_size > MOST_METADATA:
            raise OptionError(f"the metadata file '{path}' is larger than {MOST_METADATA >> 20} MiB")


def _check_card(options: Options) -> None:
    for role, values in (("mean", options.mean), ("std", options.std)):
        if not all(math.isfinite(value) for value in values):
            raise OptionError(f"{role} is no list of numbers: {', '.join(map(str, values))}")
    if any(value == 0 for value in options.std):
        raise OptionError("std cannot be 0, by which pixels would be divided")
    if len(options.mean) > 1 and len(options.std) > 1 and len(options.mean) != len(options.std):
        raise OptionError(
            f"mean has {len(options.mean)} values and std {len(options.std)}", remedy="give one value, or one a channel"
        )
    for key in ("model_name", "description", "version_name", "author", "license"):
        if len(getattr(options, key)) > MOST_TEXT:
            raise OptionError(f"{key} is longer than {MOST_TEXT} letters")


def _part_way(given: str) -> tuple[str, str]:
    """`uint8=conv*` -> (uint8, conv*)."""
    way, _, pattern = given.partition("=")
    return way, pattern


_BY_PATTERN = {way for kind, ways in QUANTISATIONS.items() if kind != "tflite" for way in ways}


def _check_quantisation(options: Options) -> None:
    ways = {way for each in QUANTISATIONS.values() for way in each}
    for given in options.quantize or ():
        way, pattern = _part_way(given)
        if way not in ways:
            raise OptionError(
                f"unknown way to quantise '{way}'",
                why=nearest(way, ways),
                remedy="; ".join(f"{TARGETS[kind].title}: {', '.join(each)}" for kind, each in QUANTISATIONS.items()),
            )
        if "=" in given and not pattern:
            raise OptionError(f"'{given}' names nothing behind the =", remedy="write it as uint8, or as uint8=PATTERN")
        if pattern and way not in _BY_PATTERN:
            raise OptionError(
                f"{way} is not for some names alone ('{given}')", remedy="say --keep-float for what is to be left out"
            )
    for kind in QUANTISATIONS:
        general = list(dict.fromkeys(way for way, pattern in options.ways_for(kind) if not pattern))
        if len(general) > 1:
            raise OptionError(f"{TARGETS[kind].title} is to be quantised in {len(general)} ways: {', '.join(general)}")
    _check_details(options)


def _check_budget(options: Options, lite: str | None) -> bool:
    """Whether there is one."""
    budgeted = any(each is not None for each in (options.max_error, options.max_size, options.max_drift))
    for name in ("max_error", "max_drift"):
        limit = getattr(options, name)
        if limit is not None and not 0 < limit < math.inf:
            raise OptionError(f"{name} must be a number above 0, not {limit}")
    if options.spare_as not in SPARED:
        raise OptionError(f"operators are not spared as '{options.spare_as}'", remedy=f"choose {' or '.join(SPARED)}")
    measured = options.max_error is not None or options.max_drift is not None
    if options.spare_as != "float" and not (measured and lite == "int8"):
        raise OptionError("spare_as is for an error in a file of int8", remedy="add --quantize int8 and --max-error or --max-drift")
    if options.max_drift is not None and (options.max_error is not None or options.metric is not None):
        raise OptionError("max_drift is a measure of its own", remedy="leave out max_error and metric")
    if options.max_size is not None and options.max_size < 1:
        raise OptionError(f"max_size must be a number of bytes above 0, not {options.max_size}")
    if lite and budgeted and options.calibrate is None:
        raise OptionError("errors are measured on samples, and there are none", remedy="add --calibrate")
    return budgeted


def _check_details(options: Options) -> None:
    if options.io_dtype not in IO_DTYPES:
        raise OptionError(f"inputs and outputs cannot be '{options.io_dtype}'", remedy=f"choose one of {', '.join(IO_DTYPES)}")
    lite = options.quantize_for("tflite")
    budgeted = _check_budget(options, lite)
    asked = {
        "io_dtype": options.io_dtype != "float32" and not lite and not options.plan,
        "keep_float": options.keep_float and not options.quantize and not options.plan,
        "per_tensor": options.per_tensor and not lite and not options.plan,
        "calibrate": options.calibrate is not None and lite not in CALIBRATED and not budgeted and not options.plan,
        "corrections": options.corrections is not None and options.calibrate is None and lite != "weights4",
        "plan_out": options.plan_out is not None and not lite and not options.plan,
        "max_error": options.max_error is not None and not lite,
        "max_size": options.max_size is not None and not lite,
        "max_drift": options.max_drift is not None and not lite,
    }
    for name, given in asked.items():
        if given:
            what = "nothing" if not options.quantize or name == "keep_float" else "no TensorFlow Lite file"
            way = f" {' or '.join(CALIBRATED)}" if name == "calibrate" else ""
            remedy = "add --calibrate" if name == "corrections" and lite else f"add --quantize{way}"
            what = f"nothing that follows samples in '{lite}'" if lite else what
            raise OptionError(f"{name} says how to quantise, and {what} is quantised", remedy=remedy)
    if options.plan is not None:
        said = {
            "quantize": lite is not None,
            "io_dtype": options.io_dtype != "float32",
            "keep_float": bool(options.keep_float),
            "per_tensor": options.per_tensor,
            "corrections": options.corrections is not None,
        }
        for name, given in said.items():
            if given:
                raise OptionError(f"a plan and {name} are given", why="the plan says it", remedy="leave out one of the two")


def check_ways(kinds: Sequence[Kind], options: Options) -> None:
    """OptionError for a way to quantise that none of the targets knows."""
    for given in options.quantize or ():
        way = _part_way(given)[0]
        if not any(way in QUANTISATIONS.get(kind, ()) for kind in kinds):
            able = [TARGETS[kind].title for kind, ways in QUANTISATIONS.items() if way in ways]
            raise OptionError(f"none of the targets can be quantised as {way}", remedy=f"that is for {' and '.join(able)}")


def _check_download(sha256: str | None, most: int) -> None:
    if sha256 is not None and not re.fullmatch("[0-9a-fA-F]{64}", sha256):
        raise OptionError(f"'{sha256}' is no sha256", remedy="give its 64 hexadecimal digits")
    if most <= 0:
        raise OptionError("max_download must be a number of bytes above 0")


def _check_names(role: str, names: tuple[str, ...]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise OptionError(f"{role} names {', '.join(twice)} twice")


def kinds_of(targets: Sequence[str | os.PathLike[str]], to: Sequence[Kind] | None = None, *, existing: bool = False) -> list[Kind]:
    """The kind of each target: the one that was said for all, the ones said for each, or what the names tell.

    Of `existing` targets their content tells what no name can.
    """
    if to and len(to) not in (1, len(targets)):
        raise OptionError(
            f"{len(to)} kinds of targets are said for {len(targets)} targets", remedy="say one for all, or one for each in order"
        )
    said: Sequence[Kind | None] = [None] * len(targets) if not to else to if len(to) == len(targets) else [to[0]] * len(targets)
    pairs = zip(targets, said, strict=True)
    return [kind or (existing and _kind_of_existing(Path(target))) or kind_of(target) for target, kind in pairs]


def _kind_of_existing(path: Path) -> Kind:
    """Of what only `--to` can ask for: a SavedModel's folder, a checkpoint's prefix; else nothing."""
    if (path / "saved_model.pb").is_file() and not (path / "model.json").exists():
        return "savedmodel"
    return "checkpoint" if path.name and path.with_name(f"{path.name}.index").is_file() else ""


def kind_of(target: str | os.PathLike[str], to: Kind | None = None) -> Kind:
    """What a target's name asks for, by its suffix; a folder, or `model.json`, is TensorFlow.js."""
    path = Path(target)
    if not os.fspath(target):
        raise OptionError("a target's name is empty", remedy="name a file or a folder, such as -o model.tflite")
    if to is not None:
        return to
    folder = path.is_dir() or str(target).endswith(("/", os.sep))
    by_suffix = [kind for kind, each in TARGETS.items() if path.suffix in each.suffixes]
    if by_suffix and not folder:
        return by_suffix[0]
    if path.name == "model.json" or folder or not path.suffix:
        return "tfjs"
    named = ", ".join(f"*{suffix}" for each in TARGETS.values() for suffix in each.suffixes)
    raise OptionError(
        f"cannot tell from its name what '{target}' should be",
        remedy=f"name it {named}, or a folder (or model.json) for TensorFlow.js, or say --to {'|'.join(TARGETS)}",
    )
