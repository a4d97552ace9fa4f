"""Ops that choose between graphs or repeat them: If, Case, While. Branches and bodies see of the outside but their inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np

from tensorferry import ops
from tensorferry.errors import FerryError, NodeError
from tensorferry.ir import UNKNOWN_DIM, Dim, Graph, Node, Port, Shape, Typed, Value, format_shape
from tensorferry.ops.capturing import constant_results, lift_constant_results
from tensorferry.ops.empty_variables import carry_a_row_more, empty_axes
from tensorferry.ops.expansion import Expansion
from tensorferry.ops.samples import sample
from tensorferry.ops.spec import Declined, Example, Infer, OpSpec
from tensorferry.ops.tensor_lists import merge_elements
from tensorferry.targets import JsNode, LiteOp
from tensorferry.tensor import Array, DType

MAX_ITERATIONS = 1_000_000
"""After so many rounds a loop is taken for endless."""

_WIDENINGS = 8
"""How often the types of loop variables are widened before every size that still changes is given up."""


def branches_of(node: Node) -> list[Graph]:
    """The graphs that an If or a Case chooses between: for If, the one for true first."""
    if node.op == "If":
        return [_graph(node, "then_branch"), _graph(node, "else_branch")]
    count = sum(1 for key in node.attrs if key.startswith("branch_"))
    if not count:
        raise Declined("it has no branches")
    return [_graph(node, f"branch_{place}") for place in range(count)]


def _graph(node: Node, key: str) -> Graph:
    graph = node.get(key)
    if not isinstance(graph, Graph):
        raise Declined(f"its attribute '{key}' is no graph")
    return graph


# -- types ---------------------------------------------------------------------------------------------------------


def _infer_choice(node: Node) -> list[Typed]:
    branches = branches_of(node)
    for branch in branches:
        _check_arguments(branch, node.inputs[1:])
    gives = [[port.value.typed for port in branch.outputs] for branch in branches]
    if len({len(each) for each in gives}) != 1:
        raise Declined(f"its branches give {', '.join(str(len(each)) for each in gives)} results")
    return [_merge_alternatives(each) for each in zip(*gives, strict=True)]


def _infer_loop(node: Node) -> list[Typed]:
    condition, body = _graph(node, "cond"), _graph(node, "body")
    for graph in (condition, body):
        _check_arguments(graph, node.inputs)
    _check_arguments(body, [port.value for port in body.outputs])
    if len(condition.outputs) != 1:
        raise Declined(f"its condition gives {len(condition.outputs)} results, not one")
    return [
        Typed(port.value.dtype, port.value.shape, _carried_content(port.value, result.value, value))
        for port, result, value in zip(body.inputs, body.outputs, node.inputs, strict=True)
    ]


def _carried_content(inside: Value, result: Value, start: Value) -> tuple[Dim, ...] | None:
    """What a loop leaves as it was; of lists, whose content is their elements' shape, what holds in every round."""
    if inside.dtype is DType.VARIANT:
        return inside.content
    return start.content if result is inside else None


def _check_arguments(graph: Graph, values: Sequence[Value]) -> None:
    if len(graph.inputs) != len(values):
        raise Declined(f"'{graph.name}' takes {len(graph.inputs)} values and gets {len(values)}")
    for port, value in zip(graph.inputs, values, strict=True):
        inside = port.value
        known = DType.UNKNOWN not in (inside.dtype, value.dtype)
        if (known and inside.dtype is not value.dtype) or _differ(inside.shape, value.shape):
            raise Declined(
                f"'{port.name}' of '{graph.name}' is {inside.dtype} {format_shape(inside.shape)} and gets "
                f"{value.dtype} {format_shape(value.shape)}"
            )


def _differ(one: Shape, other: Shape) -> bool:
    """Whether no tensor can have both shapes."""
    if one is None or other is None:
        return False
    return len(one) != len(other) or any(
        a != b and isinstance(a, int) and isinstance(b, int) for a, b in zip(one, other, strict=True)
    )


def _merge_alternatives(alternatives: Sequence[Typed]) -> Typed:
    """What holds whichever of them comes."""
    first = alternatives[0]
    dtypes = {each.dtype for each in alternatives} - {DType.UNKNOWN}
    if len(dtypes) > 1:
        raise Declined(f"its branches give {' and '.join(sorted(dtypes))} for one result")
    shape = first.shape
    for each in alternatives[1:]:
        shape = _widen_shape(shape, each.shape)
    same = all(each.content == first.content for each in alternatives)
    return Typed(dtypes.pop() if dtypes else DType.UNKNOWN, shape, first.content if same and _is_sure(first.content) else None)


