"""Nodes of a GraphDef or of one of its functions to nodes of a Graph, typed as far as their ops are known."""

from __future__ import annotations

import logging
from collections.abc import Container, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tensorferry import ops
from tensorferry.errors import SourceError
from tensorferry.ir import Graph, Node, Origin, Value
from tensorferry.readers.fused import PRODUCTS, write_apart
from tensorferry.readers.order import sort_nodes
from tensorferry.readers.parsing import Reference, SourceNode
from tensorferry.readers.typing import guess_types, infer_tolerantly, name_dims, outputs_read
from tensorferry.storage import SourceFile
from tensorferry.tensor import DType, Tensor
from tensorferry.wire.protobuf import malformed
from tensorferry.wire.signatures import signature
from tensorferry.wire.tensorflow import FunctionRef, UnreadableConstant, decode_attribute, decode_placeholder

if TYPE_CHECKING:
    from tensorferry.readers.functions import Library

log = logging.getLogger(__name__)

_SCALAR_MEANT_UNKNOWN = 21
"""Up to this GraphDef version a Placeholder of scalar shape meant one of unknown shape (tensorflow/core/ops/array_ops.cc)."""

_MAX_OUTPUTS = 1 << 16
"""More outputs than any real node has; a larger count is taken for corrupt before anything is made of it."""

_COUNTS = ("N", "num", "num_split", "num_outputs")
"""Attributes that say how many inputs or outputs a node has."""

_CALLS = frozenset({"PartitionedCall", "StatefulPartitionedCall", "RemoteCall", "TPUPartitionedCall"})
"""Ops that call the function in their attribute `f`; a node may also have a function's name as its op."""

_IMPLIED = frozenset({"Tcond", "Tin", "Tout", "T", "output_shapes", "parallel_iterations", "lower_using_switch_merge"})
"""Attributes of nodes with graphs inside that follow from these, or are advice to TensorFlow's own runtime."""


# -- order ---------------------------------------------------------------------------------------------------------


def ordered(nodes: Mapping[str, SourceNode], graph: Graph, given: Container[str] = ()) -> list[SourceNode]:
    """The nodes so that each stands after what it reads: the file's order where it does already. `given` are values from outside.

    A loop of TensorFlow 1 is closed by what Merge reads from NextIteration; that one edge may lead backwards.
    """
    missing = [
        (node, each.node) for node in nodes.values() for each in node.inputs if each.node not in nodes and each.node not in given
    ]
    if missing:
        node, name = missing[0]
        others = f" (and {len(missing) - 1} more such inputs)" if len(missing) > 1 else ""
        raise SourceError(
            f"node '{node.name}' reads '{name}', which is not in the graph{others}",
            where=node.place,
            remedy="the graph was cut apart or edited by hand; write it anew from its source",
        )
    dangling = sorted({name for node in nodes.values() for name in node.controls if name not in nodes})
    if dangling:
        graph.notices.append(f"control inputs name nodes that are not in the graph and were dropped: {some(dangling)}")
        for node in nodes.values():
            node.controls = [name for name in node.controls if name in nodes]
    before = {name: _predecessors(node, nodes) for name, node in nodes.items()}
    order, cycle = sort_nodes(before)
    if cycle:
        raise SourceError(
            "the graph's nodes read each other in a circle",
            where=" <- ".join(f"'{name}' ({nodes[name].op})" for name in cycle[:8]) + (" <- ..." if len(cycle) > 8 else ""),
            remedy="only the loops of TensorFlow 1 (Merge and NextIteration) may lead back",
        )
    return [nodes[name] for name in order]


def _predecessors(node: SourceNode, nodes: Mapping[str, SourceNode]) -> list[str]:
    loops = node.op in ("Merge", "RefMerge")
    inside = [each.node for each in node.inputs if each.node in nodes]
    reads = [name for name in inside if not (loops and nodes[name].op in ("NextIteration", "RefNextIteration"))]
    return reads + node.controls


# -- building ------------------------------------------------------------------------------------------------------


