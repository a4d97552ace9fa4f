"""What a layer's function is handed: it adds nodes under the layer's name, and knows the layer's weights, call and masks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tensorferry import ops
from tensorferry.errors import SourceError
from tensorferry.ir import Graph, Origin, Shape, Value
from tensorferry.readers.keras.description import Config, Layer
from tensorferry.tensor import CastTensor, DType, Tensor

Size = int | Value
"""A number, or a scalar that is known when the model runs."""

Run = Callable[[Layer, "Builder", Sequence[Any], Mapping[str, Any]], Any]
"""Call a layer: (layer, builder of that layer, args, kwargs) -> its outputs."""

_HALF = frozenset({"mixed_float16", "mixed_bfloat16", "float16", "bfloat16"})


class Builder:
    """One call of one layer.

    `args` and `kwargs` are the call's arguments with Values in place of tensors; `inputs` are the Values among the args.
    """

    def __init__(self, graph: Graph, layer: Layer, scope: str, masks: dict[Value, Value], run: Run, memo: dict[str, Value]) -> None:
        self.graph = graph
        self.layer = layer
        self.config: Config = layer.config
        self.scope = scope
        self.args: Sequence[Any] = ()
        self.kwargs: Mapping[str, Any] = {}
        self.dtype = compute_type(layer.config)
        self._masks = masks
        self._run = run
        self._memo = memo

    # -- nodes -----------------------------------------------------------------------------------------------------

    def add(self, op: str, inputs: Sequence[Value] = (), attrs: Mapping[str, Any] | None = None, name: str = "") -> Value:
        """The output of a new node; the first of several."""
        return self.add_all(op, inputs, attrs, name)[0]

    def add_all(self, op: str, inputs: Sequence[Value] = (), attrs: Mapping[str, Any] | None = None, name: str = "") -> list[Value]:
        """All outputs of a new node."""
        node = ops.add(self.graph, op, inputs, attrs, name=f"{self.scope}/{name or op}", origin=self._origin())
        return node.outputs

    def constant(self, value: Any, dtype: DType | None = None, name: str = "const") -> Value:
        """A constant: int32 for whole numbers unless told, the layer's own type for floats."""
        array = np.asarray(value)
        if dtype is None:
            dtype = self.dtype if array.dtype.kind == "f" else DType.INT32 if array.dtype.kind in "iu" else DType.of(array)
        with np.errstate(all="ignore"):  # a number too large for a float is infinite
            array = array.astype(dtype.numpy)
        return self.graph.constant(array, f"{self.scope}/{name}", origin=self._origin())

    def number(self, value: float, like: Value, name: str = "const") -> Value:
        """A scalar of the type of another value."""
        return self.constant(value, like.dtype, name)

    def cast(self, value: Value, dtype: DType) -> Value:
        return value if value.dtype is dtype else self.add("Cast", (value,), {"SrcT": value.dtype, "DstT": dtype})

    def floating(self, value: Value) -> Value:
        """The value in the type that the layer computes in."""
        return self.cast(value, self.dtype)

    def reshape(self, value: Value, shape: Sequence[Size], name: str = "Reshape") -> Value:
        """To sizes of which one may be -1; those that are open are scalars, as `sizes` gives them."""
        parts = list(shape)
        if -1 not in parts and sum(isinstance(each, Value) for each in parts) == 1:
            parts = [-1 if isinstance(each, Value) else each for each in parts]
        return self.add("Reshape", (value, self.vector(parts)), name=name)

    def sizes(self, value: Value) -> list[Size]:
        """Each size: a number, or where it is open a scalar that is known when the model runs."""
        shape = self.shape(value)
        if all(isinstance(dim, int) for dim in shape):
            return list(shape)  # type: ignore[arg-type]
        whole = self.add("Shape", (value,), {"out_type": DType.INT32})
        return [dim if isinstance(dim, int) else self.item(whole, axis) for axis, dim in enumerate(shape)]

    def item(self, vector: Value, index: int) -> Value:
        """One element of a vector, as a scalar."""
        ends = [self.constant(np.asarray([each], np.int32)) for each in (index, index + 1, 1)]
        return self.add("StridedSlice", (vector, *ends), {"shrink_axis_mask": 1})

    def vector(self, parts: Sequence[Size]) -> Value:
        """Sizes as a vector of int32."""
        if not any(isinstance(each, Value) for each in parts):
            return self.constant(np.asarray(parts, np.int32), name="sizes")
        scalars = [each if isinstance(each, Value) else self.constant(each) for each in parts]
        return self.add("Pack", scalars, {"axis": 0, "N": len(scalars)})

    def scalar(self, size: Size) -> Value:
        """A size as a scalar of int32."""
        return size if isinstance(size, Value) else self.constant(size, name="size")

    def zeros(self, sizes: Sequence[Size], dtype: DType | None = None) -> Value:
        """A tensor of zeros, in the layer's type unless told."""
        dtype = dtype or self.dtype
        if all(isinstance(each, int) for each in sizes):
            return self.constant(np.zeros(sizes), dtype, "zeros")
        return self.add("Fill", (self.vector(sizes), self.constant(0, dtype, "number")))

    def times(self, size: Size, factor: int) -> Size:
        return self.add("Mul", (size, self.constant(factor))) if isinstance(size, Value) else size * factor

    def plus(self, size: Size, more: int) -> Size:
        if not more:
            return size
        return self.add("AddV2", (size, self.constant(more))) if isinstance(size, Value) else size + more

    def cut(self, value: Value, bounds: Mapping[int, tuple[int, int]]) -> Value:
        """A part of the value: axis -> (how many to leave out before, and after)."""
        rank = self.rank(value)
        begin, end = [0] * rank, [0] * rank
        begin_mask = end_mask = (1 << rank) - 1
        for axis, (before, after) in bounds.items():
            begin[axis], end[axis] = before, -after
            begin_mask &= ~(1 << axis)
            if after:
                end_mask &= ~(1 << axis)
        ends = [self.constant(np.asarray(each, np.int32)) for each in (begin, end, [1] * rank)]
        return self.add("StridedSlice", (value, *ends), {"begin_mask": begin_mask, "end_mask": end_mask})

    def pad(self, value: Value, bounds: Mapping[int, tuple[int, int]]) -> Value:
        """Zeros around it: axis -> (how many before, and after)."""
        widths = [bounds.get(axis, (0, 0)) for axis in range(self.rank(value))]
        if not any(map(any, widths)):
            return value
        return self.add("Pad", (value, self.constant(np.asarray(widths, np.int32), name="paddings")))

    def channels_last(self, value: Value) -> Value:
        """The value with its channels moved to the end where the config says that they come first."""
        return self.transpose(value, [0, *range(2, self.rank(value)), 1]) if self.is_first else value

    def as_before(self, value: Value) -> Value:
        """The other way round."""
        rank = self.rank(value)
        return self.transpose(value, [0, rank - 1, *range(1, rank - 1)]) if self.is_first else value

    @property
    def is_first(self) -> bool:
        return self.config.get("data_format") == "channels_first"

    def transpose(self, value: Value, permutation: Sequence[int]) -> Value:
        return self.add("Transpose", (value, self.constant(np.asarray(permutation, np.int32), name="perm")))

    def reduce(self, op: str, value: Value, axes: Sequence[int], keep: bool = False) -> Value:
        """`Mean`, `Max`, `Sum`, ... over axes."""
        return self.add(op, (value, self.constant(np.asarray(axes, np.int32), name=f"{op}/axes")), {"keep_dims": keep})

    def expand(self, value: Value, axis: int) -> Value:
        return self.add("ExpandDims", (value, self.constant(axis, name="axis")))

    def squeeze(self, value: Value, axes: Sequence[int]) -> Value:
        return self.add("Squeeze", (value,), {"squeeze_dims": tuple(axes)})

    def concat(self, values: Sequence[Value], axis: int) -> Value:
        return values[0] if len(values) == 1 else self.add("ConcatV2", (*values, self.constant(axis, name="axis")))

    # -- weights ---------------------------------------------------------------------------------------------------

    def has(self, role: str) -> bool:
        return role in self.layer.weights

    def tensor(self, role: str) -> Tensor:
        """A weight as it lies in the file."""
        try:
            return self.layer.weights[role]
        except KeyError:
            raise SourceError(f"the layer '{self.layer.name}' has no weight '{role}'", why="the file does not hold it") from None

    def weight(self, role: str, change: Callable[[Tensor], Tensor] | None = None, suffix: str = "") -> Value:
        """A weight as a constant in the layer's type, one for all calls of the layer.

        `change` gives it another form, which needs a `suffix` of its own.
        """
        path = f"{role}{suffix}"
        key = f"{id(self.layer)}/{path}"
        if suffix and f"{id(self.layer)}/{role}!" in self._memo:
            raise self.unsupported(f"its {role} is quantised, and needed in another form than it is kept in")
        if key not in self._memo:
            tensor = self.tensor(role)
            if tensor.dtype.is_float and tensor.dtype is not self.dtype:
                tensor = CastTensor(tensor, self.dtype)
            tensor = change(tensor) if change is not None else tensor
            self._memo[key] = self.graph.constant(tensor, f"{self.scope}/{path}", origin=self._origin())
        return self._memo[key]

    def replace_weight(self, role: str, change: Callable[[Value], Value]) -> None:
        """Let all calls of the layer read another value in the place of a weight."""
        marker = f"{id(self.layer)}/{role}!"
        if marker not in self._memo:
            made = change(self.weight(role))
            self._memo[f"{id(self.layer)}/{role}"] = self._memo[marker] = made

    # -- calls -----------------------------------------------------------------------------------------------------

    @property
    def inputs(self) -> list[Value]:
        return values_in(self.args)

    def run(self, layer: Layer, args: Sequence[Any], kwargs: Mapping[str, Any] | None = None, name: str = "") -> Any:
        """Call a layer that this one holds, or one made up on the spot; outputs as that layer gives them."""
        inner = Builder(self.graph, layer, f"{self.scope}/{name or layer.name}", self._masks, self._run, self._memo)
        return self._run(layer, inner, args, kwargs or {})

    def inside(self, graph: Graph) -> Builder:
        """The same layer's builder for a nested graph, which sees no values, and so no weights and masks, from outside."""
        return Builder(graph, self.layer, self.scope, {}, self._run, {})

    def holding(self, layer: Layer) -> Builder:
        """The builder of a layer that this one holds, for the same graph."""
        if layer is self.layer:
            return self
        return Builder(self.graph, layer, f"{self.scope}/{layer.name}", self._masks, self._run, self._memo)

    def mask(self, value: Value) -> Value | None:
        """The mask that came with a value: bool, true where a step counts."""
        return self._masks.get(value)

    def given_mask(self, value: Value, among_inputs: bool = False) -> Value | None:
        """The mask that the call names, else the one that came with the value."""
        given = self.kwargs.get("mask")
        if isinstance(given, Value):
            return given
        if among_inputs and len(self.inputs) > 1:
            return self.inputs[1]
        return self.mask(value)

    def set_mask(self, value: Value, mask: Value | None) -> None:
        if mask is not None:
            self._masks[value] = mask
        else:
            self._masks.pop(value, None)

    def notice(self, text: str) -> None:
        """Tell the user of a decision, once."""
        if text not in self.graph.notices:
            self.graph.notices.append(text)

    # -- shapes and failures ---------------------------------------------------------------------------------------

    def rank(self, value: Value) -> int:
        if value.rank is None:
            raise self.unsupported("its input has an unknown number of axes")
        return value.rank

    def shape(self, value: Value) -> tuple[int | str, ...]:
        self.rank(value)
        return tuple(value.shape or ())

    def size(self, value: Value, axis: int) -> int:
        """A size that has to be a number."""
        found = self.shape(value)[axis]
        if isinstance(found, str):
            raise self.unsupported(f"the size of axis {axis} of its input is open")
        return found

    def bounded(self, count: int, most: int = 1 << 22) -> int:
        """A count of what is made here because the config says so. SourceError where it is none of a real model."""
        if not 0 <= count <= most:
            raise self.unsupported(f"it asks for {count} elements or parts, where {most} are the most that are made")
        return count

    def axis(self, value: Value, axis: int) -> int:
        """A counted axis, from 0 on. SourceError outside of the value's axes."""
        rank = self.rank(value)
        if not -rank <= axis < rank:
            raise self.unsupported(f"its axis {axis} does not exist in an input of {rank} axes")
        return axis % rank

    def unsupported(self, why: str, remedy: str = "") -> SourceError:
        """An error that names the layer."""
        return SourceError(f"the layer '{self.layer.name}' ({self.layer.class_name}) cannot be read", why=why, remedy=remedy)

    def _origin(self) -> Origin:
        return Origin((self.scope,), self.layer.class_name)