def _is_sure(content: tuple[Dim, ...] | None) -> bool:
    return content is not None and UNKNOWN_DIM not in content


def _widen_shape(one: Shape, other: Shape) -> Shape:
    if one is None or other is None or len(one) != len(other):
        return None
    return tuple(a if a == b else UNKNOWN_DIM for a, b in zip(one, other, strict=True))


def _settle_choice(node: Node, infer: Infer) -> None:
    for branch in branches_of(node):
        _enter(branch, [value.typed for value in node.inputs[1:]], infer)


def _settle_loop(node: Node, infer: Infer) -> None:
    """Find types that the loop's variables have in every round: from what they start with, sizes that change are given up."""
    condition, body = _graph(node, "cond"), _graph(node, "body")
    fixed = [result.value is port.value for port, result in zip(body.inputs, body.outputs, strict=False)]
    if len(fixed) != len(node.inputs):
        raise Declined(f"its body takes {len(body.inputs)} values and gives {len(body.outputs)}")
    types = [
        value.typed if kept or value.dtype is DType.VARIANT else Typed(value.dtype, value.shape)
        for value, kept in zip(node.inputs, fixed, strict=True)
    ]
    for widening in range(_WIDENINGS + 1):
        _enter(body, types, infer)
        results = [port.value for port in body.outputs]
        wider = [each if kept else _widen(each, result.typed) for each, kept, result in zip(types, fixed, results, strict=True)]
        if wider == types:
            break
        types = wider
        if widening == _WIDENINGS - 1:
            types = [each if kept else Typed(each.dtype, None) for each, kept in zip(types, fixed, strict=True)]
    _enter(condition, types, infer)


def _widen(before: Typed, after: Typed) -> Typed:
    """A variable's type for one more round; lists keep what is known of their elements."""
    content = merge_elements(before.content, after.content) if before.dtype is DType.VARIANT else None
    return Typed(before.dtype, _widen_shape(before.shape, after.shape), content)


def _enter(graph: Graph, types: Sequence[Typed], infer: Infer) -> None:
    """Type a graph anew for inputs of these types."""
    if len(graph.inputs) != len(types):
        raise Declined(f"'{graph.name}' takes {len(graph.inputs)} values and gets {len(types)}")
    given = {port.value.producer for port in graph.inputs}
    for port, typed in zip(graph.inputs, types, strict=True):
        node = port.value.producer
        dtype = node["dtype"] if typed.dtype is DType.UNKNOWN else typed.dtype
        port.value.retype(Typed(dtype, typed.shape, typed.content))
        node.attrs.update(dtype=dtype, shape=typed.shape)
    for node in graph.nodes:
        if node not in given:
            ops.settle(node, infer)
            for value, typed in zip(node.outputs, infer(node), strict=False):
                value.retype(typed)


# -- evaluation ----------------------------------------------------------------------------------------------------


class _Plan:
    """One graph made ready to run again and again: what is needed of it, constants at hand."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        needed = {port.value.producer for port in graph.outputs}
        given = {port.value.producer for port in graph.inputs}
        for node in reversed(graph.nodes):
            if node in needed and node not in given:
                needed.update(value.producer for value in node.inputs)
        self._nodes = [node for node in graph.nodes if node in needed and node not in given and node.op != "Const"]
        self._constants = {node.output: _elements(node) for node in graph.nodes if node in needed and node.op == "Const"}

    def run(self, arrays: Sequence[Array]) -> list[Array]:
        known = dict(self._constants)
        known.update((port.value, array) for port, array in zip(self._graph.inputs, arrays, strict=True))
        for node in self._nodes:
            known.update(zip(node.outputs, _compute(node, [known[value] for value in node.inputs]), strict=True))
        return [known[port.value] for port in self._graph.outputs]


def _elements(node: Node) -> Array:
    array: Array = node["value"].array()
    return array.astype(bool) if node.output.dtype is DType.BOOL and array.dtype != bool else array


def _compute(node: Node, arrays: Sequence[Array]) -> tuple[Array, ...]:
    try:
        return ops.evaluate(node, arrays)
    except NodeError:
        raise
    except FerryError as error:
        raise NodeError(node.name, node.op, error.what, remedy=error.remedy) from error


def is_true(array: Array) -> bool:
    """TensorFlow's rule for conditions of any type: a scalar that is not zero or empty text, any other tensor with elements."""
    array = np.asarray(array)
    return bool(array.reshape(-1)[0]) if array.ndim == 0 else array.size > 0


