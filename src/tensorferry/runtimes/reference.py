"""The reference runtime: the IR itself, evaluated node by node in numpy.

It runs the graph as it was read, before any pass, so that a wrong pass shows as surely as a wrong lowering.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping

from tensorferry import ops
from tensorferry.errors import FerryError, NodeError, OptionError, SourceError
from tensorferry.ir import Graph, Node, Shape, Value, format_shape
from tensorferry.tensor import Array, DType, Tensor

Observer = Callable[[Value, Array], None]


def evaluate_graph(graph: Graph, inputs: Mapping[str, Array], observe: Observer | None = None) -> dict[str, Array]:
    """The outputs by public name, in order. `inputs` by public name; `observe` sees every value as it is computed.

    An intermediate is dropped after its last reader, and pages of mapped weights are given back after use, so memory follows
    the largest layer rather than the model. Raises NodeError for a node that cannot be evaluated.
    """
    arrays = _bind_inputs(graph, inputs)
    needed = _needed(graph, arrays)
    pending = {port.value: 1 for port in graph.outputs}  # how many will still read a value
    for node in needed:
        for value in node.inputs:
            pending[value] = pending.get(value, 0) + 1
    for node in graph.nodes:
        if node not in needed or node.op == "Const":  # a constant is fetched by its reader, and held only while that one runs
            continue
        results = _evaluate_node(node, arrays)
        _drop_read(node, arrays, pending)
        for value, array in zip(node.outputs, results, strict=True):
            if value in pending:
                arrays[value] = array
            if observe is not None:
                observe(value, array)
    return {port.name: _fetch(port.value, arrays) for port in graph.outputs}


def can_evaluate(graph: Graph) -> bool:
    """Whether numpy knows how to compute every op that the outputs need."""
    needed = _needed(graph, {port.value for port in graph.inputs})
    specs = [ops.find(node.op) for node in needed]
    return all(spec is not None and spec.evaluate is not None for spec in specs)


def _bind_inputs(graph: Graph, inputs: Mapping[str, Array]) -> dict[Value, Array]:
    arrays: dict[Value, Array] = {}
    for port in graph.inputs:
        if port.name not in inputs:
            wanted = f"give an array of shape {format_shape(port.value.shape)}"
            raise OptionError(f"no values were given for input '{port.name}'", remedy=wanted)
        array = inputs[port.name]
        if not _fits(array, port.value.shape):
            shapes = f"shape {format_shape(port.value.shape)}, the values given have {format_shape(array.shape)}"
            raise OptionError(f"input '{port.name}' has {shapes}")
        arrays[port.value] = array
    return arrays


def _needed(graph: Graph, given: Container[Value]) -> set[Node]:
    """The nodes to run: those that the outputs need, not looking behind values that are given."""
    waiting = [port.value for port in graph.outputs]
    needed: set[Node] = set()
    while waiting:
        value = waiting.pop()
        if value not in given and value.producer not in needed:
            needed.add(value.producer)
            waiting.extend(value.producer.inputs)
    return needed


def _fits(array: Array, shape: Shape) -> bool:
    if shape is None:
        return True
    pairs = zip(shape, array.shape, strict=False)
    return len(shape) == array.ndim and all(isinstance(dim, str) or dim == size for dim, size in pairs)


def _evaluate_node(node: Node, arrays: Mapping[Value, Array]) -> tuple[Array, ...]:
    try:
        return ops.evaluate(node, [_fetch(value, arrays) for value in node.inputs])
    except (NodeError, SourceError):  # of a SourceError the node is not the cause
        raise
    except FerryError as error:
        raise NodeError(node.name, node.op, error.what, remedy=error.remedy) from error
    except (ValueError, IndexError, TypeError, KeyError, ZeroDivisionError, OverflowError, MemoryError) as error:
        raise NodeError(node.name, node.op, f"the reference evaluation failed: {error}") from error


def _fetch(value: Value, arrays: Mapping[Value, Array]) -> Array:
    if value in arrays:
        return arrays[value]
    tensor = value.constant
    if tensor is None:
        raise NodeError(value.producer.name, value.producer.op, "nothing computed this value")
    return constant_array(tensor)


def constant_array(tensor: Tensor) -> Array:
    """The elements of a constant as the ops compute with them."""
    array = tensor.array()
    return array.astype(bool) if tensor.dtype is DType.BOOL and array.dtype != bool else array


def _drop_read(node: Node, arrays: dict[Value, Array], pending: dict[Value, int]) -> None:
    for value in node.inputs:
        pending[value] -= 1
        if not pending[value]:
            arrays.pop(value, None)
        tensor = value.constant
        if tensor is not None:
            tensor.release()
