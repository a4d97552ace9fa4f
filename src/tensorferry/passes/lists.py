"""Lists of tensors become plain tensors, one element behind the other, in loops and branches too: what every target can carry."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from tensorferry import ops
from tensorferry.ir import UNKNOWN_DIM, Dim, Graph, Node, Shape, Typed, Value
from tensorferry.ops.expansion import Expansion
from tensorferry.ops.sizes import Size, Sizes, plus, scalar, vector
from tensorferry.ops.tensor_lists import element_shape, merge_elements
from tensorferry.passes.rewriting import decline
from tensorferry.passes.shapes import infer_known
from tensorferry.tensor import DType

log = logging.getLogger(__name__)

_PASSING = frozenset({"Identity", "IdentityN", "StopGradient", "Snapshot"})
_GROWING = frozenset({"TensorListPushBack", "TensorListResize", "TensorListPopBack"})
_RESIZES = "resize_if_index_out_of_bounds"
"""Attribute of TensorListSetItem: an element behind the end makes the list as long as it must be."""

_MEETING = {"TensorListSetItem": 2, "TensorListPushBack": 1}
"""Ops that put one element into a list, and which input it is."""


def write_lists_as_tensors(graph: Graph) -> int:
    """Every list whose elements' shape can be told becomes a tensor; how many list ops went."""
    writer = _Writer(graph)
    writer.run({})
    return writer.clear()


