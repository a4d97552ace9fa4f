"""Two models side by side: inputs and outputs, ops, weights, and what they compute on the same inputs. Plain data, no rendering.

Weights are matched by name; what is left by shape and content, and at last by their order among those of one shape, where both
sides have the same number of them. They are streamed, so that memory follows the largest piece in hand.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from tensorferry.comparison import OutputError, compare_outputs
from tensorferry.errors import FerryError, OptionError
from tensorferry.inspection import parameters_of, tensor_count
from tensorferry.ir import Graph, Port, format_shape
from tensorferry.runtimes.reference import evaluate_graph
from tensorferry.sampling import sample_inputs
from tensorferry.storage import CHUNK
from tensorferry.tensor import Array, CastTensor, DType, Tensor

Match = Literal["name", "content", "position"]


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two models."""

    path: str
    format: str
    size: int
    nodes: int
    weights: int
    parameters: int


@dataclass(frozen=True, slots=True)
class PortDifference:
    """An input or output that is not the same on both sides: type and shape, empty where it is not there."""

    role: Literal["input", "output"]
    name: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class WeightDifference:
    """Two weights that belong together and are not the same. `max_absolute` is None where shapes or kinds cannot be compared."""

    before: str
    after: str
    matched: Match
    before_type: str
    after_type: str
    max_absolute: float | None
    elements: int
    differing: int


@dataclass(frozen=True, slots=True)
class LoneWeight:
    """A weight without a counterpart."""

    name: str
    type: str


@dataclass(frozen=True, slots=True)
class Difference:
    """What sets the second model apart from the first."""

    before: Side
    after: Side
    ports: tuple[PortDifference, ...]
    ops_added: Mapping[str, int]
    ops_gone: Mapping[str, int]
    weights: tuple[WeightDifference, ...]
    weights_same: int
    weights_renamed: int
    weights_added: tuple[LoneWeight, ...]
    weights_gone: tuple[LoneWeight, ...]
    outputs: tuple[OutputError, ...] = ()
    tolerance: float = 0.0

    @property
    def same(self) -> bool:
        """Nothing of what was compared differs. Names of weights alone make no difference."""
        lists = (self.ports, self.ops_added, self.ops_gone, self.weights, self.weights_added, self.weights_gone)
        return not any(lists) and all(output.passed for output in self.outputs)

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {"same": self.same, **asdict(self)}


@dataclass(frozen=True, slots=True)
class Model:
    """What is compared of a model; `graph` is None for a source of weights alone."""

    path: str
    format: str
    size: int
    graph: Graph | None
    weights: Mapping[str, Tensor]

    @classmethod
    def of_graph(cls, graph: Graph, *, path: str, format: str, size: int) -> Model:
        return cls(path, format, size, graph, parameters_of(graph))

    def side(self) -> Side:
        elements = sum(tensor.size for tensor in self.weights.values() if tensor.dtype.is_float)
        return Side(self.path, self.format, self.size, tensor_count(self.graph), len(self.weights), elements)


def compare_models(before: Model, after: Model, *, run: bool = False, seed: int = 0, tolerance: float = 1e-4) -> Difference:
    """All differences; with `run`, both are evaluated on the same random inputs."""
    pairs, gone, added = _match(before.weights, after.weights)
    differing, same, renamed = [], 0, 0
    for one, other, how in pairs:
        found = _compare(one, before.weights[one], other, after.weights[other], how)
        if found is None:
            same += 1
            renamed += one != other
        else:
            differing.append(found)
    old, new = (_ops(each.graph if before.graph and after.graph else None) for each in (before, after))  # weights alone have none
    more, less = new - old, old - new
    return Difference(
        before=before.side(),
        after=after.side(),
        ports=tuple(_compare_ports(before.graph, after.graph)),
        ops_added=_sorted(more),
        ops_gone=_sorted(less),
        weights=tuple(differing),
        weights_same=same,
        weights_renamed=renamed,
        weights_added=tuple(LoneWeight(name, _typed(after.weights[name])) for name in added),
        weights_gone=tuple(LoneWeight(name, _typed(before.weights[name])) for name in gone),
        outputs=_run(before.graph, after.graph, seed, tolerance) if run else (),
        tolerance=tolerance if run else 0.0,
    )


# -- inputs, outputs, ops ------------------------------------------------------------------------------------------


def _compare_ports(before: Graph | None, after: Graph | None) -> Iterator[PortDifference]:
    if before is None or after is None:  # weights alone have none
        return
    roles: tuple[tuple[Literal["input", "output"], list[Port], list[Port]], ...] = (
        ("input", before.inputs, after.inputs),
        ("output", before.outputs, after.outputs),
    )
    for role, left, right in roles:
        old, new = ({port.name: _port_type(port) for port in ports} for ports in (left, right))
        for name in dict.fromkeys((*old, *new)):
            if old.get(name) != new.get(name):
                yield PortDifference(role, name, old.get(name, ""), new.get(name, ""))


def _port_type(port: Port) -> str:
    shape = port.value.shape
    known = shape if shape is None else tuple(size if isinstance(size, int) else "?" for size in shape)
    return f"{port.value.dtype} [{format_shape(known)}]"


def _ops(graph: Graph | None) -> Counter[str]:
    found: Counter[str] = Counter()
    for node in graph.nodes if graph is not None else ():
        if node.op not in ("Const", "Placeholder"):
            found[node.op] += 1
        for _key, nested in node.graphs():
            found += _ops(nested)
    return found


