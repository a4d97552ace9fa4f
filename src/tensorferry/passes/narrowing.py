"""Element types that a target lacks, narrowed by rule; each kind is told once."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from tensorferry import ops
from tensorferry.ir import Graph, Node, Typed
from tensorferry.ops.spec import OpSpec
from tensorferry.passes.rewriting import Pass, decline, insert_after
from tensorferry.passes.shapes import infer_known
from tensorferry.tensor import ArrayTensor, CastTensor, DType, Tensor

log = logging.getLogger(__name__)

FLOATS = {DType.FLOAT64: DType.FLOAT32, DType.FLOAT16: DType.FLOAT32, DType.BFLOAT16: DType.FLOAT32}
INTEGERS = dict.fromkeys((DType.INT64, DType.INT8, DType.INT16, DType.UINT8, DType.UINT16, DType.UINT32, DType.UINT64), DType.INT32)
COMPLEX = {DType.COMPLEX128: DType.COMPLEX64}
RULES: Mapping[str, Mapping[DType, DType]] = {"tflite": FLOATS | COMPLEX, "tfjs": FLOATS | COMPLEX | INTEGERS}
"""Target -> what becomes what. TensorFlow.js computes in float32, int32, bool, string and complex64 alone."""

LOSSES = {
    DType.INT64: "; of larger numbers the lower 32 bits are left",
    DType.UINT64: "; of larger numbers the lower 32 bits are left, and read as signed",
    DType.UINT32: "; numbers from 2147483648 on are carried by their bits, and leave the model as negative ones",
}
"""What a narrowing may do to numbers, told with it."""

INT32 = np.iinfo(np.int32)


def narrow_types(target: str) -> Pass:
    """The pass that gives every value and constant a type the target has."""
    rules = RULES[target]

    def narrow(graph: Graph) -> int:
        """Element types the target lacks are narrowed, with a notice."""
        return _narrow(graph, rules, target)

    narrow.__name__ = "narrow_types"
    return narrow


def _narrow(graph: Graph, rules: Mapping[DType, DType], target: str) -> int:
    told: Counter[tuple[DType, DType]] = Counter()
    changes = _expand_early(graph, rules)
    for node in tuple(graph.nodes):
        wrapped = _wrapped_range(node, rules)
        changes += sum(_narrow(nested, rules, target) for _key, nested in node.graphs())
        changes += _narrow_node(graph, node, rules, told)
        if wrapped is not None:
            _wrap_around(graph, node, wrapped)
    for (old, new), count in told.items():
        plural = "s" if count != 1 else ""
        graph.notices.append(f"{count} {old} value{plural} became {new}, because {target} computes in {new}{LOSSES.get(old, '')}")
    return changes


EXPANSIONS = 4
"""Rounds in which ops are expanded before types are narrowed: into others of their kind, at most."""


def _expand_early(graph: Graph, rules: Mapping[DType, DType]) -> int:
    """Ops that ask what type a number was stored in, before that is forgotten; what comes of them may hold such ops again."""
    changes = 0
    for _ in range(EXPANSIONS):
        found = [
            (node, spec) for node in graph.nodes if (spec := ops.find(node.op)) is not None and _hangs_on_types(node, spec, rules)
        ]
        expanded = sum(spec.expand(graph, node) for node, spec in found if spec.expand is not None)
        changes += expanded
        if not expanded:
            break
    return changes


def _hangs_on_types(node: Node, spec: OpSpec, rules: Mapping[DType, DType]) -> bool:
    if not spec.by_width:
        return False
    types = rules.keys() if spec.by_width is True else rules.keys() & spec.by_width
    return any(value.dtype in types for value in (*node.inputs, *node.outputs))


def _narrow_node(graph: Graph, node: Node, rules: Mapping[DType, DType], told: Counter[tuple[DType, DType]]) -> int:
    if node.op == "Const":
        return _narrow_constant(graph, node, rules, told)
    attrs = {key: _narrowed(attribute, rules) for key, attribute in node.attrs.items()}
    changed = any(attrs[key] is not node.attrs[key] for key in attrs)
    node.attrs = attrs
    before, inferred = [value.dtype for value in node.outputs], infer_known(node)
    for value, typed in zip(node.outputs, inferred, strict=True):
        wanted = rules.get(typed.dtype, typed.dtype)
        if wanted is not value.dtype:
            value.retype(Typed(wanted, value.shape, value.content))
    for value, typed in zip(node.outputs, infer_known(node), strict=True):
        if typed.dtype is not value.dtype:  # an op that has no other type, and which the target has not
            value.retype(Typed(typed.dtype, value.shape, value.content))
    for old, value in zip(before, node.outputs, strict=True):
        if old in rules and value.dtype is not old:
            told[old, rules[old]] += 1
            changed = True
    return int(changed)


WRAPPED = (DType.INT8, DType.INT16, DType.UINT8, DType.UINT16)
"""Types whose numbers the wider int32 can be brought back into after an operation that may leave their range."""


def _wrapped_range(node: Node, rules: Mapping[DType, DType]) -> tuple[int, int] | None:
    """(smallest, count) of the numbers the node's results must wrap around in, if they may leave them in the target's type."""
    spec = ops.find(node.op)
    dtype = node.outputs[0].dtype if len(node.outputs) == 1 else DType.UNKNOWN
    if spec is None or not spec.wraps or dtype not in WRAPPED or dtype not in rules:
        return None
    limits = np.iinfo(dtype.value)
    low, high = _bounds(node)
    if limits.min <= low and high <= limits.max:
        return None
    return int(limits.min), int(limits.max) - int(limits.min) + 1


def _bounds(node: Node) -> tuple[float, float]:
    """What is known of the least and largest result: of casts of small types, and of numbers that were clipped before."""
    if node.op != "Cast":
        return -np.inf, np.inf
    value, low, high = node.inputs[0], -np.inf, np.inf
    if value.dtype is DType.BOOL:
        return 0, 1
    if value.dtype.is_integer:
        limits = np.iinfo(value.dtype.value)
        low, high = limits.min, limits.max
    while (maker := value.producer).op in ("Minimum", "Maximum", "Round", "Floor", "Ceil", "Relu", "Relu6", "ClipByValue"):
        limit = [float(each.constant.array()) for each in maker.inputs[1:] if each.constant is not None and not each.constant.shape]
        if maker.op in ("Relu", "Relu6"):
            low, high = max(low, 0), min(high, 6 if maker.op == "Relu6" else high)
        elif maker.op == "ClipByValue" and len(limit) == 2:
            low, high = max(low, limit[0]), min(high, limit[1])
        elif maker.op in ("Minimum", "Maximum") and limit:
            low, high = (low, min(high, limit[0])) if maker.op == "Minimum" else (max(low, limit[0]), high)
        value = maker.inputs[0]
    return (low, high) if low <= high else (-np.inf, np.inf)


def _wrap_around(graph: Graph, node: Node, wrapped: tuple[int, int]) -> None:
    """(x - smallest) mod count + smallest, under the node's name."""
    smallest, count = wrapped
    following = insert_after(graph, node)
    name, value = node.name, node.output
    readers, ports = tuple(value.users), [port for port in graph.outputs if port.value is value]
    graph.rename(node, graph.unique_name(f"{name}/unbounded"))
    made = value
    for op, number in (("Sub", smallest), ("FloorMod", count), ("AddV2", smallest)):
        if number:
            operand = graph.constant(np.array(number, np.int32), f"{name}/{op}/number", before=following, origin=node.origin)
            made = ops.add(graph, op, (made, operand), name=f"{name}/{op}", origin=node.origin, before=following).output
    graph.rename(made.producer, name)
    for reader in dict.fromkeys(readers):
        reader.set_inputs([made if each is value else each for each in reader.inputs])
    for port in ports:
        port.value = made


