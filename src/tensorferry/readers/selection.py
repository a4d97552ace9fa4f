"""The part of a graph that is wanted: found inputs and outputs, cuts, pruning, shapes given by the user.

Works in place. Public names are what the user wrote, without `:0`, in the order the user gave.
"""

from __future__ import annotations

import difflib
from collections.abc import Container, Iterable, Mapping, Sequence

from tensorferry.errors import OptionError, SourceError
from tensorferry.ir import Graph, Node, Origin, Port, Typed, Value
from tensorferry.readers.deduction import deduce_ranks
from tensorferry.readers.ends import find_inputs, find_outputs
from tensorferry.readers.feeding import feeds_among
from tensorferry.readers.inference import settle_training, tell_training
from tensorferry.readers.loops import find_holder, refuse_control_flow
from tensorferry.readers.sizes import fix_sizes, give_shapes
from tensorferry.readers.state import carry_state, state_names
from tensorferry.readers.tables import refuse_empty_tables, resolve_tables
from tensorferry.readers.typing import name_dims, retype
from tensorferry.readers.variables import freeze_variables, variables_among
from tensorferry.readers.watching import tell_watchers
from tensorferry.tensor import DType, FilledTensor, Tensor


def select(
    graph: Graph,
    inputs: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    *,
    fixed: bool = False,
    changed: Container[str] | None = None,
) -> Graph:
    """Narrow the graph to what lies between these inputs and outputs, and return it.

    A name may be of any node or of one of its outputs (`image`, `image:0`, `split:1`). An input inside the graph cuts it there.
    Without `inputs`, all placeholders that the outputs need; without `outputs`, what nobody reads. `shapes` replaces the shapes
    of inputs; -1 leaves a size open; `fixed` leaves none open: a batch becomes 1. `changed`, of one of several signatures,
    names the variables that others change. OptionError for names and shapes that do not
    fit, SourceError for unfrozen variables.
    """
    resolve_tables(graph)
    given, graph.inputs, kept = graph.inputs, [], state_names(graph)
    if outputs is not None:
        graph.outputs = _resolve_all(graph, [name for name in outputs if name not in kept], "output")
    elif not graph.signature:
        graph.outputs = _find_ports(graph)
    fed = {port.value for port in given} if graph.signature else set()
    settle_training(graph, _run(graph), fed | {value for name in inputs or () if (value := _find(graph, name)) is not None})
    tell_training(graph, _run(graph), found=outputs is None and not graph.signature)
    carry_state(graph, _run(graph), changed)
    states = graph.inputs
    wanted = None if inputs is None else _resolve_all(graph, [name for name in inputs if name not in graph.states], "input")
    if wanted is None:
        needed = needed_nodes((port.value for port in graph.outputs), {port.value for port in given if graph.signature})
        feeds = [Port(name, value) for name, value in feeds_among(graph, needed)]
        given, needed = _cut_feeds(graph, feeds, given, needed)
        if graph.signature:
            wanted = [port for port in given if outputs is None or port.value.producer in needed]
        else:
            fed = {port.value for port in feeds}
            found = [value for value in find_inputs(graph, needed) if value not in fed and value.name not in graph.states]
            wanted = [Port(value.name, value) for value in found if not (feeds and value.producer.op == "PlaceholderWithDefault")]
        wanted = [*feeds, *wanted]
    graph.inputs = [*(_cut(graph, port) for port in wanted), *states]
    _settle_defaults(graph, _run(graph))
    freeze_variables(graph, _run(graph))
    needed = needed_nodes(port.value for port in graph.outputs)
    tell_watchers(graph, _run(graph))
    _refuse_variables(graph, needed)
    refuse_control_flow(graph, needed)
    refuse_empty_tables(needed)
    _refuse_other_inputs(graph, needed)
    _prune(graph, needed)
    if shapes:
        give_shapes(graph, {public_name(name): shape for name, shape in shapes.items()})
    deduce_ranks(graph)
    if fixed:
        fix_sizes(graph)
    _tell_stripped(graph)
    retype(graph)
    return graph


def _find_ports(graph: Graph) -> list[Port]:
    found = [Port(value.name, value) for value in find_outputs(graph)]
    if not found:
        raise OptionError("the graph has no output that could be found", remedy="name the outputs (--outputs)")
    return found


