"""Steps of a recurrent layer over a sequence: the loop of tensor lists that Keras itself traces, or unrolled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from tensorferry import ops
from tensorferry.ir import Graph, Port, Shape, Typed, Value
from tensorferry.readers.keras.building import Builder
from tensorferry.tensor import DType

Step = Callable[[Builder, Value, Sequence[Value]], tuple[Value, list[Value]]]
"""One step: (builder, input, states) -> the output and the next states."""

MOST_UNROLLED = 256
"""A longer sequence is a loop, whatever the layer asks for."""


@dataclass(frozen=True, slots=True)
class Scan:
    """What to go over: `sequence` and `mask` have the time first. `collect`: the output of each step is wanted."""

    sequence: Value
    states: list[Value]
    mask: Value | None = None
    collect: bool = False
    unroll: bool = False
    zeros_for_mask: bool = False


@dataclass(slots=True)
class Scanned:
    """The last output, the last states, and the outputs of all steps with the time first, where they were wanted."""

    last: Value
    states: list[Value]
    outputs: Value | None = None


def scan(build: Builder, given: Scan, step: Step) -> Scanned:
    """Run the steps. Where the mask is false, states and output stay as they were."""
    steps = build.shape(given.sequence)[0]
    if given.unroll and isinstance(steps, int) and 0 < steps <= MOST_UNROLLED:
        return _unrolled(build, given, step, steps)
    return _Loop(build, given, step).made()


def _masked(build: Builder, mask: Value | None, new: Value, old: Value) -> Value:
    """The new value where the step counts, of any number of axes."""
    if mask is None or new is old:
        return new
    for _axis in range(build.rank(new) - build.rank(mask)):
        mask = build.expand(mask, -1)
    return build.add("SelectV2", (mask, new, old))


def _unrolled(build: Builder, given: Scan, step: Step, steps: int) -> Scanned:
    rows = build.add_all("Unpack", (given.sequence,), {"num": steps, "axis": 0})
    masks: Sequence[Value | None] = [None] * steps
    if given.mask is not None:
        masks = build.add_all("Unpack", (given.mask,), {"num": steps, "axis": 0})
    states, last, outputs = given.states, None, []
    for row, mask in zip(rows, masks, strict=True):
        output, new = step(build, row, states)
        if mask is not None:
            before = last if last is not None and not given.zeros_for_mask else build.add("ZerosLike", (output,))
            index = next((place for place, state in enumerate(new) if state is output), None)
            kept = [_masked(build, mask, each, old) for each, old in zip(new, states, strict=True)]
            use_state = index is not None and last is not None and last is states[index] and not given.zeros_for_mask
            output = kept[index] if use_state and index is not None else _masked(build, mask, output, before)
            new = kept
        states, last = new, output
        outputs.append(output)
    assert last is not None
    packed = build.add("Pack", outputs, {"axis": 0, "N": len(outputs)}) if given.collect else None
    return Scanned(last, states, packed)


@dataclass(slots=True)
class _Variables:
    """Loop variables in order, with what they start as."""

    names: list[str] = field(default_factory=list)
    starts: list[Value] = field(default_factory=list)

    def add(self, name: str, start: Value) -> int:
        self.names.append(name)
        self.starts.append(start)
        return len(self.starts) - 1


class _Loop:
    """A While whose variables are: the counter, the number of steps, the lists that are read, the states, what is written."""

    def __init__(self, build: Builder, given: Scan, step: Step) -> None:
        self.build = build
        self.given = given
        self.step = step
        self.element = _typed_step(given.sequence)
        self.mask_element = None if given.mask is None else _typed_step(given.mask)

    def made(self) -> Scanned:
        build, given = self.build, self.given
        output, index = self._output()
        variables = _Variables()
        zero = build.constant(0, name="time")
        variables.add("time", zero)
        variables.add("steps", self._steps())
        rows = variables.add("rows", _list_from(build, given.sequence, self.element))
        masks = None
        if given.mask is not None and self.mask_element is not None:
            masks = variables.add("masks", _list_from(build, given.mask, self.mask_element))
        states = [variables.add(f"state_{place}", each) for place, each in enumerate(given.states)]
        last = None
        if index is None or masks is not None:
            last = variables.add("last", self._first_output(output))
        written = variables.add("outputs", self._reserve(output, variables.starts[1])) if given.collect else None

        def body(graph: Graph, *inside: Value) -> list[Value]:
            inner = build.inside(graph)
            results = list(inside)
            results[0] = inner.add("AddV2", (inside[0], inner.constant(1)))
            row = _item(inner, inside[rows], inside[0], self.element)
            made, new = self.step(inner, row, [inside[place] for place in states])
            if masks is not None and self.mask_element is not None:
                mask = _item(inner, inside[masks], inside[0], self.mask_element)
                new = [_masked(inner, mask, each, inside[place]) for each, place in zip(new, states, strict=True)]
                assert last is not None
                before = inner.add("ZerosLike", (made,)) if given.zeros_for_mask else inside[last]
                made = _masked(inner, mask, made, before)
            for place, value in zip(states, new, strict=True):
                results[place] = value
            if last is not None:
                results[last] = made
            if written is not None:
                attrs = {"element_dtype": made.dtype}
                results[written] = inner.add("TensorListSetItem", (inside[written], inside[0], made), attrs)
            return results

        def condition(graph: Graph, *inside: Value) -> list[Value]:
            return [ops.add(graph, "Less", [inside[0], inside[1]], name="more").output]

        types = [value.typed for value in variables.starts]
        graphs = {
            "cond": _graph("condition", variables.names, types, condition),
            "body": _graph("body", variables.names, types, body),
        }
        results = build.add_all("While", variables.starts, graphs)
        stacked = None if written is None else self._stack(results[written], output)
        ends = [results[place] for place in states]
        return Scanned(results[last] if last is not None else ends[index or 0], ends, stacked)

    def _steps(self) -> Value:
        return self.build.scalar(self.build.sizes(self.given.sequence)[0])

    def _output(self) -> tuple[Typed, int | None]:
        """The type of a step's output, and which state it is, if one: found by a trial that is thrown away."""
        graph = Graph("trial")
        given = [self.element, *(each.typed for each in self.given.states)]
        values = [_placeholder(graph, f"x{place}", typed) for place, typed in enumerate(given)]
        output, states = self.step(self.build.inside(graph), values[0], values[1:])
        index = next((place for place, state in enumerate(states) if state is output), None)
        return Typed(output.dtype, output.shape), index

    def _first_output(self, output: Typed) -> Value:
        """Zeros of the output's shape."""
        build = self.build
        sizes = list(output.shape or ())
        if not any(isinstance(each, str) for each in sizes[1:]):
            return build.zeros([build.sizes(self.given.sequence)[1], *(int(each) for each in sizes[1:])], dtype=output.dtype)
        raise build.unsupported("the size of its output is not known")

    def _reserve(self, output: Typed, steps: Value) -> Value:
        build = self.build
        shape = build.constant(_open(output.shape), DType.INT32, "element_shape")
        attrs = {"element_dtype": output.dtype, "shape_type": DType.INT32}
        return build.add("TensorListReserve", (shape, steps), attrs)

    def _stack(self, written: Value, output: Typed) -> Value:
        build = self.build
        known = build.shape(self.given.sequence)[0]
        shape = build.constant(_open(output.shape), DType.INT32, "element_shape")
        attrs = {"element_dtype": output.dtype, "num_elements": known if isinstance(known, int) else -1}
        return build.add("TensorListStack", (written, shape), attrs)


