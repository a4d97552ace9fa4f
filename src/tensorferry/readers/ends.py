"""Where a graph that names no inputs and outputs begins and ends: what is fed, and what nobody reads.

A graph that was saved for training ends in losses, gradients and steps of an optimiser. The model ends before: where its results
meet the labels, or, without labels, behind its last layer.
"""

from __future__ import annotations

from collections.abc import Container, Iterator

from tensorferry.ir import Graph, Node, Value
from tensorferry.readers.feeding import FEEDS
from tensorferry.readers.tables import TABLES
from tensorferry.readers.training import Training, assigns, find_training, is_backward, reached
from tensorferry.readers.variables import VARIABLES
from tensorferry.tensor import DType

_BESIDE_FAMILIES = (
    ("Save", "Restore", "MergeV2Checkpoints", "ShardedFile"),
    ("Assign", "InitializeTable", "LookupTableImport", "LookupTableInsert"),
    ("ResourceScatter",),
    ("ScalarSummary", "HistogramSummary", "ImageSummary", "AudioSummary", "TensorSummary", "MergeSummary", "WriteSummary"),
    ("WriteScalarSummary", "WriteHistogramSummary", "WriteImageSummary", "WriteAudioSummary", "WriteRawProtoSummary"),
    ("SummaryWriter", "FlushSummaryWriter", "CloseSummaryWriter", "CreateSummary"),
    ("QueueEnqueue", "QueueClose", "NoOp", "Assert", "PrintV2", "StringFormat", "Abort"),
)
_BESIDE = tuple(name for family in _BESIDE_FAMILIES for name in family)
"""How the names of ops begin that stand beside a model: saving, initialising, training, logging, asserting. They are no outputs;
what they read may be one."""

_FOR_THEMSELVES = ("Assert", "AssignSub", "AssignAdd", "Apply", "ResourceApply", "SparseApply", "ResourceSparseApply")
"""How the names of ops begin whose inputs are computed for them alone: assertions, the steps of an optimiser and of averages."""

_LOSSES = frozenset({"SoftmaxCrossEntropyWithLogits", "SparseSoftmaxCrossEntropyWithLogits", "CTCLoss", "CTCLossV2"})
"""What follows from one of these is for training."""

_MEASURING = frozenset({"Shape", "ShapeN", "Rank", "Size", "ZerosLike", "OnesLike"})
"""What nobody reads of these in a graph with a backward pass is left of that."""

_FIRST_OUTPUT_ONLY = frozenset({"FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3", "LRN", "Merge"})
"""Ops whose further outputs are by-products that nobody asks for."""

_SOURCES = frozenset({*TABLES, "Const", "UnreadableConst", "Placeholder", "PlaceholderWithDefault", *VARIABLES})


def find_inputs(graph: Graph, among: Container[Node] | None = None) -> list[Value]:
    """Every placeholder (`among` these nodes); those with a default only when there are no others."""
    nodes = [node for node in graph.nodes if among is None or node in among]
    plain = [node.output for node in nodes if node.op == "Placeholder"]
    return plain or [node.output for node in nodes if node.op == "PlaceholderWithDefault"]


def find_outputs(graph: Graph) -> list[Value]:
    """What nobody reads, other than nodes that stand beside the model; from inputs where there are such."""
    beside, training = _find_beside(graph), find_training(graph)
    if training is not None:
        beside |= training.labelled
        beside |= set(_judgements(graph, beside))
    ends = [node for node in graph.nodes if node not in beside and node.op not in _SOURCES and _is_end(node, beside)]
    fed = reached([*find_inputs(graph), *(value for node in graph.nodes if node.op in FEEDS for value in node.outputs)])
    ends = [node for node in ends if node in fed] or ends
    if training is not None:
        ends = _before_losses(graph, ends, training, beside)
        # One number is a loss or a measure there. Where nothing else is left, it is made of the result itself.
        ends = [node for node in ends if node.outputs[0].shape != ()] or list(_last_layers(training, beside)) or ends
    ends = [node for node in ends if not _is_left_of_loop(node)] or ends
    values = [value for node in ends for value in (node.outputs[:1] if node.op in _FIRST_OUTPUT_ONLY else node.outputs)]
    return [value for value in values if value.dtype not in _NO_TENSOR] or values


_NO_TENSOR = frozenset({DType.VARIANT, DType.RESOURCE})


def _is_left_of_loop(node: Node) -> bool:
    """Whether TensorFlow put it behind a loop for each of its variables, asked for or not: it bears the loop's name."""
    maker = node.inputs[0].producer if node.op == "Identity" and node.inputs else node
    return maker.op in ("While", "StatelessWhile") and node.name.startswith(f"{maker.name}/Identity")