def _evaluate_if(node: Node, condition: Array, *arrays: Array) -> tuple[Array, ...]:
    chosen = branches_of(node)[0 if is_true(condition) else 1]
    return tuple(_Plan(chosen).run(arrays))


def _evaluate_case(node: Node, index: Array, *arrays: Array) -> tuple[Array, ...]:
    branches, place = branches_of(node), int(index.reshape(-1)[0])
    return tuple(_Plan(branches[place] if 0 <= place < len(branches) else branches[-1]).run(arrays))


def _evaluate_loop(node: Node, *arrays: Array) -> tuple[Array, ...]:
    return run_loop(node, arrays, MAX_ITERATIONS)


def run_loop(node: Node, arrays: Sequence[Array], most: int) -> tuple[Array, ...]:
    """What a While makes of these arrays; Declined when it is not done after `most` rounds."""
    condition, body = _Plan(_graph(node, "cond")), _Plan(_graph(node, "body"))
    variables = list(arrays)
    for _round in range(most + 1):
        if not is_true(condition.run(variables)[0]):
            return tuple(variables)
        variables = body.run(variables)
    raise Declined(f"it has not ended after {most} rounds")


# -- TensorFlow Lite and TensorFlow.js -----------------------------------------------------------------------------


def _check_condition(value: Value, what: str) -> None:
    if value.dtype is not DType.BOOL or value.shape != ():
        raise Declined(f"{what} is {value.dtype} {format_shape(value.shape)}, not one bool")


def _check_results(node: Node) -> None:
    """LiteRT hands on the memory of what a branch gives, and would free that of a constant twice."""
    if any(True for _result in constant_results(node)):
        raise Declined("a branch or body gives a constant")


def _lite_if(node: Node) -> list[LiteOp]:
    _check_condition(node.inputs[0], "its condition")
    _check_results(node)
    then_branch, else_branch = branches_of(node)
    options = {"then_subgraph_index": then_branch, "else_subgraph_index": else_branch}
    return [LiteOp("IF", node.inputs, tuple(node.outputs), options)]


def _lite_while(node: Node) -> list[LiteOp]:
    condition, body = _graph(node, "cond"), _graph(node, "body")
    _check_condition(condition.outputs[0].value, "its condition")
    _check_results(node)
    if empty_axes(node):
        raise Declined("a variable begins without elements, which LiteRT's WHILE fails on")
    options = {"cond_subgraph_index": condition, "body_subgraph_index": body}
    return [LiteOp("WHILE", node.inputs, tuple(node.outputs), options)]


def _js_if(node: Node) -> list[JsNode]:
    # StatelessIf: the executor knows by that name, and not as If, that what it gives must not be disposed of early.
    _check_condition(node.inputs[0], "its condition")
    then_branch, else_branch = branches_of(node)
    attrs = {"then_branch": then_branch, "else_branch": else_branch}
    return [JsNode("StatelessIf", node.inputs, tuple(node.outputs), attrs)]


def _js_while(node: Node) -> list[JsNode]:
    condition, body = _graph(node, "cond"), _graph(node, "body")
    _check_condition(condition.outputs[0].value, "its condition")
    return [JsNode("StatelessWhile", node.inputs, tuple(node.outputs), {"cond": condition, "body": body})]


def _expand_if(graph: Graph, node: Node) -> bool:
    """A condition that is no single bool becomes one; constants that a branch gives come from outside."""
    condition = node.inputs[0]
    truth = _truth(graph, node, condition)
    if truth is None or (truth is condition and not any(True for _result in constant_results(node))):
        return False
    node.set_input(0, truth)
    lift_constant_results(graph, node)
    return True


def _expand_while(graph: Graph, node: Node) -> bool:
    condition = _graph(node, "cond")
    port = condition.outputs[0]
    end = ops.add(condition, "Identity", [port.value], name="truth")
    truth = _truth(condition, end, port.value)
    condition.remove(end)
    empty = empty_axes(node)
    if truth is None or (truth is port.value and not empty and not any(True for _result in constant_results(node))):
        return False
    port.value = truth
    if empty:
        carry_a_row_more(graph, node, empty)
    lift_constant_results(graph, node)
    return True


