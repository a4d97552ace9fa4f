"""Reshapes around matrix products: what follows them moves before them, and a layout they flatten goes into the weights."""

from __future__ import annotations

import logging

import numpy as np

from tensorferry import ops
from tensorferry.ir import Graph, Node, Value
from tensorferry.passes.affine import affine_of
from tensorferry.passes.constants import transposed
from tensorferry.passes.reshapes import RELABELLING, permutation_of, same_shape
from tensorferry.passes.rewriting import decline, discard, for_each_node, integers, made_by, substitute, take_over
from tensorferry.passes.transposes import BROADCASTING, UNARY
from tensorferry.tensor import ReshapedTensor, Tensor

log = logging.getLogger(__name__)

ELEMENTWISE = frozenset({"Relu", "Relu6", "ReluN1To1", "Elu", "LeakyRelu", "Sigmoid", "Tanh", "HardSwish"})


def sink_reshapes(graph: Graph) -> int:
    """A bias, scale or activation after the reshape of a product comes before it, where it can be fused.

    Dense layers on sequences are written so: reshape, product, reshape, bias, activation.
    """
    return for_each_node(graph, _sink)


def _sink(graph: Graph, node: Node) -> int:
    if not node.inputs or len(node.outputs) != 1:
        return 0
    for value in node.inputs:
        reshape = made_by(value, *RELABELLING)
        if reshape is None or graph.only_reader(value) is not node or not _is_product(graph, reshape.inputs[0], reshape):
            continue
        if node.output.shape != value.shape or not _works_on_channels(node, value, reshape.inputs[0]):
            return decline(log, node, "it cannot come before the reshape of a product")
        _swap(graph, node, reshape)
        return 1
    return 0


def _is_product(graph: Graph, value: Value, reader: Node) -> bool:
    spec = ops.find(value.producer.op)
    return spec is not None and spec.takes_bias and not value.producer.get("activation") and graph.only_reader(value) is reader


def _works_on_channels(node: Node, value: Value, flat: Value) -> bool:
    """Whether the node does the same before the reshape: per element, or per channel with the channels kept."""
    if node.op in ELEMENTWISE:
        return len(node.inputs) == 1
    if flat.shape is None or value.shape is None or not flat.shape or not value.shape:
        return False
    kept = isinstance(flat.shape[-1], int) and flat.shape[-1] == value.shape[-1]
    step = affine_of(node, value) if kept and node.op not in ("FusedBatchNormV3", "BatchNormWithGlobalNormalization") else None
    return step is not None and max(step.scale.size, step.shift.size) in (1, flat.shape[-1])


def _swap(graph: Graph, node: Node, reshape: Node) -> None:
    """reshape, node becomes node, reshape; the reshape takes the name and the readers, for its numbers are the old ones."""
    flat, shaped, output = reshape.inputs[0], reshape.output, node.output
    graph.replace_uses(output, shaped)
    constants = [_flat_constant(graph, node, value, flat) for value in node.inputs if value is not shaped]
    others = iter(constants)
    previous = [value.producer for value in node.inputs]
    node.set_inputs([flat if value is shaped else next(others) for value in node.inputs])
    reshape.set_input(0, output)
    output.retype(ops.infer(node)[0])
    name = node.name
    graph.rename(node, graph.unique_name(f"{name}/flat"))
    graph.rename(reshape, name)
    reshape.origin = node.origin + reshape.origin
    at, after = graph.nodes.index(reshape), graph.nodes.index(node)
    graph.nodes[at], graph.nodes[after] = node, reshape
    _bring_before(graph, node, at)
    discard(graph, *previous)


def _bring_before(graph: Graph, node: Node, position: int) -> None:
    """Constants that stood between the two must stand before the node, which moved up."""
    late = [value.producer for value in node.inputs if value.producer in graph.nodes[position:]]
    for producer in late:
        graph.nodes.remove(producer)
        graph.nodes.insert(position, producer)


def _flat_constant(graph: Graph, node: Node, value: Value, flat: Value) -> Value:
    """A per-channel constant in a rank that does not widen the flat value."""
    tensor = value.constant
    if tensor is None or flat.rank is None or len(tensor.shape) <= 1:
        return value
    shape = (tensor.size,) if tensor.size > 1 else ()
    return graph.constant(ReshapedTensor(tensor, shape), f"{value.producer.name}/flat", before=node, origin=value.producer.origin)


def lift_products(graph: Graph) -> int:
    """reshape to a matrix, products with constant weights, reshape back: products over the last axis, without the reshapes."""
    return for_each_node(graph, _lift)


def _lift(graph: Graph, before: Node) -> int:
    if before.op != "Reshape" or before.inputs[0].shape is None or len(before.inputs[0].shape) < 3:
        return 0
    source, flat = before.inputs[0], before.output.shape
    chain = _products_after(graph, before)
    if len(chain) < 2 or source.shape is None or flat is None or len(flat) != 2:
        return 0
    after, columns = chain[-1], chain[-2].output.shape
    if source.shape[-1] != flat[-1] or not isinstance(flat[-1], int):
        return decline(log, chain[0], "what is flattened before it is more than the outer axes")
    if columns is None or not same_shape((*source.shape[:-1], columns[-1]), after.output.shape):
        return decline(log, chain[0], "what is restored after it is not what was flattened before")
    made = before
    for node in chain[:-1]:
        inputs = [source if made is before else made.output, *node.inputs[1:]]
        op, attrs = node.op, node.attrs
        if op == "MatMul":
            op, attrs = "BatchMatMulV2", {"adj_x": False, "adj_y": bool(node.get("transpose_b"))}
        made = ops.add(graph, op, inputs, attrs, name=f"{node.name}/lifted", origin=node.origin, before=node)
    made.origin = made.origin + before.origin
    take_over(graph, made, after)
    return 1


