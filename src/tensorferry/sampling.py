"""Inputs to verify with: seeded, and fit for what the graph does with them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from tensorferry import ops
from tensorferry.errors import FerryError, OptionError, SourceError
from tensorferry.ir import UNKNOWN_DIM, Dim, Graph, Node, Port, Typed, Value, format_shape
from tensorferry.ops.scaling import leading_scalings
from tensorferry.tensor import Array, DType

UNKNOWN_SIZES = (64, 32, 224, 28, 96, 128, 299, 48, 24, 16, 8, 4, 2, 1)
"""Stand for an unknown inner size; the first that the graph's shapes agree with is taken. The sizes of usual nets, cheap first."""

UNKNOWN_RANK = (4,)
"""Stands for a shape of which nothing is known."""

MOST_NETS = 8
"""Inputs whose sizes are looked for one by one."""

UNKNOWN_BATCH = 2
"""Stands for an unknown leading size: one more than 1, so that a batch fixed by mistake shows."""

LARGEST_SAMPLE = 1e5
"""Beyond this, factors and offsets behind an input are taken for something else than the scaling of pixels."""

_WORDS = (b"", b"ferry", b"tensor", "Fähre".encode(), b"a longer piece of text, with punctuation")
_PASSING = ("Identity", "Cast", "Reshape", "ExpandDims", "Squeeze", "StopGradient", "PlaceholderWithDefault")
_INDEX_OPS: Mapping[str, tuple[int, int]] = {"GatherV2": (1, 0), "Gather": (1, 0), "ResourceGather": (1, 0)}
"""Op -> (which input holds indices, which input is indexed)."""


def sample_inputs(
    graph: Graph, seed: int = 0, sizes: Mapping[str, int] | None = None, *, unknown: tuple[int, ...] | None = None
) -> dict[str, Array]:
    """Random values for every graph input, by public name: floats that reach the net in [-1, 1), integers that are valid where
    they index.

    `sizes` gives numbers for named unknown sizes, `unknown` a shape where the rank is open: OptionError without it.
    Equal seeds give equal values. A variable has its first value.
    """
    generator = np.random.default_rng(seed)
    shapes = choose_shapes(graph, sizes, unknown=unknown)
    return {
        port.name: graph.states[port.name].first.array()
        if port.name in graph.states
        else _random(port.value, shapes[port.name], generator)
        for port in graph.inputs
    }


def choose_shapes(
    graph: Graph, sizes: Mapping[str, int] | None = None, *, unknown: tuple[int, ...] | None = None
) -> dict[str, tuple[int, ...]]:
    """A shape for every input, by public name: unknown sizes get numbers that the graph's own shapes agree with, if any do.

    One number for all of them is tried first, then one for each input, which several nets in one graph need.
    """
    candidates = [_fill_in(graph, dict(sizes or {}), standing, unknown) for standing in UNKNOWN_SIZES]
    found = next((shapes for shapes in candidates if _agrees(graph, shapes)), None)
    if found is None and 1 < len(graph.inputs) <= MOST_NETS:
        found = _choose_one_by_one(graph, candidates)
    return found or candidates[0]


def _fill_in(graph: Graph, sizes: dict[str, int], standing: int, unknown: tuple[int, ...] | None) -> dict[str, tuple[int, ...]]:
    return {port.name: _shape(port, sizes, standing, unknown) for port in graph.inputs}


def _choose_one_by_one(graph: Graph, candidates: Sequence[Mapping[str, tuple[int, ...]]]) -> dict[str, tuple[int, ...]] | None:
    """For each input the first shape on which what hangs on it alone can run; None when all of them together cannot."""
    chosen: dict[str, tuple[int, ...]] = {}
    for port in graph.inputs:
        part = _alone(graph, port)
        fitting = (shapes[port.name] for shapes in candidates if _agrees(part, {port.name: shapes[port.name]}))
        chosen[port.name] = next(fitting, candidates[0][port.name])
    return chosen if _agrees(graph, chosen) else None