def _truth(graph: Graph, before: Node, value: Value) -> Value | None:
    """`is_true` written out; None for types and ranks of which it cannot be."""
    expansion = Expansion(graph, before)
    if value.rank is None:
        return None
    if value.rank:
        count = expansion.make("Size", value, out_type=DType.INT32)
        return expansion.make("Greater", count, np.asarray(0, np.int32))
    if value.dtype is DType.BOOL:
        return value
    zero = np.asarray(b"", object) if value.dtype is DType.STRING else np.asarray(0, value.dtype.numpy)
    return expansion.make("NotEqual", value, zero)


def _expand_case(graph: Graph, node: Node) -> bool:
    """An If for each branch but the last, one inside the other; an index out of range means the last."""
    index, *arguments = node.inputs
    branches = branches_of(node)
    expansion = Expansion(graph, node)
    if len(branches) == 1:
        return expansion.finish(*splice(graph, node, branches[0], arguments))
    chosen = expansion.make("Equal", index, np.asarray(0, index.dtype.numpy))
    rest = branches[1] if len(branches) == 2 else _rest_of_case(node, branches[1:])
    inputs = [chosen, *arguments] if len(branches) == 2 else [chosen, *arguments, index]
    first = branches[0].copy()
    if len(branches) > 2:
        _add_input(first, "case_index", index.typed)
    made = expansion.make_node("If", *inputs, then_branch=first, else_branch=rest.copy())
    return expansion.finish(*made.outputs)


def _rest_of_case(node: Node, branches: Sequence[Graph]) -> Graph:
    """A graph that chooses between the later branches by the index, its last input, less one."""
    rest = Graph(f"{branches[0].name}_or_later")
    arguments = [_add_input(rest, port.name, port.value.typed) for port in branches[0].inputs]
    index = _add_input(rest, "case_index", node.inputs[0].typed)
    one = rest.constant(np.asarray(1, index.dtype.numpy), "one")
    # what is below zero means the last branch too, and must not become the first one's number
    large = rest.constant(np.asarray(len(branches), index.dtype.numpy), "last")
    zero = rest.constant(np.asarray(0, index.dtype.numpy), "zero")
    below = ops.add(rest, "Less", [index, zero], name="below")
    less = ops.add(rest, "Sub", [index, one], name="less")
    place = ops.add(rest, "SelectV2", [below.output, large, less.output], name="place")
    attrs = {f"branch_{number}": branch.copy() for number, branch in enumerate(branches)}
    case = ops.add(rest, "Case", [place.output, *arguments], attrs, name=node.name, origin=node.origin)
    rest.outputs = [Port(port.name, value) for port, value in zip(branches[0].outputs, case.outputs, strict=True)]
    return rest


def _add_input(graph: Graph, name: str, typed: Typed) -> Value:
    attrs = {"dtype": typed.dtype, "shape": typed.shape}
    node = graph.add("Placeholder", (), attrs, typed=[typed], name=name)
    graph.inputs.append(Port(node.name, node.output))
    return node.output


def splice(graph: Graph, node: Node, nested: Graph, arguments: Sequence[Value], prefix: str = "") -> list[Value]:
    """Copy a nested graph's nodes into the graph, before the node, reading these values; returns what the nested graph gives."""
    values = {port.value: argument for port, argument in zip(nested.inputs, arguments, strict=True)}
    given = {port.value.producer for port in nested.inputs}
    for inner in nested.nodes:
        if inner in given:
            continue
        attrs = {key: each.copy() if isinstance(each, Graph) else each for key, each in inner.attrs.items()}
        read = [values[value] for value in inner.inputs]
        name = f"{prefix or node.name}/{inner.name}"
        typed = [value.typed for value in inner.outputs]
        made = graph.add(inner.op, read, attrs, typed=typed, name=name, origin=inner.origin, before=node)
        for old, new in zip(inner.outputs, made.outputs, strict=True):
            new.quantization = old.quantization
            values[old] = new
    return [values[port.value] for port in nested.outputs]


# -- examples ------------------------------------------------------------------------------------------------------