def _products_after(graph: Graph, before: Node) -> list[Node]:
    """Products and activations behind a reshape, each the only reader of the one before, and the Reshape that ends them."""
    chain: list[Node] = []
    node = before
    while (reader := graph.only_reader(node.output)) is not None and not reader.get("activation"):
        product = reader.op == "MatMul" and not reader.get("transpose_a") and reader.inputs[1].constant is not None
        if reader.inputs[0] is not node.output or not (product or reader.op in (*ELEMENTWISE, "Reshape")):
            break
        chain.append(reader)
        if reader.op == "Reshape":
            return chain if any(each.op == "MatMul" for each in chain) else []
        node = reader
    return []


# -- flattened layouts ---------------------------------------------------------------------------------------------


def permute_flattened_weights(graph: Graph) -> int:
    """transpose, flatten, product with constant weights: the weights' rows are permuted instead, as a view."""
    return for_each_node(graph, _permute)


def _permute(graph: Graph, node: Node) -> int:
    if node.op != "MatMul" or node.get("transpose_a") or node.inputs[1].constant is None:
        return 0
    reshape = made_by(node.inputs[0], "Reshape")
    turn = made_by(reshape.inputs[0], "Transpose") if reshape is not None else None
    permutation = permutation_of(turn) if turn is not None else None
    if reshape is None or turn is None or permutation is None or permutation[0] != 0:
        return 0
    sizes = turn.output.shape
    if graph.only_reader(node.inputs[0]) is not node or graph.only_reader(turn.output) is not reshape:
        return decline(log, node, "others read the flattened or the transposed value")
    if sizes is None or any(isinstance(size, str) for size in sizes[1:]) or not _keeps_batch(reshape):
        return decline(log, node, "the flattened sizes are not known")
    inner = [size for size in sizes[1:] if isinstance(size, int)]
    weights = _permuted_rows(node.inputs[1].constant, inner, permutation, bool(node.get("transpose_b")))
    if weights is None:
        return decline(log, node, "the flattened sizes are not the rows of its weights")
    producer = node.inputs[1].producer
    node.set_input(1, graph.constant(weights, f"{producer.name}/permuted", before=node, origin=producer.origin))
    graph.rename(reshape, graph.unique_name(f"{reshape.name}/permuted"))
    reshape.origin = reshape.origin + turn.origin
    reshape.set_input(0, turn.inputs[0])
    discard(graph, turn, producer)
    return 1


def _keeps_batch(reshape: Node) -> bool:
    """[batch, ...] to [batch, product of the rest], said in a way that does not depend on the order of the rest."""
    shape, target = reshape.output.shape, integers(reshape.inputs[1])
    before = reshape.inputs[0].shape
    if shape is None or before is None or target is None or len(shape) != 2:
        return False
    inner = [size for size in before[1:] if isinstance(size, int)]
    return isinstance(shape[1], int) and shape[1] == int(np.prod(inner))


def _permuted_rows(weights: Tensor, sizes: list[int], permutation: list[int], turned: bool) -> Tensor | None:
    """Rows in the order of the value before the transpose. `sizes` are the transposed value's, without the batch."""
    rows, columns = reversed(weights.shape) if turned else weights.shape
    if rows != int(np.prod(sizes)):
        return None
    back = [int(axis) for axis in np.argsort(permutation)][1:]
    if turned:
        split = ReshapedTensor(weights, (columns, *sizes))
        return ReshapedTensor(transposed(split, [0, *back]), weights.shape)
    split = ReshapedTensor(weights, (*sizes, columns))
    return ReshapedTensor(transposed(split, [*(axis - 1 for axis in back), len(sizes)]), weights.shape)


# -- reshapes around one step --------------------------------------------------------------------------------------


MASKING = frozenset(
    {"Equal", "NotEqual", "Less", "LessEqual", "Greater", "GreaterEqual", "LogicalAnd", "LogicalOr", "LogicalNot", "Cast"}
)


def join_mask_reshapes(graph: Graph) -> int:
    """A reshape, a comparison or its like and another reshape are the step and one reshape."""
    return for_each_node(graph, lambda inner, node: _join(inner, node, MASKING))


def join_reshapes(graph: Graph) -> int:
    """The same of every step that looks at single elements. Not where reshapes around products can go altogether."""
    return for_each_node(graph, lambda inner, node: _join(inner, node, UNARY | BROADCASTING))


def _join(graph: Graph, node: Node, steps: frozenset[str]) -> int:
    if node.op not in RELABELLING or node.output.static_shape is None:
        return 0
    step = node.inputs[0].producer
    if step.op not in steps or graph.only_reader(node.inputs[0]) is not node or step.get("activation"):
        return 0
    variable = [value for value in step.inputs if value.constant is None or value.rank != 0]
    first = made_by(variable[0], *RELABELLING) if len(variable) == 1 else None
    if first is None or graph.only_reader(variable[0]) is not step:
        return 0
    inputs = [first.inputs[0] if value is variable[0] else value for value in step.inputs]
    origin = first.origin + step.origin
    made = ops.add(graph, step.op, inputs, step.attrs, name=f"{step.name}/first", origin=origin, before=node)
    shape = graph.constant(np.asarray(node.output.static_shape, np.int32), f"{node.name}/shape", before=node, origin=node.origin)
    substitute(graph, node, "Reshape", [made.output, shape], absorbed=[step])
    return 1