def values_in(structure: Any) -> list[Value]:
    """All Values in lists, tuples and dicts."""
    if isinstance(structure, Value):
        return [structure]
    if isinstance(structure, Mapping):
        return [found for key in sorted(structure) for found in values_in(structure[key])]
    if isinstance(structure, list | tuple):
        return [found for each in structure for found in values_in(each)]
    return []


def policy_name(config: Mapping[str, Any]) -> str:
    """`float32`, `mixed_float16`, ... of a layer's `dtype`, which may be a policy as an object; empty where none is given."""
    given = config.get("dtype")
    for _ in range(4):
        if isinstance(given, Mapping):
            inner = given.get("config")
            given = inner.get("name") or inner.get("source_name") or inner.get("dtype") if isinstance(inner, Mapping) else None
    return given if isinstance(given, str) else ""


def compute_type(config: Mapping[str, Any]) -> DType:
    """What a layer computes in: half precision is widened to float32, in which the targets' kernels compute."""
    return DType.FLOAT64 if policy_name(config) == "float64" else DType.FLOAT32


def is_half(config: Mapping[str, Any]) -> bool:
    """Whether Keras would compute in half precision."""
    return policy_name(config) in _HALF


def port_type(config: Config) -> DType:
    """The element type of an input layer."""
    name = policy_name(config) or "float32"
    try:
        return DType(name)
    except ValueError:
        raise config.wrong("dtype", "an element type") from None


def port_shape(config: Config, name: str) -> Shape:
    """The shape of an input layer; sizes that are open bear a name."""
    shape = config.get("batch_shape", config.get("batch_input_shape"))
    if shape is None and isinstance(config.get("input_shape"), list):
        shape = [None, *config["input_shape"]]
    if not isinstance(shape, list) or len(shape) > 16:
        raise config.wrong("batch_shape", "a list of sizes")
    if any(each is not None and (isinstance(each, bool) or not isinstance(each, int) or not 0 <= each < 2**31) for each in shape):
        raise config.wrong("batch_shape", "a list of sizes")
    return tuple((f"{name}.{axis}" if axis else "batch") if each is None else each for axis, each in enumerate(shape))