class _Writer:
    """Goes through one graph in order and knows the tensor that each list has become."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._tensors: dict[Value, Value] = {}
        self._written: list[Node] = []
        self.count = 0

    def run(self, given: Mapping[Value, Value]) -> None:
        self._tensors.update(given)
        for node in tuple(self._graph.nodes):
            if node.op in _RULES:
                self._write(node)
            elif node.op in _PASSING:
                self._pass_on(node)
            elif node.op == "While":
                self._enter_loop(node)
            elif node.op in ("If", "Case"):
                self._enter_branches(node)

    def tensor(self, value: Value) -> Value | None:
        return self._tensors.get(value)

    def clear(self) -> int:
        """Take out the list ops, now that nobody reads them."""
        for node in reversed(self._written):
            if not any(self._graph.readers(value) for value in node.outputs):
                self._graph.remove(node)
                self.count += 1
        return self.count

    # -- list ops --------------------------------------------------------------------------------------------------

    def _write(self, node: Node) -> None:
        lists = [value for value in node.inputs if value.dtype is DType.VARIANT]
        if any(value not in self._tensors for value in lists):
            return
        results = _RULES[node.op](Expansion(self._graph, node), [self._tensors.get(value, value) for value in node.inputs])
        if results is None:
            decline(log, node, "the shape of the list's elements is not known")
            return
        for old, new in zip(node.outputs, results, strict=True):
            if old.dtype is DType.VARIANT:
                self._tensors[old] = new
            else:
                self._graph.replace_uses(old, new)
        self._written.append(node)

    def _pass_on(self, node: Node) -> None:
        for value, out in zip(node.inputs, node.outputs, strict=True):
            if value in self._tensors:
                if node.op == "IdentityN":
                    self._graph.replace_uses(out, value)
                    continue
                self._tensors[out] = self._tensors[value]
                self._written.append(node)

    # -- graphs inside nodes ---------------------------------------------------------------------------------------

    def _enter_loop(self, node: Node) -> None:
        places = [place for place, value in enumerate(node.inputs) if value in self._tensors]
        if any(value.dtype is DType.VARIANT and value not in self._tensors for value in node.inputs):
            return
        types = {place: self._tensors[node.inputs[place]].typed for place in places}
        growing = any(inner.op in _GROWING or inner.get(_RESIZES) for inner in _inside(node["body"]))
        for key in ("cond", "body"):
            nested: Graph = node[key]
            given = {}
            for place, typed in types.items():
                shape = None if typed.shape is None else ((UNKNOWN_DIM if growing else typed.shape[0]), *typed.shape[1:])
                given.update(_retype(nested, place, Typed(typed.dtype, shape)))
            self._write_inside(nested, given)
        self._hand_over(node, places, 0)
        for place in places:
            node.outputs[place].retype(node["body"].inputs[place].value.typed)
            self._tensors[node.outputs[place]] = node.outputs[place]

    def _enter_branches(self, node: Node) -> None:
        arguments = node.inputs[1:]
        places = [place for place, value in enumerate(arguments) if value in self._tensors]
        if any(value.dtype is DType.VARIANT and value not in self._tensors for value in arguments):
            return
        for _key, nested in node.graphs():
            given = {}
            for place in places:
                given.update(_retype(nested, place, self._tensors[arguments[place]].typed))
            self._write_inside(nested, given)
        self._hand_over(node, places, 1)
        branches = [nested for _key, nested in node.graphs()]
        for place, value in enumerate(node.outputs):
            if value.dtype is DType.VARIANT and all(each.outputs[place].value.dtype is not DType.VARIANT for each in branches):
                value.retype(infer_known(node)[place])
                self._tensors[value] = value

    def _write_inside(self, nested: Graph, given: Mapping[Value, Value]) -> None:
        writer = _Writer(nested)
        writer.run(given)
        for port in nested.outputs:
            port.value = writer.tensor(port.value) or port.value
        self.count += writer.clear()

    def _hand_over(self, node: Node, places: list[int], first: int) -> None:
        node.set_inputs([self._tensors[value] if place - first in places else value for place, value in enumerate(node.inputs)])
        ops.settle(node, infer_known)
        for value, typed in zip(node.outputs, infer_known(node), strict=True):
            if value.dtype is not DType.VARIANT:
                value.retype(typed)


def _retype(nested: Graph, place: int, typed: Typed) -> dict[Value, Value]:
    """A list that a graph is handed is the tensor itself there."""
    value = nested.inputs[place].value
    value.producer.attrs.update(dtype=typed.dtype, shape=typed.shape)
    value.retype(Typed(typed.dtype, typed.shape))
    return {value: value}


def _inside(graph: Graph) -> Iterator[Node]:
    for node in graph.nodes:
        yield node
        for _key, nested in node.graphs():
            yield from _inside(nested)


# -- rules -----------------------------------------------------------------------------------------------------------

Rule = Callable[[Expansion, list[Value]], list[Value] | None]
"""(where to add nodes, the inputs with tensors in the place of lists) -> what stands for the outputs; None where it cannot be."""


def _reserve(expansion: Expansion, inputs: list[Value]) -> list[Value] | None:
    count: Size = _number(inputs[1])
    return _zeros(expansion, count)


def _empty(expansion: Expansion, _inputs: list[Value]) -> list[Value] | None:
    return _zeros(expansion, 0)


def _zeros(expansion: Expansion, count: Size) -> list[Value] | None:
    """As many zeros of the list's element shape."""
    node = expansion.node
    shape = merge_elements(element_shape(node.inputs[0]), _shape_of_elements(node.outputs[0]))
    if shape is None:
        return None
    sizes: list[Size] = [count]
    for dim in shape:
        size = dim if isinstance(dim, int) else _measured(expansion, dim)
        if size is None:
            return None
        sizes.append(size)
    dtype: DType = node["element_dtype"]
    if dtype.width == 0:
        return None
    zero = b"" if dtype is DType.STRING else dtype.numpy.type(0)
    fill = expansion.constant(np.asarray(zero, dtype.numpy), "zero")
    made = expansion.make("Fill", vector(expansion, sizes), fill)
    known = [size if isinstance(size, int) else UNKNOWN_DIM for size in sizes[:1]]
    made.retype(Typed(made.dtype, (*(known if made.shape is None else made.shape[:1]), *shape)))
    return [made]


def _measured(expansion: Expansion, dim: str) -> Size | None:
    """A size known by name, measured on a tensor that has it and is there already."""
    if dim == UNKNOWN_DIM:
        return None
    for node in expansion.graph.nodes:
        if node is expansion.node:
            return None
        for value in node.outputs:
            if value.shape is not None and dim in value.shape and value.dtype not in (DType.VARIANT, DType.RESOURCE):
                return Sizes(expansion, value)[value.shape.index(dim)]
    return None


def _shape_of_elements(value: Value, depth: int = 0) -> Shape:
    """What the elements that are put into a list tell of their shape."""
    found: Shape = None
    for user in dict.fromkeys(value.users) if depth < 16 else ():
        at = user.inputs.index(value)
        if user.op in _MEETING:
            found = merge_elements(found, user.inputs[_MEETING[user.op]].shape)
            found = merge_elements(found, _shape_of_elements(user.outputs[0], depth + 1))
        elif user.op in _PASSING:
            found = merge_elements(found, _shape_of_elements(user.outputs[at], depth + 1))
        elif user.op == "TensorListScatterIntoExistingList":
            given = user.inputs[1].shape
            found = merge_elements(found, given[1:] if given else None)
            found = merge_elements(found, _shape_of_elements(user.outputs[0], depth + 1))
        elif user.op in ("TensorListResize", "TensorListPopBack"):
            found = merge_elements(found, _shape_of_elements(user.outputs[0], depth + 1))
        elif user.op in ("TensorListGetItem", "TensorListStack", "TensorListGather"):
            found = merge_elements(found, element_shape(user.inputs[-1]))
        for key, nested in user.graphs():
            place = at if user.op == "While" else at - 1
            if key != "cond" and 0 <= place < len(nested.inputs):
                found = merge_elements(found, _shape_of_elements(nested.inputs[place].value, depth + 1))
    return found