# -- what runs -----------------------------------------------------------------------------------------------------


def _run(graph: Graph) -> set[Node]:
    """All nodes that run when the outputs are asked for: those that they are computed from, and those that these wait for."""
    waiting = [port.value.producer for port in graph.outputs]
    seen = set(waiting)
    while waiting:
        node = waiting.pop()
        before = [value.producer for value in node.inputs] + [graph.node(name) for name in node.controls if name in graph]
        for each in before:
            if each not in seen:
                seen.add(each)
                waiting.append(each)
    return seen


def needed_nodes(values: Iterable[Value], given: Container[Value] = ()) -> set[Node]:
    """All nodes that these values are computed from, where the `given` ones are known: those that make these count, no others."""
    found = list(values)
    seen = {value.producer for value in found}
    waiting = list({value.producer for value in found if value not in given})
    while waiting:
        for value in waiting.pop().inputs:
            if value in given:
                seen.add(value.producer)
            elif value.producer not in seen:
                seen.add(value.producer)
                waiting.append(value.producer)
    return seen


# -- names ---------------------------------------------------------------------------------------------------------


def _resolve_all(graph: Graph, names: Sequence[str], role: str) -> list[Port]:
    unknown = [name for name in names if _find(graph, name) is None]
    if unknown:
        raise OptionError(
            f"the model has no node for {role} {', '.join(repr(name) for name in unknown)}",
            why="; ".join(_nearest(graph, name) for name in unknown),
            remedy="'tensorferry inspect --nodes' lists all nodes",
        )
    ports = [Port(public_name(name), value) for name in names if (value := _find(graph, name)) is not None]
    for index, port in enumerate(ports):
        if any(port.value is other.value for other in ports[:index]):
            raise OptionError(f"{role} '{port.name}' is named twice")
    return ports


def public_name(name: str) -> str:
    """The name as the user gave it, without `:0`."""
    return name.removesuffix(":0")


def _find(graph: Graph, name: str) -> Value | None:
    for port in (*graph.outputs, *graph.inputs) if graph.signature else ():
        if port.name == name:
            return port.value
    if name in graph:
        outputs, index = graph.node(name).outputs, "0"
    else:
        node, _, index = name.rpartition(":")
        if node not in graph or not index.isascii() or not index.isdigit() or len(index) > 6:
            return None
        outputs = graph.node(node).outputs
    return outputs[int(index)] if int(index) < len(outputs) else None


def _nearest(graph: Graph, name: str) -> str:
    """What the user may have meant: names that contain it or look like it."""
    asked, _, _ = name.partition(":")
    holder = find_holder(graph, asked)
    if holder is not None:
        return f"'{asked}' is inside '{holder.name}' ({holder.op}): nodes in loops and branches cannot be cut out"
    if asked in graph:
        count = len(graph.node(asked).outputs)
        return f"'{asked}' has {count} output{'s' if count != 1 else ''}"
    names = [node.name for node in graph.nodes if node.op != "Const"] or [node.name for node in graph.nodes]
    lower = {each.lower(): each for each in reversed(names)}
    ends = [each for each in names if each.lower().split("/")[-1] == asked.lower()]
    close = [lower[each] for each in difflib.get_close_matches(asked.lower(), list(lower)[-20_000:], n=5, cutoff=0.6)]
    holding = [each for each in names if asked and asked.lower() in each.lower()]
    found = list(dict.fromkeys([*ends, *close, *holding]))[:5]
    if found:
        return f"near '{name}' are {', '.join(found)}"
    outputs = ", ".join(port.name for port in graph.outputs[:5])
    return f"nothing is named like '{name}'" + (f"; its ends are {outputs}" if outputs else "")


# -- cutting -------------------------------------------------------------------------------------------------------


