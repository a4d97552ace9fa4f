"""One target of each kind: where it is staged while it is made, which writer makes it, and what is said of it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from tensorferry.errors import OptionError
from tensorferry.ir import Graph
from tensorferry.layersmodel.document import write_layers_model
from tensorferry.layersmodel.names import give_names, tell_layers
from tensorferry.layersmodel.records import Net
from tensorferry.layersmodel.translation import acts_in_training, tell_obstacles, translate
from tensorferry.naming import DEFAULT_SIGNATURE, tell_names
from tensorferry.ops.spec import Declined
from tensorferry.options import KINDS, TARGETS, Kind, Options
from tensorferry.passes import pipelines
from tensorferry.passes.public_names import expose_ports
from tensorferry.program import Program
from tensorferry.quant.planfile import read_plan
from tensorferry.quantising import Quantised, WebQuantised, calibration_of, follow, quantise, scheme_of
from tensorferry.wire import tflite_metadata
from tensorferry.wire.signatures import signature
from tensorferry.wire.tfjs_releases import oldest_release
from tensorferry.writers.atomic import Stage, StagedFile, StagedFolder
from tensorferry.writers.checkpoint import META, SUFFIXES, write_checkpoint
from tensorferry.writers.foreign import js_fallback, lite_fallback
from tensorferry.writers.graphdef import drain, encode_graph, write_text
from tensorferry.writers.npz import write_npz
from tensorferry.writers.savedmodel import write_savedmodel
from tensorferry.writers.stages import StagedPrefix, StagedTree
from tensorferry.writers.tfjs import write_tfjs
from tensorferry.writers.tfjs_quantised import Reduction, WeightRule
from tensorferry.writers.tfjs_weights import NARROWED
from tensorferry.writers.tflite import write_program
from tensorferry.writers.tflite_metadata import Card, Described, append_files, describe_program, read_labels
from tensorferry.writers.tflite_program import make_program
from tensorferry.writers.variables import find_weights

PathLike = str | os.PathLike[str]
WEB = ("tfjs", "tfjs-layers")


@dataclass(frozen=True, slots=True)
class Delivered:
    """What a writer says of its target. `custom`: operators that a plain runtime lacks; `runtime`: the oldest that loads it.

    `kind`: what it became, where that is not what was asked for.
    """

    size: int
    files: tuple[str, ...]
    operators: Mapping[str, int] = field(default_factory=dict)
    custom: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()
    runtime: str = ""
    quantised: Quantised | WebQuantised | None = None
    kind: Kind | None = None


@dataclass(slots=True)
class Work:
    """A source's graph in the forms that targets begin with, each made when it is first wanted."""

    source: Graph
    options: Options
    notices: list[str] = field(default_factory=list)
    tell: Callable[[str], None] = lambda _step: None
    """Told what takes long within a step."""
    _prepared: Graph | None = None
    _plain: Graph | None = None

    def prepared(self) -> Graph:
        """In normal form, for the targets with an instruction set of their own."""
        if self._prepared is None:
            self._prepared = self.source.copy()
            self._prepared.notices += [each for each in self.notices if each not in self._prepared.notices]
            for each in (self._prepared, *self._prepared.siblings):
                pipelines.prepare(each)
        return self._prepared

    def plain(self) -> Graph:
        """As it was read, in TensorFlow's own ops."""
        if self._plain is None:
            self._plain = self.source.copy()
            pipelines.finish(self._plain, "tensorflow")
        return self._plain

    def told(self) -> tuple[str, ...]:
        """Notices that are not of one target alone."""
        made = [graph for graph in (self.source, self._prepared, self._plain) if graph is not None]
        return tuple(dict.fromkeys((*(each for graph in made for each in graph.notices), *self.notices)))


def place_of(target: PathLike, kind: Kind) -> Path:
    """The file or folder that a target's name stands for: `model.json` is its folder."""
    path = Path(target)
    return path.parent if kind in WEB and path.name == "model.json" else path


def stage_for(target: PathLike, kind: Kind, source: Path) -> Stage:
    """Where to write the target for now."""
    if kind in WEB:
        return StagedFolder(place_of(target, kind), [source])
    if kind == "savedmodel":
        return StagedTree(target, [source])
    if TARGETS[kind].form == "prefix":
        return StagedPrefix(target, SUFFIXES, [source])
    return StagedFile(target, [source])