def _narrowed(attribute: Any, rules: Mapping[DType, DType]) -> Any:
    if isinstance(attribute, DType):
        return rules.get(attribute, attribute)
    if isinstance(attribute, list | tuple) and any(isinstance(each, DType) and each in rules for each in attribute):
        return [rules.get(each, each) if isinstance(each, DType) else each for each in attribute]
    return attribute


def _narrow_constant(graph: Graph, node: Node, rules: Mapping[DType, DType], told: Counter[tuple[DType, DType]]) -> int:
    tensor: Tensor = node["value"]
    wanted = rules.get(tensor.dtype)
    if wanted is None:
        return 0
    if tensor.dtype.is_integer and tensor.dtype is not DType.UINT32 and not _fits(tensor):  # of which the bits stay
        tensor = _clipped(graph, node, tensor)
    node.attrs["value"] = CastTensor(tensor, wanted)
    content = node.output.content
    told[tensor.dtype, wanted] += 1
    node.output.retype(Typed(wanted, node.output.shape, ops.infer(node)[0].content if content is not None else None))
    return 1


def _fits(tensor: Tensor) -> bool:
    """Whether all elements lie in int32."""
    if tensor.dtype not in (DType.INT64, DType.UINT32, DType.UINT64):
        return True
    for piece in tensor.chunks():
        elements = np.frombuffer(piece, tensor.dtype.numpy)
        if elements.size and (int(elements.min()) < INT32.min or int(elements.max()) > INT32.max):
            return False
    return True


def _clipped(graph: Graph, node: Node, tensor: Tensor) -> Tensor:
    """Bounds of slices say `to the end` by the largest number there is; any other number out of range is a loss that is told."""
    bounds = all(user.op in ("StridedSlice", "Slice", "Range") for user in node.output.users)
    if not bounds:
        decline(log, node, "some of its numbers do not fit into int32")
        graph.notices.append(f"constant '{node.name}' holds {tensor.dtype} numbers beyond int32, which have been cut to its ends")
    return ArrayTensor(np.clip(tensor.array(), INT32.min, INT32.max), tensor.dtype)