def _cut(graph: Graph, port: Port) -> Port:
    """The port of an input; a value inside the graph gives way to a placeholder of its name and type."""
    old = port.value
    node = old.producer
    if node.op == "Placeholder":
        return port
    dtype = old.dtype if old.dtype is not DType.UNKNOWN else _type_readers_expect(old)
    if dtype in (DType.UNKNOWN, DType.RESOURCE, DType.VARIANT):
        raise OptionError(
            f"'{port.name}' ({node.op}) cannot be an input", why=f"its type is {dtype}", remedy="choose a node with a plain tensor"
        )
    name = node.name if old.index == 0 else f"{node.name}_{old.index}"
    if old.index == 0:
        graph.rename(node, graph.unique_name(f"{node.name}/cut"))
    shape = name_dims(old.shape, name)
    attrs = {"dtype": dtype, "shape": shape}
    origin = Origin((name,), node.origin.op)
    made = graph.add("Placeholder", (), attrs, typed=[Typed(dtype, shape)], name=name, origin=origin, before=node)
    graph.replace_uses(old, made.output)
    return Port(port.name, made.output)


def _cut_feeds(graph: Graph, feeds: list[Port], given: list[Port], needed: set[Node]) -> tuple[list[Port], set[Node]]:
    """Let the ports of feeds be placeholders; what only the feeds needed is no input any more."""
    if not feeds:
        return given, needed
    feeds[:] = [_cut(graph, port) for port in feeds]
    left = needed_nodes((port.value for port in graph.outputs), {port.value for port in given})
    return [port for port in given if port.value.producer in left or port.value.producer not in needed], left


def _type_readers_expect(value: Value) -> DType:
    types = {user["T"] for user in value.users if isinstance(user.get("T"), DType)}
    return types.pop() if len(types) == 1 else DType.UNKNOWN


def _settle_defaults(graph: Graph, run: set[Node]) -> None:
    """Let each placeholder with a default that was not chosen as an input be its default."""
    for node in graph.nodes:
        if node.op == "PlaceholderWithDefault" and node.outputs[0].users:
            node.op = "Identity"
            node.attrs = {"T": node.output.dtype}
            if node in run:
                graph.notices.append(f"'{node.name}' is not an input: it keeps its default; name it in --inputs to feed it")


def _refuse_variables(graph: Graph, needed: set[Node]) -> None:
    left = variables_among(graph, needed)
    lacking = [name for name in left if name not in graph.variables]
    changed = [name for name in left if name in graph.variables]
    if lacking:
        raise SourceError(
            f"the graph is not frozen: it has {len(lacking)} variable{'s' if len(lacking) > 1 else ''}, whose values are elsewhere",
            where=_shortened(lacking),
            remedy="name the checkpoint that holds them (--checkpoint PREFIX, the path without .index)",
        )
    if changed:
        raise SourceError(
            f"the model changes {len(changed)} variable{'s' if len(changed) > 1 else ''} while it runs",
            why="the ops that change them are not known to be carried over",
            where=_shortened(changed),
            remedy="choose --outputs that do not need the change",
        )


def _shortened(names: Sequence[str], most: int = 8) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _refuse_other_inputs(graph: Graph, needed: set[Node]) -> None:
    chosen = {port.value for port in graph.inputs}
    others = [node.name for node in graph.nodes if node in needed and node.op == "Placeholder" and node.output not in chosen]
    if others:
        raise OptionError(
            f"the outputs also need the input{'s' if len(others) > 1 else ''} {', '.join(others)}",
            remedy="add them to --inputs, or choose inputs and outputs with nothing else between them",
        )
    for port in graph.inputs:
        if port.value.producer not in needed and port.name not in graph.states:
            graph.notices.append(f"input '{port.name}' is not needed by any output")


def _prune(graph: Graph, needed: set[Node]) -> None:
    keep = needed | {port.value.producer for port in graph.inputs}
    graph.keep_nodes(lambda node: node in keep)
    for node in graph.nodes:
        node.controls = tuple(name for name in node.controls if name in graph)


def _tell_stripped(graph: Graph) -> None:
    """A graph whose weights were taken out (TensorFlow.js 0.x keeps them beside) reads as one full of zeros."""
    names = [node.name for node in graph.nodes if node.op == "Const" and _is_stripped(node["value"])]
    if names:
        shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
        graph.notices.append(f"{len(names)} constants have a shape but no values in the file and count as zeros: {shown}")


def _is_stripped(tensor: Tensor) -> bool:
    return isinstance(tensor, FilledTensor) and tensor.values.size == 0 and tensor.size > 1 and tensor.dtype.is_float