def deliver(work: Work, stage: Stage, kind: Kind) -> Delivered:
    """Write one target into its stage."""
    if kind == "tfjs-layers":
        return _deliver_layers(work, stage)
    begun = work.prepared() if kind in KINDS else work.plain()
    graph = begun.copy()
    if kind != "tflite" and graph.siblings:
        graph.notices.append(f"signature '{graph.signature}' alone is written: this kind of target gets one")
        graph.siblings.clear()
    write = partial(_deliver_tflite, tell=work.tell) if kind == "tflite" else _WRITERS[kind]
    delivered = write(graph, stage, work.options)
    said = [notice for notice in graph.notices if notice not in begun.notices]
    if work.options.keep_names:
        said.append(tell_names(work.source, graph, public=kind != "tflite"))
    said += _tell_unused(work.options, kind)
    if kind == "tflite" and tflite_metadata.BUFFER in work.source.facts.metadata and not card_of(work.options):
        said.append("the source's metadata is not carried over: give its labels and the rest anew (--labels, --mean, --std, ...)")
    return replace(delivered, notices=tuple(dict.fromkeys((*said, *delivered.notices))))


FRAMED = ("tfjs", "graphdef", "graphdef-text")
"""Targets in which loops and choices may have TensorFlow 1's form."""


def _tell_unused(options: Options, kind: Kind) -> list[str]:
    """What is asked of other kinds of targets alone."""
    said = []
    if options.control_flow == "v1" and kind not in FRAMED:
        said.append(f"control flow stays functional: a {TARGETS[kind].title} has no other form")
    if options.metadata and kind not in (*KINDS, *WEB):
        said.append(f"metadata is not written: a {TARGETS[kind].title} has no place for it")
    if options.quantize and not options.ways_for(kind):
        said.append(f"nothing is quantised in it: {', '.join(options.quantize)} is for other targets")
    if kind != "tflite" and card_of(options):
        said.append("labels, normalisation, name and author are not written: they are metadata of TensorFlow Lite files")
    return said


# -- TensorFlow Lite and TensorFlow.js -----------------------------------------------------------------------------


def _signature_of(graph: Graph, options: Options) -> str:
    """A single signature bears the name that programs expect, unless the user gave it another."""
    return graph.signature if graph.signature in options.rename.values() else DEFAULT_SIGNATURE


def _deliver_tflite(graph: Graph, stage: Stage, options: Options, tell: Callable[[str], None]) -> Delivered:
    family = (graph, *graph.siblings)
    for each in family:
        pipelines.finish(each, "tflite")
    if options.state_as_io:
        tell_states(graph)
        for each in family:
            each.states.clear()
    extra = {key: path.read_bytes() for key, path in options.metadata.items()}
    fallback = lite_fallback(custom=options.allow_custom, select=options.allow_select)
    program = make_program(graph, _signature_of(graph, options), fallback)
    card = card_of(options)
    if card:
        describe_program(program, card)  # what does not fit is told before the work
    quantised = _quantised(program, options, tell)
    program = program if quantised is None else quantised.program
    described = describe_program(program, card) if card else Described(b"", {})
    extra |= {tflite_metadata.BUFFER: described.metadata} if card else {}
    facts = write_program(program, stage.path, metadata=extra)
    size = facts.size + append_files(stage.path, described.files)
    notices = (*facts.notices, *(() if quantised is None else quantised.notices), *described.notices)
    runtime = f"TensorFlow Lite {facts.oldest_runtime} and later"
    return Delivered(size, (stage.given.name,), facts.operators, facts.custom, notices, runtime, quantised)


def _quantised(program: Program, options: Options, tell: Callable[[str], None]) -> Quantised | None:
    """As the options ask, or as the plan says that they name."""
    calibration = calibration_of(options, lambda trial: tell(f"try what stays float, trial {trial}"))
    if options.plan is not None:
        path = options.plan
        return follow(program, lambda each: read_plan(path, each), calibration)
    scheme = scheme_of(options)
    return None if scheme is None else quantise(program, scheme, calibration)


def card_of(options: Options) -> Card:
    """What the options say of a model. OptionError for labels that cannot be read, and for metadata that is given twice."""
    card = Card(
        options.model_name,
        options.description,
        options.version_name,
        options.author,
        options.license,
        options.mean,
        options.std,
        {output: read_labels(path) for output, path in options.labels.items()},
    )
    if card and tflite_metadata.BUFFER in options.metadata:
        raise OptionError(
            f"the metadata '{tflite_metadata.BUFFER}' is given as a file and in options", remedy="leave out one of the two"
        )
    return card


