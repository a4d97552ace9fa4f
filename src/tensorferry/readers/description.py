"""Fills `Graph.facts` for the formats of TensorFlow: what a graph, a MetaGraph, a checkpoint say of themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tensorferry.facts import Facts, FunctionFact, PortFact, SignatureFact, VariableFact
from tensorferry.ir import Graph
from tensorferry.readers.metagraph import MetaGraph, Signature, TensorInfo
from tensorferry.readers.parsing import Contents
from tensorferry.readers.variables import Values
from tensorferry.tensor import DType, Tensor
from tensorferry.wire.bundle import OBJECT_GRAPH
from tensorferry.wire.protobuf import Span, fields
from tensorferry.wire.tensorflow import FunctionDef


def describe_contents(facts: Facts, contents: Contents) -> None:
    """A GraphDef: its version, its functions."""
    if contents.producer:
        facts.producer = f"TensorFlow, graph version {contents.producer}"
    functions = contents.functions
    facts.details.append(lambda facts: facts.functions.extend(_describe_function(name, span) for name, span in functions.items()))


def _describe_function(name: str, message: Span) -> FunctionFact:
    """FunctionDef: signature 1 (OpDef: input_arg 2, output_arg 3), node_def 3."""
    nodes = inputs = outputs = 0
    for each in fields(message):
        if each.tag == FunctionDef.NODE:
            nodes += 1
        elif each.tag == FunctionDef.SIGNATURE:
            tags = [part.tag for part in fields(each.delimited())]
            inputs, outputs = tags.count(2), tags.count(3)
    return FunctionFact(name, nodes, inputs, outputs)


def describe_metagraphs(facts: Facts, found: Sequence[MetaGraph], chosen: MetaGraph) -> None:
    """Tags of all, signatures of the one that is read, the TensorFlow that wrote it."""
    facts.tags = [each.tags for each in found]
    facts.chosen_tags = chosen.tags
    if chosen.producer:
        facts.producer = f"TensorFlow {chosen.producer}"
    describe_signatures(facts, chosen.signatures)


def describe_signatures(facts: Facts, signatures: Mapping[str, Signature]) -> None:
    """Public names, tensors, types and shapes, in the order of the file."""
    facts.signatures = [SignatureFact(name, _ports(each.inputs), _ports(each.outputs)) for name, each in signatures.items()]


def _ports(infos: Mapping[str, TensorInfo]) -> tuple[PortFact, ...]:
    return tuple(
        PortFact(
            name,
            info.tensor,
            "" if info.typed.dtype is DType.UNKNOWN else str(info.typed.dtype),
            info.typed.shape,
        )
        for name, info in infos.items()
    )


def mark_chosen(graph: Graph) -> None:
    """Tell which signature the graph's inputs and outputs are those of."""
    facts = graph.facts
    facts.signatures = [
        SignatureFact(each.name, each.inputs, each.outputs, each.name == graph.signature) for each in facts.signatures
    ]


def describe_values(facts: Facts, values: Values) -> None:
    """The variables of a checkpoint, optimisers and counters marked as such."""
    facts.variables = [
        VariableFact(variable_name(key), str(dtype), shape, role_of(key))
        for key, (dtype, shape) in values.describe().items()
        if key != OBJECT_GRAPH
    ]


_VALUE_SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"
_SLOTS = ("/.OPTIMIZER_SLOT/", "optimizer/", "/Adam", "/Momentum", "/RMSProp", "/Adagrad", "/Ftrl", "/ExponentialMovingAverage")
_COUNTERS = ("global_step", "save_counter", "beta1_power", "beta2_power", "_iterations")


def variable_name(key: str) -> str:
    """Without what object-based checkpoints append to each key."""
    return key.removesuffix(_VALUE_SUFFIX)


def role_of(key: str) -> str:
    """What a variable is for beside the model, by the names that TensorFlow's optimisers and savers give."""
    name = variable_name(key)
    if name.rpartition("/")[2] in _COUNTERS:
        return "counter"
    if "keras_api/metrics/" in name:
        return "metric"
    if any(slot in key for slot in _SLOTS):
        return "optimizer"
    return ""


def describe_weights(weights: Mapping[str, Tensor]) -> list[VariableFact]:
    """Weights by name, as variables."""
    return [VariableFact(name, str(tensor.dtype), tensor.shape) for name, tensor in weights.items()]


def describe_web_model(facts: Facts, document: Mapping[str, Any], weights: Mapping[str, Tensor]) -> None:
    """A `model.json`: the programs that made it, what a user put into it, its weights."""
    named = {key: document[key] for key in ("generatedBy", "convertedBy") if isinstance(document.get(key), str)}
    if named:
        facts.producer = ", converted by ".join(named.values())
    kept = {key: document[key] for key in ("format", "userDefinedMetadata") if document.get(key)}
    facts.metadata.update(kept)
    facts.variables = describe_weights(weights)