def _number(value: Value) -> Size:
    content = value.content
    return content[0] if content and isinstance(content[0], int) else value


def _from_tensor(_expansion: Expansion, inputs: list[Value]) -> list[Value] | None:
    return [inputs[0]]


def _set_item(expansion: Expansion, inputs: list[Value]) -> list[Value] | None:
    tensor, index, item = inputs
    if tensor.shape is None:
        return None
    if expansion.node.get(_RESIZES):
        behind = expansion.make("AddV2", index, np.asarray(1, np.int32))
        size = expansion.make("Maximum", scalar(expansion, Sizes(expansion, tensor)[0]), behind)
        tensor = _resized(expansion, tensor, size)
    shape = tensor.shape or ()
    piece = expansion.make("ExpandDims", item, np.asarray(0, np.int32))
    if piece.shape is None:
        piece.retype(Typed(piece.dtype, (1, *shape[1:])))
    start = vector(expansion, [_number(index), *[0] * (len(shape) - 1)])
    return [expansion.make("XlaDynamicUpdateSlice", tensor, piece, start)]


def _get_item(expansion: Expansion, inputs: list[Value]) -> list[Value] | None:
    return [expansion.make("GatherV2", inputs[0], inputs[1], np.asarray(0, np.int32))]


def _stack(expansion: Expansion, inputs: list[Value]) -> list[Value] | None:
    return [expansion.make("Identity", inputs[0])]


def _scatter(expansion: Expansion, inputs: list[Value]) -> list[Value] | None:
    """Elements at these places, zeros elsewhere."""
    tensor, indices = inputs[:2]
    if tensor.shape is None or len(inputs) < 4:
        return None
    sizes = Sizes(expansion, tensor).all()
    column = expansion.make("ExpandDims", indices, np.asarray(-1, np.int32))
    count = _number(inputs[3])
    if isinstance(count, int) and count < 0:
        count = sizes[0]
    return [expansion.make("ScatterNd", column, tensor, vector(expansion, [count, *sizes[1:]]))]


def _scatter_into(expansion: Expansion, inputs: list[Value]) -> list[Value] | None:
    """Elements in the places of others; places behind the end make the list as long as it must be."""
    tensor, elements, indices = inputs
    if tensor.shape is None or elements.shape is None:
        return None
    if _counts_up(indices, elements.shape[0]):
        return [_put_in_front(expansion, tensor, elements)]
    places, count = indices.content, tensor.shape[0]
    if places is None or not isinstance(count, int) or not all(isinstance(each, int) and each < count for each in places):
        last = expansion.make("Max", indices, np.asarray([0], np.int32))
        behind = expansion.make("AddV2", last, np.asarray(1, np.int32))
        size = expansion.make("Maximum", scalar(expansion, Sizes(expansion, tensor)[0]), behind)
        tensor = _resized(expansion, tensor, size)
    column = expansion.make("ExpandDims", indices, np.asarray(-1, np.int32))
    return [expansion.make("TensorScatterUpdate", tensor, column, elements)]


def _counts_up(indices: Value, count: Dim) -> bool:
    """Whether these are 0, 1, 2 ... and so many."""
    if isinstance(count, int):
        return indices.content == tuple(range(count))
    maker = indices.producer
    if maker.op != "Range" or count == UNKNOWN_DIM:
        return False
    return [value.content for value in maker.inputs] == [(0,), (count,), (1,)]


def _put_in_front(expansion: Expansion, tensor: Value, elements: Value) -> Value:
    """The elements, and behind them what the list holds beyond."""
    before, now = (value.shape[0] for value in (tensor, elements) if value.shape)
    if before == now != UNKNOWN_DIM or (isinstance(before, int) and isinstance(now, int) and before <= now) or before == 0:
        return elements
    rank = len(tensor.shape or ())
    sizes = Sizes(expansion, tensor)
    start = expansion.make("Minimum", scalar(expansion, sizes[0]), scalar(expansion, Sizes(expansion, elements)[0]))
    rest = expansion.make("Slice", tensor, vector(expansion, [start, *[0] * (rank - 1)]), np.full(rank, -1, np.int32))
    return expansion.make("ConcatV2", elements, rest, np.asarray(0, np.int32))