class Builder:
    """Adds the nodes of a graph or a function one after the other, and the bodies of the functions that they call."""

    def __init__(self, file: SourceFile, library: Library, graph: Graph, nodes: Mapping[str, SourceNode]) -> None:
        self._file = file
        self._library = library
        self._graph = graph
        self._nodes = nodes
        self._values: dict[str, list[Value]] = {}
        self._late: list[tuple[Node, SourceNode]] = []
        self._attrs: dict[str, Mapping[str, Any]] = {}
        """Of each node as they stand in the file: they tell how many outputs have which name."""
        self.given: Mapping[str, Any] = {}
        """In a function: the attributes of the call, which its own nodes may name."""
        read = (each for node in nodes.values() for each in node.inputs)
        self._read = outputs_read((each.node, each.index) for each in read if not each.output or signature_of(each, nodes) is None)

    def bind(self, name: str, value: Value) -> None:
        """Let nodes read a value under this name."""
        self._values[name] = [value]

    def add(self, source: SourceNode) -> None:
        known = [each for each in source.inputs if each.node in self._values]
        inputs = [self._value(each, source) for each in known]
        attrs = self._decode(source)
        if source.op in _CALLS or source.op in self._library:
            self._values[source.name] = self._inline(source, inputs, attrs)
            return
        self._attrs[source.name] = attrs
        op, attrs = self._settle(source, attrs)
        check_kinds(op, attrs, source)
        if op in PRODUCTS and not _is_short(source):
            self._values[source.name] = [write_apart(self._graph, source.name, op, inputs, attrs)]
            return
        op, attrs = ops.canonical(op, attrs)
        count = self._read.get(source.name, 0)
        guessed = guess_types(op, attrs, count)
        # What begins with `_` is a note of TensorFlow to itself (colocation, shapes once inferred); a changed graph makes it wrong.
        op, attrs = ops.canonical(op, {key: value for key, value in attrs.items() if not key.startswith("_")})
        attrs = self._library.with_graphs(source, op, attrs)
        if any(isinstance(value, Graph) for value in attrs.values()):
            attrs = {key: value for key, value in attrs.items() if key not in _IMPLIED}
        if _is_short(source):
            op = f"{op}WithTooFewInputs"
        node = self._place(source.name, op, inputs, attrs, guessed, Origin((source.name,), source.op), source.controls)
        if len(node.outputs) < count:
            raise SourceError(
                f"output {count - 1} of node '{source.name}' ({source.op}) is read, but it has {len(node.outputs)}",
                where=source.place,
                remedy="the graph was edited by hand or is corrupt; write it anew from its source",
            )
        self._values[source.name] = node.outputs
        if len(known) != len(source.inputs):
            self._late.append((node, source))

    def _place(
        self,
        name: str,
        op: str,
        inputs: Sequence[Value],
        attrs: Mapping[str, Any],
        guessed: Sequence[Any],
        origin: Origin,
        controls: Sequence[str],
    ) -> Node:
        probe = Node(name, op, inputs, attrs, guessed)
        try:
            typed = infer_tolerantly(probe)
        finally:
            probe.set_inputs(())
        return self._graph.add(op, inputs, attrs, typed=typed, name=name, origin=origin, controls=controls)

    def close_loops(self) -> None:
        """Let the Merge nodes of loops read what comes round, now that it is there."""
        for node, source in self._late:
            node.set_inputs([self._value(each, source) for each in source.inputs])

    def value(self, reference: Reference, place: str) -> Value:
        """What a name in the file stands for."""
        outputs = self._values[reference.node]
        index = self._flat_index(reference)
        if index is None or index >= len(outputs):
            what = f"output {reference.index}" if not reference.output else f"'{reference.output}:{reference.index}'"
            raise SourceError(
                f"{place.split(',', maxsplit=1)[0]} reads {what} of '{reference.node}', which has {len(outputs)}",
                where=place,
                remedy="the graph was edited by hand or is corrupt; write it anew from its source",
            )
        return outputs[index]

    def _value(self, reference: Reference, source: SourceNode) -> Value:
        return self.value(reference, source.place)

    def _flat_index(self, reference: Reference) -> int | None:
        """The number of an output among all of its node; in functions outputs are named."""
        if not reference.output or reference.node not in self._nodes:
            return reference.index
        op = self._nodes[reference.node].op
        if op in self._library:
            return self._library.output_index(op, reference.output)
        known = signature(op)
        if known is None:
            return reference.index
        return known.output_index(reference.output, reference.index, self._attrs.get(reference.node, {}))

    # -- calls -----------------------------------------------------------------------------------------------------

    def _inline(self, source: SourceNode, inputs: list[Value], attrs: dict[str, Any]) -> list[Value]:
        """The body of the function in the place of the call, its nodes named after it; what the call gave keeps the call's name."""
        self._attrs[source.name] = attrs
        called = attrs.get("f") if source.op in _CALLS else FunctionRef(source.op, attrs)
        if not isinstance(called, FunctionRef):
            raise malformed(f"node '{source.name}' ({source.op}) names no function", source.offset)
        arguments = inputs[1:] if source.op == "RemoteCall" else inputs  # the first is the device
        body = self._library.instantiate(called, source.place)
        if len(body.inputs) != len(arguments):
            raise SourceError(
                f"node '{source.name}' gives {len(arguments)} arguments to '{called.name}', which takes {len(body.inputs)}",
                where=source.place,
            )
        values = {port.value: argument for port, argument in zip(body.inputs, arguments, strict=True)}
        names: dict[str, str] = {}
        for node in body.nodes:
            if node.outputs and node.outputs[0] in values:
                continue
            name = names[node.name] = self._free_name(f"{source.name}/{node.name}")
            controls = [names[each] for each in node.controls if each in names] + source.controls
            origin = Origin(tuple(f"{source.name}/{each}" for each in node.origin.names), node.origin.op)
            typed = [value.typed for value in node.outputs]
            read = [values[value] for value in node.inputs]
            made = self._place(name, node.op, read, node.attrs, typed, origin, controls)
            values.update(zip(node.outputs, made.outputs, strict=False))
        self._graph.notices += [each for each in body.notices if each not in self._graph.notices]
        return self._close_call(source, [values[port.value] for port in body.outputs], list(names.values()))

    def _close_call(self, source: SourceNode, results: list[Value], inside: list[str]) -> list[Value]:
        origin = Origin((source.name,), source.op)
        op = "NoOp" if not results else "Identity" if len(results) == 1 else "IdentityN"
        typed = [value.typed for value in results]
        return self._graph.add(op, results, {}, typed=typed, name=source.name, origin=origin, controls=inside).outputs

    def _free_name(self, wanted: str) -> str:
        """A name that no node of the file bears or will bear."""
        name, number = self._graph.unique_name(wanted), 0
        while name in self._nodes:
            number += 1
            name = self._graph.unique_name(f"{wanted}_{number}")
        return name

    # -- attributes ------------------------------------------------------------------------------------------------

    def _decode(self, source: SourceNode) -> dict[str, Any]:
        attrs: dict[str, Any] = {}
        for key, span in source.attrs.items():
            try:
                value = decode_attribute(span, self._file)
                if value is None and self.given:
                    value = self.given.get(decode_placeholder(span))
            except UnreadableConstant as error:
                log.info("%s: %s", source.place, error.what)
                return {"": error.what}
            except SourceError as error:
                error.where = f"{error.where} (attribute '{key}' of {source.place})"
                raise
            if value is not None or len(span):
                attrs[key] = value
        for key in _COUNTS:
            if isinstance(attrs.get(key), int) and not 0 <= attrs[key] <= _MAX_OUTPUTS:
                raise malformed(f"attribute '{key}' of node '{source.name}' ({source.op}) is {attrs[key]}", source.offset)
        return attrs

    def _settle(self, source: SourceNode, attrs: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Bring constants and placeholders to the form of the IR."""
        if "" in attrs:
            return "UnreadableConst", {"why": attrs[""]}
        if source.op == "Const":
            if not isinstance(attrs.get("value"), Tensor):
                raise malformed(f"the constant '{source.name}' has no value", source.offset)
            return "Const", {"value": self._library.constants.get(source.name, attrs["value"])}
        if source.op in ("Placeholder", "PlaceholderV2", "PlaceholderWithDefault"):
            shape = attrs.get("shape")
            if shape is not None and not isinstance(shape, tuple):
                raise malformed(f"the shape of '{source.name}' is no shape", source.offset)
            if source.op == "Placeholder" and shape == () and self._library.producer <= _SCALAR_MEANT_UNKNOWN:
                shape = None
            attrs = {**attrs, "shape": name_dims(shape, source.name)}
            return source.op.removesuffix("V2"), attrs
        return source.op, attrs


def signature_of(reference: Reference, nodes: Mapping[str, SourceNode]) -> object:
    """What is known of the outputs of the node that is read; None where their names say nothing."""
    return signature(nodes[reference.node].op) if reference.node in nodes else None


_KINDS: tuple[tuple[type, tuple[type, ...]], ...] = (
    (DType, (DType,)),
    (bool, (bool,)),
    (int, (int,)),
    (float, (float,)),
    (str, (str,)),
    (list, (list,)),
    (tuple, (list,)),
)
"""Kind of a default -> kinds that the attribute may have; the first match counts (a DType is a str, a bool an int)."""


def _is_short(source: SourceNode) -> bool:
    """Whether the node reads fewer tensors than its op takes: nothing that knows the op may look at it."""
    known = signature(source.op)
    return known is not None and len(source.inputs) < known.least_inputs


def check_kinds(op: str, attrs: dict[str, Any], source: SourceNode) -> None:
    """Attributes of a known op must be of the kind of their default, so that no rule of an op needs to expect anything else.
    Lists become tuples where the default is one."""
    spec = ops.find(op)
    for key, default in (spec.attrs if spec is not None else {}).items():
        kinds = next((allowed for kind, allowed in _KINDS if isinstance(default, kind)), None)
        if key in attrs and kinds is not None and not isinstance(attrs[key], kinds):
            raise malformed(f"attribute '{key}' of node '{source.name}' ({source.op}) is of the wrong kind", source.offset)
        if key in attrs and isinstance(default, tuple):
            attrs[key] = tuple(attrs[key])


def some(names: Sequence[str], limit: int = 8) -> str:
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")