def _alone(graph: Graph, port: Port) -> Graph:
    """The part of the graph that needs no other input."""
    part = graph.copy()
    foreign = {each.value for each in part.inputs if each.name != port.name}
    for node in part.nodes:
        if any(value in foreign for value in node.inputs):
            foreign.update(node.outputs)
    part.inputs = [each for each in part.inputs if each.name == port.name]
    part.outputs = [each for each in part.outputs if each.value not in foreign]
    part.keep_nodes(lambda node: not node.outputs or not all(value in foreign for value in node.outputs))
    return part


def infer_over(graph: Graph, shapes: Mapping[str, tuple[int, ...]]) -> Graph | None:
    """A copy of the graph typed for inputs of these shapes; None when inference meets a contradiction."""
    trial = graph.copy()
    for port in trial.inputs:
        port.value.retype(Typed(port.value.dtype, shapes[port.name]))
    given = {port.value.producer for port in trial.inputs}
    try:
        for node in trial.nodes:
            if node not in given:
                for value, typed in zip(node.outputs, ops.infer(node), strict=True):
                    value.retype(typed)
    except (FerryError, ValueError):
        return None
    return trial


def _agrees(graph: Graph, shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """Inference over these input shapes meets no contradiction, and an open batch stays the batch to the end."""
    trial = infer_over(graph, shapes)
    if trial is None:
        return False
    inputs = [port.value.shape for port in graph.inputs if port.value.shape]
    if any(not isinstance(shape[0], str) for shape in inputs):
        return True
    batches = {shape[0] for shape in shapes.values() if len(shape) > 1}
    ends = [port.value.shape[0] for port in trial.outputs if port.value.shape and len(port.value.shape) > 1]
    return len(batches) != 1 or all(isinstance(end, str) or end in batches for end in ends)


def _shape(port: Port, sizes: dict[str, int], standing: int, unknown: tuple[int, ...] | None) -> tuple[int, ...]:
    value = port.value
    if value.shape is None and unknown is not None:
        return unknown
    if value.shape is None:
        raise OptionError(
            f"input '{port.name}' has an unknown rank, so no values can be made for it",
            remedy=f"give its shape (--shape {port.name}=1,224,224,3) or values (--verify-inputs FILE.npz)",
        )
    batched = len(value.shape) > 1
    return tuple(_size(dim, sizes, UNKNOWN_BATCH if axis == 0 and batched else standing) for axis, dim in enumerate(value.shape))


def _size(dim: Dim, sizes: dict[str, int], standing: int) -> int:
    """A number for a size: equal names get equal numbers."""
    if isinstance(dim, int):
        return dim
    return standing if dim == UNKNOWN_DIM else sizes.setdefault(dim, standing)


_SAMPLE_RATE = 16000
"""What models of speech are trained on; filters for voices reach to 4000 Hz, which asks for 8000 at least."""


def _random(value: Value, shape: tuple[int, ...], generator: np.random.Generator) -> Array:
    dtype = value.dtype
    if dtype is DType.BOOL:
        return generator.integers(0, 2, shape).astype(bool)
    if dtype is DType.STRING:
        return np.asarray([_WORDS[i] for i in generator.integers(0, len(_WORDS), shape).reshape(-1)], dtype=object).reshape(shape)
    if dtype in (DType.COMPLEX64, DType.COMPLEX128):
        return (generator.uniform(-1, 1, shape) + 1j * generator.uniform(-1, 1, shape)).astype(dtype.numpy)
    if dtype.is_integer and any(node.op == "Mfcc" and node.inputs[1] is value for node in value.users):
        return np.full(shape, _SAMPLE_RATE, dtype.numpy)
    if dtype.is_integer:
        return generator.integers(0, _index_bound(value), shape).astype(dtype.numpy)
    if dtype in (DType.FLOAT16, DType.FLOAT32, DType.FLOAT64):
        return _before_scaling(value, generator.uniform(-1, 1, shape)).astype(dtype.numpy)
    raise OptionError(
        f"no values can be made for input '{value.name}' of type {dtype}",
        remedy="give them with --verify-inputs FILE.npz",
    )


def _before_scaling(value: Value, samples: Array) -> Array:
    """What the constant factors and offsets right behind an input (x / 127.5 - 1) turn into `samples`.

    A net that scales pixels itself must be given pixels: values near 0 would reach it as a picture without contrast, whose
    normalisation magnifies rounding errors beyond any tolerance. An offset alone (x - 123.7) tells the range as well.
    """
    steps = leading_scalings(value)
    at_zero = np.zeros(1)
    for factor, offset in steps:
        at_zero = at_zero * factor + offset
    found = samples * max(1.0, float(np.max(np.abs(at_zero))))
    with np.errstate(all="ignore"):
        for factor, offset in reversed(steps):
            found = (found - offset) / factor
    found = np.reshape(found, samples.shape)  # a factor of one element is a vector
    return found if np.all(np.abs(found) < LARGEST_SAMPLE) else samples


def _index_bound(value: Value) -> int:
    """One more than the largest integer that is sensible: the size of what the value indexes, the depth it is one-hot to."""
    bounds = [10 if value.dtype is not DType.UINT8 else 256]
    waiting, seen = [value], {value}
    while waiting:
        read = waiting.pop()
        for node in read.users:
            bounds += _bounds_of_reader(node, seen)
            # Keras counts negative indices from the end: select(x < 0, x + size, x)
            passes = node.op in _PASSING or (node.op in ("Select", "SelectV2") and read in node.inputs[1:])
            if passes and node.outputs and node.outputs[0] not in seen:
                seen.add(node.outputs[0])
                waiting.append(node.outputs[0])
    return max(1, min(bounds))


def _bounds_of_reader(node: Node, seen: set[Value]) -> list[int]:
    if node.op in _INDEX_OPS:
        index, indexed = _INDEX_OPS[node.op]
        shape = node.inputs[indexed].shape
        if node.inputs[index] in seen and shape and isinstance(shape[0], int):
            return [shape[0]]
    if node.op == "OneHot" and node.inputs[0] in seen:
        content = node.inputs[1].content
        return [int(content[0])] if content and isinstance(content[0], int) else []
    return []


def load_inputs(path: str | os.PathLike[str], graph: Graph) -> dict[str, Array]:
    """Values from an .npz file whose arrays carry the inputs' names; a single input may be a plain .npy."""
    file = Path(path)
    if not file.is_file():
        what = "is not a file" if file.exists() else "does not exist"
        raise SourceError(f"'{file}' {what}", remedy="name an .npz or .npy file")
    try:
        loaded = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise SourceError(f"'{file}' is not a readable .npz or .npy file", why=str(error)) from error
    if isinstance(loaded, np.ndarray):
        if len(graph.inputs) != 1:
            raise OptionError(f"'{file}' holds one array, the model has {len(graph.inputs)} inputs", remedy="use an .npz file")
        return {graph.inputs[0].name: _fitting(loaded, graph.inputs[0])}
    with loaded:
        missing = [port.name for port in graph.inputs if port.name not in loaded.files]
        if missing:
            has = ", ".join(loaded.files) or "nothing"
            raise OptionError(f"'{file}' has no array named {', '.join(missing)}", why=f"it holds: {has}")
        try:
            return {port.name: _fitting(loaded[port.name], port) for port in graph.inputs}
        except (OSError, ValueError, EOFError) as error:
            raise SourceError(f"'{file}' holds an array that cannot be read", why=str(error)) from error


def _fitting(array: Array, port: Port) -> Array:
    value = port.value
    if array.dtype != value.dtype.numpy:
        if not np.can_cast(array.dtype, value.dtype.numpy, casting="same_kind"):
            raise OptionError(f"the values for input '{port.name}' are {array.dtype}, the model takes {value.dtype}")
        array = array.astype(value.dtype.numpy)
    if value.shape is not None and len(value.shape) != array.ndim:
        shapes = f"shape {format_shape(array.shape)}, not {format_shape(value.shape)}"
        raise OptionError(f"the values for input '{port.name}' have {shapes}")
    return array