def _deliver_tfjs(graph: Graph, stage: Stage, options: Options) -> Delivered:
    pipelines.finish(graph, "tfjs")
    _settle_control_flow(graph, options, "tfjs")
    tell_states(graph)
    extra = {key: _read_json(path) for key, path in options.metadata.items()}
    facts = write_tfjs(
        graph,
        stage.path,
        shard_size=options.shard_size,
        metadata=extra,
        fallback=js_fallback(custom=options.allow_custom),
        reduction=_reduction(options),
    )
    oldest = oldest_release(facts.operators, halves="float16" in facts.stored)
    runtime = f"TensorFlow.js {oldest} and later" if oldest else ""
    quantised = WebQuantised(facts.stored) if options.ways_for("tfjs") else None
    return Delivered(facts.nbytes, facts.files, facts.operators, facts.custom, facts.notices, runtime, quantised)


def _reduction(options: Options) -> Reduction | None:
    """What is asked of the weights of either kind of model of TensorFlow.js."""
    ways = options.ways_for("tfjs")
    return Reduction([WeightRule(*each) for each in ways], options.keep_float) if ways else None


def _deliver_layers(work: Work, stage: Stage) -> Delivered:
    """The layers of the source as they are; where that cannot be, the graph, and why."""
    graph, options = work.source, work.options
    if graph.facts.tree is None:
        raise OptionError(
            "only a Keras model can become a layers-model",
            why="the source says what is computed, not which layers do it",
            remedy="leave out --to, or say --to tfjs: a page loads that with tf.loadGraphModel",
        )
    obstacle = _why_no_layers(graph, options)
    if not obstacle:
        net, obstacles = translate(graph.facts.tree)
        obstacle = tell_obstacles(obstacles) or give_names(
            net, [port.name for port in graph.inputs], [port.name for port in graph.outputs]
        )
    if not obstacle:
        extra = {key: _read_json(path) for key, path in options.metadata.items()}
        try:
            facts = write_layers_model(
                net,
                stage.path,
                producer=graph.facts.producer,
                shard_size=options.shard_size,
                metadata=extra,
                reduction=_reduction(options),
            )
            notices = (_LOADS, *_tell_options(net, work), *facts.notices)
            quantised = WebQuantised(facts.stored) if options.ways_for("tfjs-layers") else None
            return Delivered(facts.nbytes, facts.files, facts.layers, notices=notices, quantised=quantised)
        except Declined as error:
            obstacle = str(error)
    delivered = deliver(work, stage, "tfjs")
    notice = f"written as a graph-model, which a page loads with tf.loadGraphModel, not as a layers-model: {obstacle}"
    return replace(delivered, notices=(notice, *delivered.notices), kind="tfjs")


_LOADS = "a page loads it with tf.loadLayersModel"


def _tell_options(net: Net, work: Work) -> list[str]:
    """What becomes of options that layers know little of, and of what only acts in training."""
    options = work.options
    narrowed = [port for port in work.source.inputs if port.value.dtype in NARROWED]
    said = [
        f"TensorFlow.js has no {port.value.dtype}: {NARROWED[port.value.dtype]} is used for input '{port.name}'"
        for port in narrowed
    ]
    if options.keep_names:
        said.append(tell_layers(net))
    if acts_in_training(work.source.facts.tree):
        said.append("regularisers and constraints are left out: they only act in training")
    return said + _tell_unused(options, "tfjs-layers")


def _why_no_layers(graph: Graph, options: Options) -> str:
    """What the user, or the model, wants that layers as they are do not do."""
    asked = {
        "--inputs": options.inputs,
        "--outputs": options.outputs,
        "--rename": options.rename,
        "--shape": options.input_shapes,
        "--fixed": options.fixed,
    }
    given = [name for name, value in asked.items() if value]
    if given:
        return f"{', '.join(given)} {'changes' if len(given) == 1 else 'change'} the model"
    return "it has variables that a run changes" if graph.states else ""


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes(), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise OptionError(
            f"the metadata file '{path}' is no JSON, as TensorFlow.js wants it", why=str(error)[:200], remedy="give a JSON file"
        ) from error


def _refuse_constant(name: str) -> None:
    raise ValueError(f"JSON has no {name}")


