"""Parts of a graph that behave otherwise while a net is trained, turned to what they do when it is used.

What chooses between the two (`is_training`, a learning phase) is told by its branches, not by its name: the one that draws random
numbers, normalises by the batch or updates averages is for training. Batch normalisation in its training form takes the averages
that the graph itself keeps of the batch's statistics.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np

from tensorferry import ops
from tensorferry.ir import Graph, Node, Typed, Value
from tensorferry.readers.extraction import sort_graph
from tensorferry.readers.training import find_training, is_step, root_variable
from tensorferry.readers.variables import HANDLES, REFERENCES, VARIABLES
from tensorferry.tensor import DType

_HANDING_ON = frozenset({"Identity", "StopGradient", "Squeeze", "Reshape", "Cast", "ExpandDims", "Snapshot"})
_NORMS = frozenset({"FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"})
_AVERAGING = frozenset({"AssignSub", "AssignSubVariableOp"})
_MOST_STEPS = 12


def settle_training(graph: Graph, run: Collection[Node], given: Collection[Value]) -> None:
    """Turn what can be turned; `given` are the inputs that the user or a signature names, which stay as they are."""
    turned = _settle_phases(graph, run, given)
    averaged = _use_averages(graph, run)
    if turned or averaged:
        sort_graph(graph)


def tell_training(graph: Graph, run: Collection[Node], *, found: bool) -> None:
    """Say that a graph was one for training, and what of that is left out."""
    steps = [node for node in graph.nodes if is_step(node) and node not in run]
    if not steps:
        return
    kinds = sorted({node.op.removeprefix("Resource").removeprefix("Sparse").removeprefix("Apply") for node in steps})
    told = f"{len(steps)} steps" if len(steps) != 1 else "1 step"
    notice = f"the graph is one for training: its optimiser ({told} of {', '.join(kinds)}), gradients and losses are left out"
    training = find_training(graph) if found else None
    if training is not None and training.labels:
        notice += f"; {', '.join(repr(value.name) for value in training.labels)} counts as labels"
    graph.notices.append(notice)


# -- phases --------------------------------------------------------------------------------------------------------


def _settle_phases(graph: Graph, run: Collection[Node], given: Collection[Value]) -> int:
    count = 0
    for node in tuple(graph.nodes):
        phase = node.output if node.op in ("Placeholder", "PlaceholderWithDefault") and len(node.outputs) == 1 else None
        if phase is None or phase.dtype is not DType.BOOL or phase in given or phase.shape not in ((), None):
            continue
        chosen = [each for each in _choices(phase) if each[0] in run]
        verdicts = {training for choice, negated in chosen if (training := _training_outcome(choice, negated)) is not None}
        if len(verdicts) != 1 or (node.op == "PlaceholderWithDefault" and _default(node) is not verdicts.copy().pop()):
            continue
        (training,) = verdicts
        made = graph.constant(np.asarray(not training), f"{node.name}/inference", before=node, origin=node.origin)
        graph.replace_uses(phase, made)
        graph.notices.append(f"'{node.name}' chooses between training and inference: it is {not training}, for inference")
        for choice, negated in chosen:
            _inline(graph, choice, "then_branch" if training is negated else "else_branch")
        count += 1
    return count


def _inline(graph: Graph, choice: Node, branch: str) -> None:
    """Put the nodes of a branch in the place of the choice."""
    nested = dict(choice.graphs()).get(branch)
    if nested is None:
        return
    values = {port.value: value for port, value in zip(nested.inputs, choice.inputs[1:], strict=True)}
    for node in nested.nodes:
        if node.outputs and node.outputs[0] in values:
            continue
        attrs = {key: each.copy() if isinstance(each, Graph) else each for key, each in node.attrs.items()}
        made = graph.add(
            node.op,
            [values[value] for value in node.inputs],
            attrs,
            typed=[value.typed for value in node.outputs],
            name=graph.unique_name(f"{choice.name}/{node.name}"),
            origin=node.origin,
            before=choice,
        )
        values.update(zip(node.outputs, made.outputs, strict=True))
    for old, port in zip(choice.outputs, nested.outputs, strict=True):
        graph.replace_uses(old, values[port.value])
    graph.remove(choice)


def _default(node: Node) -> bool | None:
    tensor = node.inputs[0].constant
    return bool(tensor.array().reshape(-1)[0]) if tensor is not None and tensor.size == 1 else None


def _choices(phase: Value) -> Iterator[tuple[Node, bool]]:
    """(If that the phase decides, whether by its opposite)."""
    waiting = [(phase, False)]
    while waiting:
        value, negated = waiting.pop()
        for user in dict.fromkeys(value.users):
            if user.op == "If" and user.inputs[0] is value:
                yield user, negated
            elif user.op == "LogicalNot":
                waiting.append((user.output, not negated))
            elif user.op in ("Identity", "Reshape") and user.inputs[0] is value:
                waiting.append((user.output, negated))


def _training_outcome(choice: Node, negated: bool) -> bool | None:
    """The value of the phase under which the node does what is done in training; None when its branches do not tell."""
    branches = dict(choice.graphs())
    busy = {key: _trains(nested) for key, nested in branches.items()}
    then, other = busy.get("then_branch", False), busy.get("else_branch", False)
    if then == other:
        steady = {key: _reads_variable(choice, nested) for key, nested in branches.items()}
        then, other = steady.get("else_branch", False), steady.get("then_branch", False)
    return None if then == other else then is not negated


def _trains(graph: Graph) -> bool:
    """Whether it draws, normalises by the batch or assigns."""
    for node in graph.nodes:
        spec = ops.find(node.op)
        if (spec is not None and spec.drawn) or node.op.startswith(("Assign", "Random")):
            return True
        if node.op in _NORMS and node.get("is_training", True):
            return True
        if any(_trains(nested) for _key, nested in node.graphs()):
            return True
    return False


def _reads_variable(choice: Node, nested: Graph) -> bool:
    """Whether a result is no more than the value of a variable from outside."""
    given = {port.value: value for port, value in zip(nested.inputs, choice.inputs[1:], strict=False)}
    for port in nested.outputs:
        value = port.value
        while value not in given and value.producer.op in ("Identity", "ReadVariableOp") and value.producer.inputs:
            value = value.producer.inputs[0]
        if value in given and root_variable(given[value]).op in VARIABLES:
            return True
    return False


# -- batch normalisation -------------------------------------------------------------------------------------------


def _use_averages(graph: Graph, run: Collection[Node]) -> int:
    """Put the moving averages in the place of the batch's statistics that they follow, unless a run updates them."""
    averages = {statistic: variable for variable, statistic in _averages(graph, run)}
    norms: dict[Node, dict[int, Node]] = {}
    count = 0
    for statistic, variable in averages.items():
        chain, source = _chain(statistic)
        if source.producer.op in _NORMS and source.index in (1, 2):
            norms.setdefault(source.producer, {})[source.index] = variable
        elif source.producer.op == "Mean" and _is_read(chain, run):
            count += _replace(graph, chain, variable)
    for norm, found in norms.items():
        if norm.get("is_training", True) and len(found) == 2 and len(norm.inputs) >= 3:
            norm.attrs["is_training"] = False
            norm.set_inputs([*norm.inputs[:3], *(_read(graph, found[index], norm) for index in (1, 2))])
            count += 1
    if count:
        told = "1 batch normalisation" if len(norms) == 1 and count == 1 else "batch normalisations"
        graph.notices.append(f"{told} in training mode: the moving averages stand in the place of each batch's statistics")
    for node in graph.nodes:
        if node in run and node.op in _NORMS and node.get("is_training", True):
            graph.notices.append(f"'{node.name}' normalises each batch by its own statistics: the graph keeps no averages of them")
    return count


