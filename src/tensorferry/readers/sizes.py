"""Shapes that a user gives to inputs, and sizes that must not stay open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tensorferry.errors import OptionError
from tensorferry.ir import UNKNOWN_DIM, Dim, Graph, Shape, Typed, Value, format_shape


def give_shapes(graph: Graph, shapes: Mapping[str, Sequence[int]]) -> None:
    """Replace the shapes of inputs, by public name or tensor name; -1 leaves a size open."""
    ports = {port.name: port for port in graph.inputs} | {port.value.name: port for port in graph.inputs}
    for name, wanted in shapes.items():
        port = ports.get(name)
        if port is None:
            raise OptionError(
                f"a shape is given for '{name}', which is not an input",
                remedy=f"inputs are {', '.join(p.name for p in graph.inputs)}",
            )
        value = port.value
        if value.shape is not None and len(value.shape) != len(wanted):
            raise OptionError(f"input '{port.name}' has rank {len(value.shape)} ({format_shape(value.shape)}), not {len(wanted)}")
        _set_shape(value, tuple(_given_size(size, axis, value) for axis, size in enumerate(wanted)))


def fix_sizes(graph: Graph) -> None:
    """Give every open batch of an input the size 1. OptionError when another size is open: nothing tells what it should be."""
    open_ports = []
    for port in graph.inputs:
        shape = port.value.shape
        if shape and isinstance(shape[0], str):
            shape = (1, *shape[1:])
            _set_shape(port.value, shape)
        if shape is None or any(isinstance(dim, str) for dim in shape):
            open_ports.append(f"{port.name}={'?' if shape is None else _with_question_marks(shape)}")
    if open_ports:
        raise OptionError(
            f"not every size can be fixed: {'; '.join(open_ports)}", remedy="give the shape, such as --shape image=1,224,224,3"
        )


def _with_question_marks(shape: Sequence[Dim]) -> str:
    return ",".join("?" if isinstance(dim, str) else str(dim) for dim in shape)


def _set_shape(value: Value, shape: Shape) -> None:
    value.producer.attrs["shape"] = shape
    value.retype(Typed(value.dtype, shape))


def _given_size(size: int, axis: int, value: Value) -> Dim:
    if size >= 0:
        return size
    known = value.shape[axis] if value.shape is not None else UNKNOWN_DIM
    return known if isinstance(known, str) and known != UNKNOWN_DIM else f"{value.producer.name}.{axis}"
