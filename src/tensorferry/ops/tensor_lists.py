"""Lists of tensors (TensorList*): what they hold, for the reference. Targets know plain tensors: `passes/lists.py` writes them so.

The arrays of TensorFlow 1 (TensorArrayV3 ...) are read as lists too. Semantics: tensorflow/core/kernels/list_kernels.cc.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tensorferry.ir import UNKNOWN_DIM, Dim, Node, Shape, Typed, Value
from tensorferry.ops.spec import Declined, OpSpec
from tensorferry.tensor import Array, DType


def list_of(shape: Shape) -> Typed:
    """The type of a list; its content is the shape of the elements, as far as it is known: what is put in is what comes out."""
    return Typed(DType.VARIANT, (), shape)


def merge_elements(one: Shape, other: Shape) -> Shape:
    """What both say of the elements' shape: a number before a name, a name before nothing, nothing where they differ."""
    if one is None or other is None or len(one) != len(other):
        return other if one is None else one
    return tuple(_better(a, b) for a, b in zip(one, other, strict=True))


def _better(a: Dim, b: Dim) -> Dim:
    if isinstance(a, int) and isinstance(b, int) and a != b:
        return UNKNOWN_DIM
    if isinstance(a, int):
        return a
    return b if isinstance(b, int) or a == UNKNOWN_DIM else a


@dataclass(frozen=True)
class Elements:
    """A list's elements; None was never set and counts as zeros of the list's element shape."""

    items: tuple[Array | None, ...]
    shape: tuple[int, ...] | None


def _pack(items: Sequence[Array | None], shape: tuple[int, ...] | None) -> Array:
    """As numpy carries it: one object."""
    packed = np.empty((), object)
    packed[()] = Elements(tuple(items), shape)
    return packed


def _unpack(array: Array) -> Elements:
    held = array[()] if isinstance(array, np.ndarray) and array.ndim == 0 else None
    if not isinstance(held, Elements):
        raise Declined("it is handed something else than a list")
    return held


def element_shape(value: Value) -> Shape:
    """The shape that an operand of the op describes; -1 alone is an unknown rank."""
    if value.content is None:
        size = value.shape[0] if value.shape else None
        return tuple([UNKNOWN_DIM] * size) if isinstance(size, int) else None
    if value.shape == ():
        return None
    return tuple(UNKNOWN_DIM if isinstance(dim, int) and dim < 0 else dim for dim in value.content)


def _known(shape: Array) -> tuple[int, ...] | None:
    sizes = tuple(int(each) for each in np.reshape(shape, -1))
    return None if np.ndim(shape) == 0 or any(size < 0 for size in sizes) else sizes


def _value_of(elements: Elements, index: int, dtype: DType, wanted: tuple[int, ...] | None) -> Array:
    if not 0 <= index < len(elements.items):
        raise Declined(f"element {index} of a list of {len(elements.items)} is asked for")
    item = elements.items[index]
    if item is not None:
        return item
    others = (each.shape for each in elements.items if each is not None)
    shape = elements.shape or wanted or next(others, None)
    if shape is None:
        raise Declined(f"element {index} of a list was never set, and its shape is not known")
    return np.zeros(shape, dtype.numpy)


# -- types ---------------------------------------------------------------------------------------------------------


def _infer_made(node: Node) -> list[Typed]:
    return [list_of(element_shape(node.inputs[0]))]


def _infer_filled(node: Node) -> list[Typed]:
    """From the elements of a tensor."""
    shape = node.inputs[0].shape
    wanted = element_shape(node.inputs[1 if len(node.inputs) == 2 else 2])
    return [list_of(merge_elements(shape[1:] if shape else None, wanted))]


def _infer_met(node: Node) -> list[Typed]:
    """A list with one more element, or another one in the place of one."""
    return [list_of(merge_elements(node.inputs[0].content, node.inputs[-1].shape))]


def _infer_same(node: Node) -> list[Typed]:
    return [list_of(node.inputs[0].content)]


def _infer_scattered(node: Node) -> list[Typed]:
    shape = node.inputs[1].shape
    return [list_of(merge_elements(node.inputs[0].content, shape[1:] if shape else None))]