def _sorted(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


# -- weights -------------------------------------------------------------------------------------------------------


def _match(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> tuple[list[tuple[str, str, Match]], list[str], list[str]]:
    """(pairs, names only before, names only after)."""
    pairs: list[tuple[str, str, Match]] = [(name, name, "name") for name in before if name in after]
    old = [name for name in before if name not in after]
    new = [name for name in after if name not in before]
    for how in ("content", "position"):
        by_key: dict[Any, list[str]] = defaultdict(list)
        shapes = {before[name].shape for name in old} & {after[name].shape for name in new}
        for name in new:
            if after[name].shape in shapes:
                by_key[_key(after[name], how)].append(name)
        counts = Counter(_key(before[name], how) for name in old if before[name].shape in shapes) if how == "position" else None
        for name in list(old):
            if before[name].shape not in shapes:
                continue
            key = _key(before[name], how)
            waiting = by_key.get(key, [])
            if not waiting or (counts is not None and counts[key] != len(waiting)):
                continue
            other = waiting.pop(0)
            if counts is not None:
                counts[key] -= 1
            pairs.append((name, other, "content" if how == "content" else "position"))
            old.remove(name)
            new.remove(other)
    return pairs, old, new


def _key(tensor: Tensor, how: str) -> tuple[Any, ...]:
    kind = "float" if tensor.dtype.is_float else str(tensor.dtype)
    return (tensor.shape, kind, _digest(tensor)) if how == "content" else (tensor.shape, kind)


def _digest(tensor: Tensor) -> bytes:
    """Of the values as float32, so that the same numbers in another type are the same."""
    digest = hashlib.blake2b(digest_size=16)
    for piece in _pieces(tensor):
        digest.update(np.ascontiguousarray(piece.astype(np.float32) if tensor.dtype.is_float else piece).tobytes())
    tensor.release()
    return digest.digest()


def _pieces(tensor: Tensor) -> Iterator[Array]:
    """The elements in order, as vectors of about CHUNK bytes."""
    if tensor.dtype is DType.STRING:
        yield np.array([bytes(each).hex() for each in tensor.array().reshape(-1)] or [""])
        return
    plain = CastTensor(tensor, DType.FLOAT32) if tensor.dtype is DType.BFLOAT16 else tensor
    for chunk in plain.chunks(CHUNK):
        yield np.frombuffer(chunk, plain.dtype.numpy)


def _compare(one: str, before: Tensor, other: str, after: Tensor, how: Match) -> WeightDifference | None:
    """None where they are the same, to the bit or as numbers."""
    types = _typed(before), _typed(after)
    numbers = all(tensor.dtype is not DType.STRING for tensor in (before, after))
    if before.shape != after.shape or numbers != (before.dtype is not DType.STRING):
        return WeightDifference(one, other, how, *types, None, before.size, before.size)
    if not numbers:
        differing = int(np.count_nonzero(before.array() != after.array()))
        return WeightDifference(one, other, how, *types, None, before.size, differing) if differing else None
    largest, differing = 0.0, 0
    for left, right in _side_by_side(_pieces(before), _pieces(after)):
        unequal = ~((left == right) | (np.isnan(left) & np.isnan(right)))
        count = int(np.count_nonzero(unequal))
        if count:
            differing += count
            largest = max(largest, _farthest(left[unequal], right[unequal]))
    before.release()
    after.release()
    if not differing and (before.dtype is after.dtype or (before.dtype.is_float and after.dtype.is_float)):
        return None
    return WeightDifference(one, other, how, *types, largest, before.size, differing)


def _farthest(left: Array, right: Array) -> float:
    wide = np.complex128 if np.iscomplexobj(left) or np.iscomplexobj(right) else np.float64
    with np.errstate(invalid="ignore"):
        apart = np.abs(left.astype(wide) - right.astype(wide))
    return math.inf if np.isnan(apart).any() else float(apart.max())


def _side_by_side(left: Iterator[Array], right: Iterator[Array]) -> Iterator[tuple[Array, Array]]:
    """Two streams of elements, cut into pieces of the same length."""
    one, other = np.empty(0), np.empty(0)
    while True:
        one = one if one.size else next(left, one)
        other = other if other.size else next(right, other)
        length = min(one.size, other.size)
        if not length:
            return
        yield one[:length], other[:length]
        one, other = one[length:], other[length:]


def _typed(tensor: Tensor) -> str:
    return f"{tensor.dtype} [{format_shape(tensor.shape)}]"


# -- running -------------------------------------------------------------------------------------------------------


def _run(before: Graph | None, after: Graph | None, seed: int, tolerance: float) -> tuple[OutputError, ...]:
    """Both on the same inputs; those that have one input or output each need not agree in names."""
    if before is None or after is None:
        raise OptionError("weights alone cannot be run", remedy="leave out --run")
    inputs = sample_inputs(before, seed)
    renamed = _rename([port.name for port in before.inputs], [port.name for port in after.inputs], "inputs")
    results = _rename([port.name for port in after.outputs], [port.name for port in before.outputs], "outputs")
    expected = evaluate_graph(before, inputs)
    try:
        found = evaluate_graph(after, {renamed[name]: array for name, array in inputs.items()})
    except FerryError as error:
        raise OptionError(f"'{after.name}' cannot be run on inputs of the first model", why=error.what) from error
    return tuple(compare_outputs(expected, {results[name]: array for name, array in found.items()}, tolerance))


def _rename(old: Sequence[str], new: Sequence[str], role: str) -> dict[str, str]:
    if set(old) == set(new):
        return {name: name for name in old}
    if len(old) == len(new) == 1:
        return {old[0]: new[0]}
    raise OptionError(
        f"the models cannot be run on the same {role}: {', '.join(old)} against {', '.join(new)}",
        remedy="give them the same names with convert --rename, or leave out --run",
    )
