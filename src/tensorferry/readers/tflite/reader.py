"""A TensorFlow Lite file to a Graph: which subgraph is meant, its inputs and outputs under their public names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tensorferry.ir import Graph, Origin, Port, Value
from tensorferry.readers.metagraph import Signature, choose_signature
from tensorferry.readers.tflite import (
    control,
    convolution,
    custom,
    elementwise,
    recurrent,
    reductions,
    shapes,
    stablehlo,
    state,
    windows,
)
from tensorferry.readers.tflite.building import Session, SubgraphReader
from tensorferry.readers.tflite.facts import describe_file
from tensorferry.readers.tflite.model import LiteModel, SignatureRecord, SubgraphRecord, read_model
from tensorferry.readers.tflite.steps import Rule
from tensorferry.storage import SourceFile
from tensorferry.wire.protobuf import malformed

_NAMELESS = "main"
"""The signature of a file that has none."""


def rules() -> dict[str, Rule]:
    """What each builtin operator means, by its name."""
    families = (elementwise, convolution, shapes, reductions, control, state, recurrent, stablehlo, windows)
    return {name: rule for family in families for name, rule in family.RULES.items()}


def signature_names(file: SourceFile) -> tuple[str, ...]:
    """The file's signatures, in its order."""
    return tuple(each.key for each in read_model(file).signatures)


def read_tflite(file: SourceFile, *, signature: str | None = None, any_will_do: bool = False, plain: bool = False) -> Graph:
    """The model, or the signature asked for. OptionError when there are several and none is named (unless any will do).

    `plain`: quantised tensors as the real numbers that they stand for, nothing rounded.
    """
    model = read_model(file)
    chosen = _choose(model, signature, any_will_do=any_will_do)
    record = model.subgraph(chosen.subgraph if chosen is not None else 0)
    session = Session(model, rules(), custom.read_custom, plain=plain)
    state.find_first_values(session)
    graph = Graph(record.name or file.path.stem)
    with session.inside(record.number):
        reader = SubgraphReader(session, record, graph, main=True)
        given = chosen.inputs if chosen is not None else {}
        names = _public_names(record, record.inputs, given)
        values = reader.add_inputs(dict(zip(record.inputs, names, strict=True)))
        graph.inputs = [Port(name, value) for name, value in zip(names, values, strict=True)]
        reader.run()
        graph.outputs = _outputs(reader, record, chosen.outputs if chosen is not None else {})
    _hold_effects(graph, reader.effects)
    graph.signature = chosen.key if chosen is not None and chosen.key else _NAMELESS
    graph.notices += session.notices
    if any(tensor.quantized and tensor.dtype.width <= 2 for tensor in record.tensors):
        rounded = "nothing is rounded, inputs and outputs are float32" if plain else "what it computes is rounded to its steps"
        graph.notices.append(f"the file is quantised: its weights become float32, {rounded}")
    describe_file(graph.facts, model, chosen)
    return graph


def _choose(model: LiteModel, wanted: str | None, *, any_will_do: bool) -> SignatureRecord | None:
    if wanted is None and not model.signatures:
        return None
    known = {each.key: each for each in model.signatures}
    key = choose_signature(dict.fromkeys(known, Signature()), wanted, any_will_do=any_will_do)
    return known[key]


def _public_names(record: SubgraphRecord, numbers: Sequence[int], given: Mapping[str, int]) -> list[str]:
    """The signature's names, else those of the tensors; no two alike."""
    by_number = {number: name for name, number in given.items()}
    names: list[str] = []
    for number in numbers:
        wanted = by_number.get(number) or record.tensors[number].name.removesuffix(":0") or f"tensor_{number}"
        name, count = wanted, 0
        while name in names:
            count += 1
            name = f"{wanted}_{count}"
        names.append(name)
    return names


def _outputs(reader: SubgraphReader, record: SubgraphRecord, given: Mapping[str, int]) -> list[Port]:
    """In the order of the subgraph; a tensor that the signature gives under two names is two outputs."""
    if any(number not in record.outputs for number in given.values()):
        raise malformed("a signature names an output that its subgraph does not have", 0)
    numbers = list(record.outputs)
    if given:
        pairs = sorted(given.items(), key=lambda item: numbers.index(item[1]))
    else:
        pairs = list(zip(_public_names(record, numbers, {}), numbers, strict=True))
    results = dict(zip(numbers, reader.results(), strict=True))
    return [Port(name, _named(reader, results[number], name)) for name, number in pairs]


def _named(reader: SubgraphReader, value: Value, name: str) -> Value:
    """An output that is an input, a constant or nothing's own name still has a node of its own to be asked for."""
    graph = reader.graph
    if value.producer.op not in ("Placeholder", "Const"):
        return value
    label = graph.unique_name(reader.node_name(name))
    return graph.add(
        "Identity", [value], {"T": value.dtype}, typed=[value.typed], name=label, origin=Origin((label,), "Identity")
    ).output


def _hold_effects(graph: Graph, effects: Sequence[str]) -> None:
    """Let the first output wait for what changes variables: a run does all of it."""
    if not effects or not graph.outputs:
        return
    port = graph.outputs[0]
    origin = Origin((port.name,), "Identity")
    value = port.value
    label = f"{value.producer.name}/after"
    port.value = graph.add(
        "Identity", [value], {"T": value.dtype}, typed=[value.typed], name=label, origin=origin, controls=effects
    ).output