def _averages(graph: Graph, run: Collection[Node]) -> Iterator[tuple[Node, Value]]:
    """(variable, value that it is the moving average of): variable -= (variable - value) * rate."""
    for node in graph.nodes:
        if node.op not in _AVERAGING or node in run or len(node.inputs) < 2:
            continue
        variable = root_variable(node.inputs[0])
        product = _seen(node.inputs[1]).producer
        if variable.op not in HANDLES | REFERENCES or product.op != "Mul":
            continue
        for factor in product.inputs:
            difference = _seen(factor).producer
            if difference.op == "Sub" and root_variable(difference.inputs[0]) is variable:
                yield variable, difference.inputs[1]


def _seen(value: Value) -> Value:
    for _ in range(_MOST_STEPS):
        if value.producer.op != "Identity":
            break
        value = value.producer.inputs[0]
    return value


def _chain(value: Value) -> tuple[list[Value], Value]:
    """The values from a statistic back to what computes it, and that."""
    chain = [value]
    for _ in range(_MOST_STEPS):
        node = value.producer
        scaled = node.op == "Mul" and any(each.constant is not None and each.constant.size == 1 for each in node.inputs)
        if node.op in _HANDING_ON:
            value = node.inputs[0]
        elif scaled:  # the correction that makes a batch's variance an estimate
            value = next((each for each in node.inputs if each.constant is None), node.inputs[0])
        else:
            break
        chain.append(value)
    return chain, value


def _is_read(chain: list[Value], run: Collection[Node]) -> bool:
    return any(user in run for value in chain for user in value.users)


def _replace(graph: Graph, chain: list[Value], variable: Node) -> int:
    """Let what reads a value of the chain, from the end on, read the average in its shape."""
    inside = {value.producer for value in chain}
    for value in chain:
        shape = value.static_shape
        users = [user for user in dict.fromkeys(value.users) if user not in inside and not _updates(user, variable)]
        if shape is None or not users or (value.producer.op == "Mean" and all(user.op == "StopGradient" for user in users)):
            continue
        average = _read(graph, variable, value.producer)
        if average.static_shape != shape:
            wanted = graph.constant(np.asarray(shape, np.int64), f"{value.producer.name}/average/shape")
            average = ops.add(graph, "Reshape", [average, wanted], {}, name=f"{value.producer.name}/average").outputs[0]
        for user in users:
            user.set_inputs([average if each is value else each for each in user.inputs])
    return 1


def _updates(node: Node, variable: Node) -> bool:
    return node.op == "Sub" and root_variable(node.inputs[0]) is variable


def _read(graph: Graph, variable: Node, reader: Node) -> Value:
    name = f"{reader.name}/{variable.name.rpartition('/')[2]}"
    if variable.op in HANDLES:
        dtype, shape = variable.get("dtype", DType.FLOAT32), variable.get("shape")
        typed = [Typed(dtype, shape if isinstance(shape, tuple) else None)]
        return graph.add(
            "ReadVariableOp", [variable.output], {"dtype": dtype}, typed=typed, name=graph.unique_name(name), origin=reader.origin
        ).output
    return ops.add(graph, "Identity", [variable.output], {"T": variable.output.dtype}, name=name, origin=reader.origin).outputs[0]