def graph_of(name: str, types: Iterable[Typed], build: Callable[..., Sequence[Value]]) -> Graph:
    """A nested graph: `build` gets the graph and its inputs, adds nodes and returns what the graph gives."""
    graph = Graph(name)
    values = [_add_input(graph, f"x{place}", typed) for place, typed in enumerate(types)]
    graph.outputs = [Port(f"y{place}", value) for place, value in enumerate(build(graph, *values))]
    return graph


_MATRIX = Typed(DType.FLOAT32, (2, 3))
_COUNTER = Typed(DType.INT32, ())


def _unary(op: str, types: Sequence[Typed] = (_MATRIX,)) -> Graph:
    return graph_of(op.lower(), types, lambda graph, x, *_others: [ops.add(graph, op, [x], name="result").output])


def _if_examples() -> Iterator[Example]:
    attrs = {"then_branch": _unary("Relu"), "else_branch": _unary("Neg")}
    for condition in (True, False):
        yield Example((np.array(condition), sample(2, 3)), attrs)
    both = {
        "then_branch": graph_of("swapped", (_MATRIX, _MATRIX), lambda _graph, x, y: [y, x]),
        "else_branch": graph_of("fixed", (_MATRIX, _MATRIX), lambda graph, x, _y: [x, graph.constant(sample(2, 3, seed=9), "c")]),
    }
    for condition in (True, False):
        yield Example((np.array(condition), sample(2, 3), sample(2, 3, seed=1)), both, note="captures and constants")
    yield Example((np.array(3, np.int32), sample(2, 3)), attrs, note="a number as condition")
    yield Example((np.array([True, False]), sample(2, 3)), attrs, note="a vector as condition")


def _case_examples() -> Iterator[Example]:
    ops_of = ("Relu", "Neg", "Abs", "Square")
    for count, index in ((1, 0), (2, 1), (4, 0), (4, 2), (4, 3), (4, 9), (4, -1)):
        attrs = {f"branch_{place}": _unary(op) for place, op in enumerate(ops_of[:count])}
        yield Example((np.array(index, np.int32), sample(2, 3)), attrs)


def _count_to(limit: int, typed: Typed) -> Graph:
    def build(graph: Graph, i: Value, _x: Value) -> list[Value]:
        return [ops.add(graph, "Less", [i, graph.constant(np.array(limit, np.int32), "limit")], name="less").output]

    return graph_of("condition", (_COUNTER, typed), build)


def _step(typed: Typed, op: str, attrs: Mapping[str, object] | None = None) -> Graph:
    def build(graph: Graph, i: Value, x: Value) -> list[Value]:
        one = graph.constant(np.array(1, np.int32), "one")
        inputs = [x] if op != "ConcatV2" else [x, x, graph.constant(np.array(0, np.int32), "axis")]
        return [
            ops.add(graph, "AddV2", [i, one], name="next").output,
            ops.add(graph, op, inputs, attrs, name="step").output,
        ]

    return graph_of("body", (_COUNTER, typed), build)


def _while_examples() -> Iterator[Example]:
    for start in (0, 4):
        attrs = {"cond": _count_to(3, _MATRIX), "body": _step(_MATRIX, "Tanh")}
        yield Example((np.array(start, np.int32), sample(2, 3)), attrs)
    growing = Typed(DType.FLOAT32, (UNKNOWN_DIM, 3))
    attrs = {"cond": _count_to(3, growing), "body": _step(growing, "ConcatV2")}
    yield Example((np.array(0, np.int32), sample(2, 3)), attrs, note="a variable that grows")


SPECS = (
    OpSpec(
        name="If",
        aliases=("StatelessIf",),
        infer=_infer_choice,
        settle=_settle_choice,
        evaluate=_evaluate_if,
        expand=_expand_if,
        to_tflite=_lite_if,
        to_tfjs=_js_if,
        examples=_if_examples,
    ),
    OpSpec(
        name="Case",
        aliases=("StatelessCase",),
        infer=_infer_choice,
        settle=_settle_choice,
        evaluate=_evaluate_case,
        expand=_expand_case,
        examples=_case_examples,
    ),
    OpSpec(
        name="While",
        aliases=("StatelessWhile",),
        infer=_infer_loop,
        settle=_settle_loop,
        evaluate=_evaluate_loop,
        expand=_expand_while,
        to_tflite=_lite_while,
        to_tfjs=_js_while,
        examples=_while_examples,
    ),
)
