"""Public names that a user wants otherwise in the result, and which names of the source's nodes a result still has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from tensorferry.errors import OptionError, nearest
from tensorferry.ir import Graph, Node, Port, State

DEFAULT_SIGNATURE = "serving_default"
"""The name that a result's signature has where the source has none."""

_SHOWN = 20


def rename_ports(graph: Graph, renames: Mapping[str, str]) -> None:
    """Give inputs, outputs and signatures new names, those of the graph's siblings too. OptionError for a name that is not there,
    or one that would stand twice."""
    family = (graph, *graph.siblings)
    known = list(dict.fromkeys(name for each in family for name in _names(each)))
    for old in renames:
        if old not in known:
            raise OptionError(
                f"--rename: there is no input, output or signature '{old}'",
                why=nearest(old, known),
                remedy=f"names are {', '.join(known[:_SHOWN])}",
            )
    for each in family:
        each.signature = renames.get(each.signature or DEFAULT_SIGNATURE, each.signature)
        _rename_states(each, renames)
        for role, ports in (("inputs", each.inputs), ("outputs", each.outputs)):
            _rename(role, ports, renames)
    if len({each.signature for each in family}) != len(family):
        raise OptionError("--rename: two signatures would have the same name")


def _names(graph: Graph) -> Iterator[str]:
    yield from (port.name for port in (*graph.inputs, *graph.outputs))
    yield graph.signature or DEFAULT_SIGNATURE


def _rename(role: str, ports: Sequence[Port], renames: Mapping[str, str]) -> None:
    for port in ports:
        port.name = renames.get(port.name, port.name)
    names = [port.name for port in ports]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise OptionError(f"--rename: two {role} would have the name {', '.join(twice)}")


def _rename_states(graph: Graph, renames: Mapping[str, str]) -> None:
    graph.states = {
        renames.get(name, name): State(renames.get(state.output, state.output), state.first) for name, state in graph.states.items()
    }


def tell_names(source: Graph, written: Graph, *, public: bool) -> str:
    """Which nodes of the source have no tensor of their name in what was written; `public`: outputs bear their public names."""
    kept = {node.name for node in _all_nodes(written)}
    if public:
        kept -= {port.value.producer.name for port in written.outputs} - {port.name for port in written.outputs}
    names = [node.name for node in _all_nodes(source) if node.outputs]
    gone = [name for name in names if name not in kept]
    if not gone:
        return f"all {len(names)} nodes of the source keep their names"
    more = f" and {len(gone) - _SHOWN} more" if len(gone) > _SHOWN else ""
    return f"{len(names) - len(gone)} of {len(names)} nodes of the source keep their names; merged or renamed: " + (
        ", ".join(gone[:_SHOWN]) + more
    )


def _all_nodes(graph: Graph) -> Iterator[Node]:
    for node in graph.nodes:
        yield node
        for _key, nested in node.graphs():
            yield from _all_nodes(nested)