def _typed_step(sequence: Value) -> Typed:
    return Typed(sequence.dtype, (sequence.shape or ())[1:])


def _open(shape: Shape) -> list[int]:
    return [each if isinstance(each, int) else -1 for each in shape or ()]


def _list_from(build: Builder, sequence: Value, element: Typed) -> Value:
    shape = build.constant(np.asarray(_open(element.shape), np.int32), name="element_shape")
    attrs = {"element_dtype": element.dtype, "shape_type": DType.INT32}
    return build.add("TensorListFromTensor", (sequence, shape), attrs)


def _item(build: Builder, held: Value, place: Value, element: Typed) -> Value:
    shape = build.constant(np.asarray(_open(element.shape), np.int32), name="element_shape")
    return build.add("TensorListGetItem", (held, place, shape), {"element_dtype": element.dtype})


def _graph(name: str, names: Sequence[str], types: Sequence[Typed], make: Callable[..., list[Value]]) -> Graph:
    graph = Graph(name)
    values = [_placeholder(graph, label, typed) for label, typed in zip(names, types, strict=True)]
    graph.outputs = [Port(label, value) for label, value in zip(names, make(graph, *values), strict=False)]
    return graph


def _placeholder(graph: Graph, name: str, typed: Typed) -> Value:
    attrs = {"dtype": typed.dtype, "shape": typed.shape}
    node = graph.add("Placeholder", (), attrs, typed=[typed], name=name)
    graph.inputs.append(Port(name, node.output))
    return node.output