def _before_losses(graph: Graph, ends: list[Node], training: Training, beside: set[Node]) -> list[Node]:
    """Parts of a loss that is written out, such as of a sigmoid's, are no ends: the result that all of them are made of is."""
    meeting = [
        node
        for node in graph.nodes
        if node not in beside and any(user in training.labelled for value in node.outputs for user in value.users)
    ]
    layers, parts = set(training.layers), set(ends)
    behind = {node: _reached_without(node, beside | layers) for node in meeting if node.outputs[0].dtype.is_float}
    dropped = {node for reach in behind.values() for node in reach & parts & set(meeting)}
    if not dropped:
        return ends
    kept = [node for node in ends if node not in dropped]
    results = [node for node, reach in behind.items() if reach & dropped and not any(node in other for other in behind.values())]
    return kept + [node for node in results if behind[node].isdisjoint(kept) and node not in kept]


def _reached_without(start: Node, barred: set[Node]) -> set[Node]:
    waiting, seen = [start], set()
    while waiting:
        for value in waiting.pop().outputs:
            for user in value.users:
                if user not in seen and user not in barred:
                    seen.add(user)
                    waiting.append(user)
    return seen


def _judgements(graph: Graph, beside: set[Node]) -> Iterator[Node]:
    """The class that a net decides for, where it is only made to be compared with the label."""
    judging = set(beside)
    for node in reversed(graph.nodes):
        discrete = bool(node.outputs) and all(value.dtype.is_integer or value.dtype == "bool" for value in node.outputs)
        users = [user for value in node.outputs for user in value.users]
        if node not in beside and node.op not in _SOURCES and discrete and users and all(user in judging for user in users):
            judging.add(node)
            yield node


def _last_layers(training: Training, beside: set[Node]) -> Iterator[Node]:
    """The layers with weights that no other follows, each with what is computed of its result alone."""
    layers = [node for node in training.layers if node not in beside]
    among = set(layers)
    for last in layers:
        if among.isdisjoint(reached(last.outputs) - beside):
            end: Node | None = last
            while end is not None:
                last, end = end, _only_reader(end, beside)  # noqa: PLW2901 - the end moves on
            yield last


def _only_reader(node: Node, beside: set[Node]) -> Node | None:
    readers = [user for value in node.outputs for user in value.users if user not in beside]
    if len(set(readers)) != 1 or len(readers[0].outputs) != 1:
        return None
    (reader,) = set(readers)
    others = [value for value in reader.inputs if value.producer is not node]
    same = reader.output.rank is not None and reader.output.rank == node.outputs[0].rank
    return reader if same and all(value.constant is not None for value in others) else None


def _is_end(node: Node, beside: set[Node]) -> bool:
    return bool(node.outputs) and all(user in beside for value in node.outputs for user in value.users)


def _find_beside(graph: Graph) -> set[Node]:
    # An Identity of a Switch that nobody reads is a pivot of TensorFlow 1's conditions: others wait for it. What guards an Assert
    # carries that in its name. Of a loss only the first input, the logits, is the model's.
    losses = _losses(graph)
    backward = {node for node in graph.nodes if is_backward(node)}
    trained = reached(value for node in losses | backward for value in node.outputs) | backward
    alone = trained - losses
    beside = losses | trained
    for node in reversed(graph.nodes):
        users = [user for value in node.outputs for user in value.users]
        pivot = not users and node.op == "Identity" and bool(node.inputs) and node.inputs[0].producer.op == "Switch"
        guard = not users and "/AssertGuard/" in node.name
        served = bool(users) and all(user in alone or (user in losses and user.inputs[0].producer is not node) for user in users)
        updating = not users and (assigns(node) or (node.op == "Identity" and assigns(node.inputs[0].producer)))
        measured = not users and bool(backward) and node.op in _MEASURING
        if node in losses:
            continue
        if node.op.startswith(_FOR_THEMSELVES) or pivot or guard or served or measured or updating:
            alone.add(node)
            beside.add(node)
        elif node.op.startswith(_BESIDE):
            beside.add(node)
    return beside


def _losses(graph: Graph) -> set[Node]:
    """The loss ops, and what brings the logits into the form they want."""
    found = {node for node in graph.nodes if node.op in _LOSSES}
    waiting = list(found)
    while waiting:
        maker = waiting.pop().inputs[0].producer
        if maker.op in ("Reshape", "Cast", "Transpose") and maker not in found:
            found.add(maker)
            waiting.append(maker)
    return found