def _length(expansion: Expansion, inputs: list[Value]) -> list[Value] | None:
    return [scalar(expansion, Sizes(expansion, inputs[0])[0])] if inputs[0].shape else None


def _push(expansion: Expansion, inputs: list[Value]) -> list[Value] | None:
    tensor, item = inputs
    piece = expansion.make("ExpandDims", item, np.asarray(0, np.int32))
    return [expansion.make("ConcatV2", tensor, piece, np.asarray(0, np.int32))]


def _pop(expansion: Expansion, inputs: list[Value]) -> list[Value] | None:
    tensor = inputs[0]
    if tensor.shape is None:
        return None
    last = plus(expansion, Sizes(expansion, tensor)[0], -1)
    rank = len(tensor.shape)
    sizes = vector(expansion, [last, *[-1] * (rank - 1)])
    rest = expansion.make("Slice", tensor, np.zeros(rank, np.int32), sizes)
    return [rest, expansion.make("GatherV2", tensor, scalar(expansion, last), np.asarray(0, np.int32))]


def _resize(expansion: Expansion, inputs: list[Value]) -> list[Value] | None:
    tensor, count = inputs
    return None if tensor.shape is None else [_resized(expansion, tensor, scalar(expansion, _number(count)))]


def _resized(expansion: Expansion, tensor: Value, wanted: Value) -> Value:
    """Cut or filled up with zeros to this many elements: both, after one another."""
    rank, size = len(tensor.shape or ()), Sizes(expansion, tensor)[0]
    kept = expansion.make("Minimum", scalar(expansion, size), wanted)
    cut = expansion.make("Slice", tensor, np.zeros(rank, np.int32), vector(expansion, [kept, *[-1] * (rank - 1)]))
    more = expansion.make("Sub", wanted, kept)
    flat: list[Size] = [0, more, *[0] * (2 * rank - 2)]
    paddings = expansion.make("Reshape", vector(expansion, flat), np.asarray([rank, 2], np.int32))
    return expansion.make("Pad", cut, paddings)


def _concat(expansion: Expansion, inputs: list[Value]) -> list[Value] | None:
    """Elements of one shape, which is what plain tensors hold."""
    tensor = inputs[0]
    if tensor.shape is None or len(tensor.shape) < 2:
        return None
    sizes = Sizes(expansion, tensor)
    joined = expansion.make("Reshape", tensor, vector(expansion, [-1, *(sizes[axis] for axis in range(2, len(tensor.shape)))]))
    length = expansion.make("Cast", scalar(expansion, sizes[1]), DstT=DType.INT64)
    return [joined, expansion.make("Fill", vector(expansion, [sizes[0]]), length)]


def _split(expansion: Expansion, inputs: list[Value]) -> list[Value] | None:
    """Pieces of one length."""
    tensor, _shape, lengths = inputs
    content = lengths.content
    if tensor.shape is None or not content or len(set(content)) != 1 or not isinstance(content[0], int):
        return None
    sizes = Sizes(expansion, tensor).all()
    return [expansion.make("Reshape", tensor, vector(expansion, [len(content), content[0], *sizes[1:]]))]


def _shape(expansion: Expansion, inputs: list[Value]) -> list[Value] | None:
    if inputs[0].shape is None:
        return None
    kind: DType = expansion.node["shape_type"]
    sizes = vector(expansion, Sizes(expansion, inputs[0]).all()[1:])
    return [sizes if kind is DType.INT32 else expansion.make("Cast", sizes, DstT=kind)]


_RULES: Mapping[str, Rule] = {
    "TensorListReserve": _reserve,
    "EmptyTensorList": _empty,
    "TensorListFromTensor": _from_tensor,
    "TensorListSetItem": _set_item,
    "TensorListGetItem": _get_item,
    "TensorListStack": _stack,
    "TensorListGather": _get_item,
    "TensorListScatterV2": _scatter,
    "TensorListScatterIntoExistingList": _scatter_into,
    "TensorListLength": _length,
    "TensorListPushBack": _push,
    "TensorListPopBack": _pop,
    "TensorListResize": _resize,
    "TensorListConcatV2": _concat,
    "TensorListSplit": _split,
    "TensorListElementShape": _shape,
}