_FEW = 1 << 16
"""Elements of a variable whose first value is looked at, to tell it."""


def tell_states(graph: Graph) -> None:
    """What a program has to do about variables that have become inputs and outputs."""
    for name, state in graph.states.items():
        elements = set(state.first.array().reshape(-1).tolist()) if state.first.size <= _FEW else set()
        first = f"{elements.pop()}" if len(elements) == 1 else "the value that the source initialises it with"
        graph.notices.append(
            f"variable '{name}' is an input: give it {first} at first, then what the output '{state.output}' was the last time"
        )


# -- TensorFlow's own formats --------------------------------------------------------------------------------------


def _settle_control_flow(graph: Graph, options: Options, target: str = "tensorflow") -> None:
    if options.control_flow == "v1":
        pipelines.finish(graph, f"{target} frames")


def _deliver_graphdef(graph: Graph, stage: Stage, options: Options) -> Delivered:
    _settle_control_flow(graph, options)
    tell_states(graph)
    expose_ports(graph)
    operators, custom = count_operators(graph), unknown_to_tensorflow(graph)
    message = encode_graph(graph)
    assert isinstance(stage, StagedFile)
    with stage.open() as file:
        drain(message, file)
    return Delivered(message.size, (stage.given.name,), operators, custom)


def _deliver_text(graph: Graph, stage: Stage, options: Options) -> Delivered:
    _settle_control_flow(graph, options)
    tell_states(graph)
    expose_ports(graph)
    assert isinstance(stage, StagedFile)
    with stage.open() as file:
        size = write_text(encode_graph(graph), file)
    return Delivered(size, (stage.given.name,), count_operators(graph), unknown_to_tensorflow(graph))


def _deliver_savedmodel(graph: Graph, stage: Stage, options: Options) -> Delivered:
    operators, custom = count_operators(graph), unknown_to_tensorflow(graph)
    holding, size = write_savedmodel(graph, stage.path, signature=_signature_of(graph, options))
    files = sorted(each.relative_to(stage.path).as_posix() for each in stage.path.rglob("*") if each.is_file())
    return Delivered(size, tuple(files), operators, custom, (_tell_variables(len(holding.variables)),))


def _deliver_checkpoint(graph: Graph, stage: Stage, _options: Options) -> Delivered:
    operators, custom = count_operators(graph), unknown_to_tensorflow(graph)
    holding, size = write_checkpoint(graph, stage.path)
    name = stage.given.name
    notice = f"the graph that reads them is '{name}{META}': freeze it, or name it as a source"
    files = tuple(f"{name}{suffix}" for suffix in SUFFIXES)
    return Delivered(size, files, operators, custom, (_tell_variables(len(holding.variables)), notice))


def _deliver_npz(graph: Graph, stage: Stage, _options: Options) -> Delivered:
    weights = find_weights(graph)
    assert isinstance(stage, StagedFile)
    with stage.open() as file:
        notices = write_npz(weights, file)
        size = file.seek(0, os.SEEK_END)
    notices.append(f"{len(weights)} weights; what is computed with them is not in the file")
    return Delivered(size, (stage.given.name,), notices=tuple(notices))


def _tell_variables(count: int) -> str:
    return f"{count} weights are variables" if count != 1 else "1 weight is a variable"


def count_operators(graph: Graph) -> Mapping[str, int]:
    """Count by op, without constants and inputs, most frequent first."""
    counts: dict[str, int] = {}
    for node in graph.nodes:
        if node.op not in ("Const", "Placeholder"):
            counts[node.op] = counts.get(node.op, 0) + 1
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def unknown_to_tensorflow(graph: Graph) -> tuple[str, ...]:
    """Ops that are none of TensorFlow's, in graphs inside nodes too."""
    found = {node.op for node in graph.nodes if signature(node.op) is None}
    for node in graph.nodes:
        for _key, nested in node.graphs():
            found.update(unknown_to_tensorflow(nested))
    return tuple(sorted(found))


_WRITERS: Mapping[Kind, Callable[[Graph, Stage, Options], Delivered]] = {
    "tfjs": _deliver_tfjs,
    "graphdef": _deliver_graphdef,
    "graphdef-text": _deliver_text,
    "savedmodel": _deliver_savedmodel,
    "checkpoint": _deliver_checkpoint,
    "npz": _deliver_npz,
}
