"""What feeds a model in TensorFlow: iterators, queues and parsers of serialised examples. What they hand on becomes inputs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from tensorferry.ir import UNKNOWN_DIM, Graph, Node, Shape, Typed, Value
from tensorferry.tensor import DType

_EXAMPLES = frozenset({"ParseExample", "ParseExampleV2", "ParseSingleExample", "ParseSequenceExample", "ParseSequenceExampleV2"})
_ITERATORS = frozenset({"IteratorGetNext", "IteratorGetNextSync", "OptionalGetValue"})
_QUEUES = frozenset(f"QueueDequeue{many}{version}" for many in ("", "Many", "UpTo") for version in ("", "V2"))

FEEDS = _EXAMPLES | _ITERATORS | _QUEUES
"""Ops whose outputs are a model's inputs."""

_FROM = {
    **dict.fromkeys(_EXAMPLES, "parses serialised examples"),
    **dict.fromkeys(_ITERATORS, "takes the next element of a data set"),
    **dict.fromkeys(_QUEUES, "takes elements of a queue"),
}


def feeds_among(graph: Graph, needed: Collection[Node]) -> list[tuple[str, Value]]:
    """(public name, value) of what feeds hand to the `needed` nodes, each typed as well as the feed tells; told in a notice."""
    found: list[tuple[str, Value]] = []
    for node in graph.nodes:
        if node not in needed or node.op not in FEEDS:
            continue
        shapes, names = _shapes_of(node), _names_of(node)
        used = [value for value in node.outputs if any(user in needed for user in value.users)]
        for value in used:
            if value.shape is None and value.index in shapes:
                value.retype(Typed(value.dtype, shapes[value.index]))
            plain = node.name if not value.index else f"{node.name}_{value.index}"
            name = names.get(value.index, plain)
            found.append((name if all(name != other for other, _value in found) else plain, value))
        told = ", ".join(f"'{name}'" for name, value in found if value.producer is node)
        graph.notices.append(f"'{node.name}' {_FROM[node.op]}, which is left out: what it gives are inputs, {told}")
    return found


def _shapes_of(node: Node) -> Mapping[int, Shape]:
    if node.op in _ITERATORS:
        return dict(enumerate(_shapes(node.get("output_shapes"))))
    if node.op in _QUEUES:
        queue = _queue_of(node)
        first: Shape = () if node.op.removesuffix("V2") == "QueueDequeue" else (UNKNOWN_DIM,)
        shapes = _shapes(queue.get("shapes")) if queue is not None else []
        return {place: None if shape is None or first is None else (*first, *shape) for place, shape in enumerate(shapes)}
    start, batch = _dense_start(node), () if node.op == "ParseSingleExample" else (UNKNOWN_DIM,)
    return {start + place: None if shape is None else (*batch, *shape) for place, shape in enumerate(_shapes(_dense_shapes(node)))}


def _dense_shapes(node: Node) -> object:
    return node.get("dense_shapes") if node.op in ("ParseExample", "ParseExampleV2", "ParseSingleExample") else None


def _shapes(listed: object) -> list[Shape]:
    return [each if isinstance(each, tuple) else None for each in listed] if isinstance(listed, list | tuple) else []


def _queue_of(node: Node) -> Node | None:
    queue = node.inputs[0].producer if node.inputs else None
    while queue is not None and queue.op in ("Identity", "RefIdentity") and queue.inputs:
        queue = queue.inputs[0].producer
    return queue


def _dense_start(node: Node) -> int:
    """The first output that holds dense values: sparse ones have three each, before."""
    for key in ("Nsparse", "num_sparse"):
        if isinstance(count := node.get(key), int):
            return 3 * count
    return 0


def _names_of(node: Node) -> Mapping[int, str]:
    """Features have names: attributes, one constant each, or all in one."""
    start = _dense_start(node)
    if node.op == "ParseSingleExample":
        listed = node.get("dense_keys") or []
        return {start + place: name for place, name in enumerate(listed) if isinstance(name, str)}
    rule = _KEYS.get(node.op)
    return {start + place: name for place, name in enumerate(rule(node) if rule is not None else [])}


def _keys_one_by_one(node: Node) -> list[str]:
    sparse = int(node.get("Nsparse") or 0)
    return [name for value in node.inputs[2 + sparse : 2 + sparse + int(node.get("Ndense") or 0)] for name in _texts(value)]


def _keys_together(node: Node) -> list[str]:
    return _texts(node.inputs[3]) if len(node.inputs) > 3 else []


_KEYS: Mapping[str, Callable[[Node], list[str]]] = {"ParseExample": _keys_one_by_one, "ParseExampleV2": _keys_together}


def _texts(value: Value) -> list[str]:
    tensor = value.constant
    if tensor is None or tensor.dtype is not DType.STRING or tensor.size > 1 << 16:
        return []
    return [text.decode("utf-8", "replace") for text in tensor.array().reshape(-1)]