def _infer_split(node: Node) -> list[Typed]:
    return [list_of(element_shape(node.inputs[1]))]


def _infer_item(node: Node) -> list[Typed]:
    return [Typed(node["element_dtype"], merge_elements(element_shape(node.inputs[2]), node.inputs[0].content))]


def _stacked(node: Node, count: Dim) -> list[Typed]:
    shape = merge_elements(element_shape(node.inputs[-1]), node.inputs[0].content)
    return [Typed(node["element_dtype"], None if shape is None else (count, *shape))]


def _infer_stack(node: Node) -> list[Typed]:
    count = node.get("num_elements", -1)
    return _stacked(node, count if count >= 0 else UNKNOWN_DIM)


def _infer_gather(node: Node) -> list[Typed]:
    indices = node.inputs[1].shape
    return _stacked(node, indices[0] if indices else UNKNOWN_DIM)


def _infer_pop(node: Node) -> list[Typed]:
    content = merge_elements(element_shape(node.inputs[1]), node.inputs[0].content)
    return [list_of(content), Typed(node["element_dtype"], content)]


def _infer_concat(node: Node) -> list[Typed]:
    shape = element_shape(node.inputs[1]) if len(node.inputs) > 1 else node.get("element_shape")
    shape = merge_elements(shape, node.inputs[0].content)
    return [
        Typed(node["element_dtype"], None if shape is None else (UNKNOWN_DIM, *shape[1:])),
        Typed(node["_lengths_type"], (UNKNOWN_DIM,)),
    ]


# -- evaluation ----------------------------------------------------------------------------------------------------


def _reserve(_node: Node, shape: Array, count: Array) -> Array:
    return _pack([None] * int(count), _known(shape))


def _empty(_node: Node, shape: Array, _most: Array) -> Array:
    return _pack([], _known(shape))


def _from_tensor(_node: Node, tensor: Array, shape: Array) -> Array:
    return _pack(list(tensor), _known(shape) or tensor.shape[1:])


def _set_item(_node: Node, packed: Array, index: Array, item: Array) -> Array:
    elements, at = _unpack(packed), int(index)
    items = list(elements.items)
    if at < 0:
        raise Declined(f"element {at} of a list is set")
    items += [None] * (at + 1 - len(items))  # `resize_if_index_out_of_bounds`, and arrays of growing size
    items[at] = item
    return _pack(items, elements.shape)


def _get_item(node: Node, packed: Array, index: Array, shape: Array) -> Array:
    return _value_of(_unpack(packed), int(index), node["element_dtype"], _known(shape))


def _stack(node: Node, packed: Array, shape: Array) -> Array:
    return _gathered(node, _unpack(packed), range(len(_unpack(packed).items)), shape)


def _gather(node: Node, packed: Array, indices: Array, shape: Array) -> Array:
    return _gathered(node, _unpack(packed), [int(each) for each in indices], shape)


def _gathered(node: Node, elements: Elements, places: Sequence[int], shape: Array) -> Array:
    dtype, wanted = node["element_dtype"], _known(shape)
    if not places:
        return np.zeros((0, *(elements.shape or wanted or ())), dtype.numpy)
    return np.stack([_value_of(elements, each, dtype, wanted) for each in places])


def _scatter(_node: Node, tensor: Array, indices: Array, shape: Array, *count: Array) -> Array:
    size = max([int(each) for each in indices], default=-1) + 1
    size = max(size, int(count[0])) if count else size
    return _scattered(_pack([None] * size, _known(shape) or tensor.shape[1:]), tensor, indices)


def _scatter_into(_node: Node, packed: Array, tensor: Array, indices: Array) -> Array:
    return _scattered(packed, tensor, indices)


def _scattered(packed: Array, tensor: Array, indices: Array) -> Array:
    elements = _unpack(packed)
    items = list(elements.items)
    for index, item in zip(indices.tolist(), tensor, strict=True):
        items += [None] * (index + 1 - len(items))
        items[index] = item
    return _pack(items, elements.shape)


def _length(_node: Node, packed: Array) -> Array:
    return np.asarray(len(_unpack(packed).items), np.int32)


