"""Every op the project knows. Each module of this package owns a family and lists its entries in SPECS; they meet here, once."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from tensorferry.errors import GraphError, NodeError
from tensorferry.ir import Graph, Node, Origin, Typed, Value
from tensorferry.ops.spec import MISFITS, Declined, OpSpec
from tensorferry.tensor import Array, DType


@cache
def registry() -> Mapping[str, OpSpec]:
    """Name or alias -> spec, gathered from every module of the package."""
    specs: dict[str, OpSpec] = {}
    for module in pkgutil.iter_modules(__path__):
        for spec in getattr(importlib.import_module(f"{__name__}.{module.name}"), "SPECS", ()):
            for name in (spec.name, *spec.aliases):
                if name in specs:
                    raise GraphError(f"op '{name}' is described twice: by {specs[name].name} and {spec.name}")
                specs[name] = spec
    return specs


def find(op: str) -> OpSpec | None:
    return registry().get(op)


def all_specs() -> Iterator[OpSpec]:
    """Each spec once, by name."""
    yield from sorted({spec.name: spec for spec in registry().values()}.values(), key=lambda spec: spec.name)


def canonical(op: str, attrs: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The op's newest name, and its attributes with defaults filled in."""
    spec = find(op)
    return (op, dict(attrs)) if spec is None else (spec.name, {**spec.attrs, **attrs})


def infer(node: Node) -> Sequence[Typed]:
    """Output types by the op's own rule. An op nobody knows keeps the types it was read with."""
    spec = find(node.op)
    if spec is None:
        return [value.typed for value in node.outputs]
    try:
        _check_count(spec, node)
        return spec.infer(node)
    except Declined as refusal:
        raise NodeError(node.name, node.op, refusal.why, remedy=refusal.remedy) from refusal
    except MISFITS as error:
        raise NodeError(node.name, node.op, f"its inputs or attributes do not fit the op ({error})") from error


def settle(node: Node, rule: Callable[[Node], Sequence[Typed]] = infer) -> None:
    """Give the graphs inside a node the types of what it reads now; `rule` infers the nodes in them."""
    spec = find(node.op)
    if spec is not None and spec.settle is not None:
        try:
            spec.settle(node, rule)
        except Declined as refusal:
            raise NodeError(node.name, node.op, refusal.why, remedy=refusal.remedy) from refusal
        except MISFITS as error:
            raise NodeError(node.name, node.op, f"its inputs or attributes do not fit the op ({error})") from error


def _check_count(spec: OpSpec, node: Node) -> None:
    """No rule of an op needs to expect more or fewer inputs than its evaluation takes."""
    least, most = _input_counts(spec.evaluate) if spec.evaluate is not None else (0, None)
    count = len(node.inputs)
    if count < least or (most is not None and count > most):
        wanted = f"{least}" if least == most else f"at least {least}" if most is None else f"{least} to {most}"
        raise Declined(f"it has {count} inputs, the op takes {wanted}")


@cache
def _input_counts(evaluate: Callable[..., Any]) -> tuple[int, int | None]:
    """How many arrays an evaluation takes beside the node: at least, at most (None: any number)."""
    arrays = list(inspect.signature(evaluate).parameters.values())[1:]
    some = [each for each in arrays if each.kind is not inspect.Parameter.VAR_POSITIONAL]
    least = sum(each.default is inspect.Parameter.empty for each in some)
    return least, len(some) if len(some) == len(arrays) else None


def add(
    graph: Graph,
    op: str,
    inputs: Sequence[Value] = (),
    attrs: Mapping[str, Any] | None = None,
    *,
    name: str | None = None,
    origin: Origin | None = None,
    before: Node | None = None,
) -> Node:
    """Add a node with its defaults filled in and its outputs typed by inference."""
    op, filled = canonical(op, attrs or {})
    probe = Node(name or op, op, inputs, filled, ())
    try:
        settle(probe)
        typed = infer(probe)
    finally:
        probe.set_inputs(())
    return graph.add(op, inputs, filled, typed=typed, name=name, origin=origin, before=before)


def infer_graph(graph: Graph) -> None:
    """Type every value anew, in order."""
    for node in graph.nodes:
        settle(node)
        for value, typed in zip(node.outputs, infer(node), strict=True):
            value.retype(typed)


_PLAIN = frozenset({DType.UNKNOWN, DType.STRING, DType.VARIANT, DType.RESOURCE})
"""Types whose elements numpy holds as objects, or that are not known."""


def evaluate(node: Node, inputs: Sequence[Array]) -> tuple[Array, ...]:
    """The node's outputs in numpy, its fused activation included."""
    spec = find(node.op)
    if spec is None or spec.evaluate is None:
        raise NodeError(node.name, node.op, "the reference runtime cannot evaluate this op")
    with np.errstate(all="ignore"):  # inf and NaN are results like any other
        result = spec.evaluate(node, *inputs)
    outputs = result if isinstance(result, tuple) else (result,)
    activation = node.get("activation")
    if activation:
        outputs = (apply_activation(node, activation, outputs[0]), *outputs[1:])
    return tuple(
        np.asarray(out) if value.dtype in _PLAIN else np.asarray(out, dtype=value.dtype.numpy)
        for out, value in zip(outputs, node.outputs, strict=True)
    )


def apply_activation(node: Node, activation: str, array: Array) -> Array:
    """Apply the activation op of that name, with the node's `activation_alpha` where the op has an alpha."""
    spec = registry()[activation]
    attrs = {**spec.attrs, **({"alpha": node["activation_alpha"]} if "activation_alpha" in node.attrs else {})}
    assert spec.evaluate is not None
    result = spec.evaluate(Node(node.name, activation, (), attrs, ()), array)
    return result[0] if isinstance(result, tuple) else result