def _push(_node: Node, packed: Array, item: Array) -> Array:
    elements = _unpack(packed)
    return _pack([*elements.items, item], elements.shape)


def _pop(node: Node, packed: Array, shape: Array) -> tuple[Array, ...]:
    elements = _unpack(packed)
    last = _value_of(elements, len(elements.items) - 1, node["element_dtype"], _known(shape))
    return _pack(elements.items[:-1], elements.shape), last


def _resize(_node: Node, packed: Array, size: Array) -> Array:
    elements, count = _unpack(packed), int(size)
    return _pack([*elements.items[:count], *[None] * (count - len(elements.items))], elements.shape)


def _concat(node: Node, packed: Array, *shape: Array) -> tuple[Array, ...]:
    elements = _unpack(packed)
    items = [_value_of(elements, each, node["element_dtype"], None) for each in range(len(elements.items))]
    lengths = np.asarray([len(item) for item in items], np.int64)
    wanted = tuple(shape[0].tolist()) if shape and shape[0].ndim else ()
    rest = (elements.shape or wanted)[1:]
    return (np.concatenate(items) if items else np.zeros((0, *rest), node["element_dtype"].numpy)), lengths


def _split(_node: Node, tensor: Array, _shape: Array, lengths: Array) -> Array:
    ends = np.cumsum(lengths)
    return _pack([tensor[end - size : end] for end, size in zip(ends.tolist(), lengths.tolist(), strict=True)], None)


def _shape_of(node: Node, packed: Array) -> Array:
    shape = _unpack(packed).shape
    return np.asarray(-1 if shape is None else shape, node["shape_type"].numpy)


def _infer_length(_node: Node) -> list[Typed]:
    return [Typed(DType.INT32, ())]


_TYPED = {"element_dtype": DType.FLOAT32}

SPECS = (
    OpSpec(name="TensorListReserve", attrs=_TYPED, infer=_infer_made, evaluate=_reserve),
    OpSpec(name="EmptyTensorList", attrs=_TYPED, infer=_infer_made, evaluate=_empty),
    OpSpec(name="TensorListFromTensor", attrs=_TYPED, infer=_infer_filled, evaluate=_from_tensor),
    OpSpec(
        name="TensorListSetItem",
        attrs={**_TYPED, "resize_if_index_out_of_bounds": False},
        infer=_infer_met,
        evaluate=_set_item,
    ),
    OpSpec(name="TensorListGetItem", attrs=_TYPED, infer=_infer_item, evaluate=_get_item),
    OpSpec(name="TensorListStack", attrs={**_TYPED, "num_elements": -1}, infer=_infer_stack, evaluate=_stack),
    OpSpec(name="TensorListGather", attrs=_TYPED, infer=_infer_gather, evaluate=_gather),
    OpSpec(name="TensorListScatterV2", aliases=("TensorListScatter",), attrs=_TYPED, infer=_infer_filled, evaluate=_scatter),
    OpSpec(name="TensorListScatterIntoExistingList", attrs=_TYPED, infer=_infer_scattered, evaluate=_scatter_into),
    OpSpec(name="TensorListLength", infer=_infer_length, evaluate=_length),
    OpSpec(name="TensorListPushBack", attrs=_TYPED, infer=_infer_met, evaluate=_push),
    OpSpec(name="TensorListPopBack", attrs=_TYPED, infer=_infer_pop, evaluate=_pop),
    OpSpec(name="TensorListResize", infer=_infer_same, evaluate=_resize),
    OpSpec(
        name="TensorListConcatV2",
        aliases=("TensorListConcat",),
        attrs={**_TYPED, "_lengths_type": DType.INT64},  # not TensorFlow's: what a target that lacks int64 makes of it
        infer=_infer_concat,
        evaluate=_concat,
    ),
    OpSpec(name="TensorListSplit", attrs=_TYPED, infer=_infer_split, evaluate=_split),
    OpSpec(
        name="TensorListElementShape",
        attrs={"shape_type": DType.INT32},
        infer=lambda node: [Typed(node["shape_type"], None)],
        evaluate=_shape_of,
    ),
)
