"""SavedModels, and graphs with a checkpoint: the graph, the values of its variables, and the signature it is called by."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tensorferry.errors import SourceError
from tensorferry.ir import Graph
from tensorferry.readers.checkpoint import has_checkpoint, open_checkpoint
from tensorferry.readers.description import describe_metagraphs, describe_values, mark_chosen
from tensorferry.readers.graphdef import read_graph
from tensorferry.readers.metagraph import (
    DEFAULT_SIGNATURE,
    MetaGraph,
    apply_signature,
    choose_metagraph,
    choose_signature,
    scan_metagraph,
)
from tensorferry.readers.objects import Call, captured_variables, find_function, keys_of_objects, scan_objects
from tensorferry.readers.parsing import Contents
from tensorferry.readers.variables import HANDLES, restore_variables, shaped_as
from tensorferry.storage import SourceFile
from tensorferry.tensor import DType
from tensorferry.wire.bundle import Bundle
from tensorferry.wire.protobuf import fields
from tensorferry.wire.protobuf import whole as span_of

log = logging.getLogger(__name__)

_META_GRAPHS = 2
MOST_ASSET_BYTES = 256 << 20


def read_savedmodel(
    file: SourceFile, *, tags: tuple[str, ...] | None = None, signature: str | None = None, any_will_do: bool = False
) -> Graph:
    """The model whose `saved_model.pb` this is, its inputs and outputs those of one signature; a notice names the others."""
    folder = file.path.parent
    found = _scan(file)
    chosen = choose_metagraph(found, tags)
    index = folder / "variables" / "variables.index"
    bundle = Bundle(index.with_suffix("")) if index.exists() else None
    if chosen.objects is not None and signature not in ({None} if chosen.signatures else set()) | chosen.signatures.keys():
        graph = _read_function(file, chosen, bundle, signature)
    else:
        held: list[Contents] = []
        graph = _read(file, chosen, folder.name, held.append)
        if bundle is not None:
            restore_variables(graph, bundle)
            _restore_captured(file, graph, chosen, (bundle, held[0]))
        _choose(graph, chosen, signature, any_will_do=any_will_do)
    graph.name = folder.name
    describe_metagraphs(graph.facts, found, chosen)
    if bundle is not None:
        describe_values(graph.facts, bundle)
    _read_assets(graph, chosen, folder / "assets")
    mark_chosen(graph)
    return graph


def _read_function(file: SourceFile, chosen: MetaGraph, bundle: Bundle | None, wanted: str | None) -> Graph:
    """The model as one of its functions, which no signature names."""
    assert chosen.objects is not None
    objects = scan_objects(chosen.objects)
    public, trace = find_function(objects, wanted, chosen.signatures)
    calls: list[Call] = []

    def extend(contents: Contents) -> None:
        calls.append(Call(objects, contents, file, list(chosen.assets)))
        calls[0].add(trace, public)

    graph = _read(file, chosen, "", extend)
    call = calls[0]
    if bundle is not None:
        restore_variables(graph, bundle)
        keys = keys_of_objects(objects, bundle)
        for node, number in call.variables.items():
            if keys.get(number, "") in bundle:
                graph.variables[node] = shaped_as(bundle.tensor(keys[number]), graph.node(node))
    call.apply(graph, public)
    if wanted is None:
        graph.notices.append(f"the model has no signature: its function '{public}' is converted")
    return graph


def _restore_captured(file: SourceFile, graph: Graph, chosen: MetaGraph, values: tuple[Bundle, Contents]) -> None:
    """Values for the variables that the saver restores in Python alone, as Keras 3's: the object graph tells which are whose."""
    missing = {node.name for node in graph.nodes if node.op in HANDLES and node.name not in graph.variables}
    if not missing or chosen.objects is None:
        return
    bundle, contents = values
    objects = scan_objects(chosen.objects)
    captured = captured_variables(objects, contents, file)
    keys = keys_of_objects(objects, bundle)
    for node in missing & captured.keys():
        key = keys.get(captured[node], "")
        if key in bundle:
            graph.variables[node] = shaped_as(bundle.tensor(key), graph.node(node))


def read_metagraph(file: SourceFile, *, signature: str | None = None) -> Graph:
    """The `.meta` file of a checkpoint; the checkpoint itself is taken from beside it, if it is there."""
    chosen = scan_metagraph(span_of(file.view))
    graph = _read(file, chosen, file.path.stem)
    describe_metagraphs(graph.facts, [chosen], chosen)
    prefix = file.path.with_suffix("")
    if has_checkpoint(prefix):
        values = open_checkpoint(prefix)
        restore_variables(graph, values)
        describe_values(graph.facts, values)
    if chosen.signatures or signature is not None:
        _choose(graph, chosen, signature)
        mark_chosen(graph)
    return graph


def signature_names(file: SourceFile, *, whole: bool, tags: tuple[str, ...] | None = None) -> tuple[str, ...]:
    """The signatures that have outputs, the default one first; of a SavedModel (`whole`) or a `.meta` file."""
    chosen = choose_metagraph(_scan(file), tags) if whole else scan_metagraph(span_of(file.view))
    names = [name for name, each in chosen.signatures.items() if each.outputs]
    return tuple(sorted(names, key=lambda name: name != DEFAULT_SIGNATURE))


def _scan(file: SourceFile) -> list[MetaGraph]:
    return [scan_metagraph(each.delimited()) for each in fields(span_of(file.view)) if each.tag == _META_GRAPHS]


def _read(file: SourceFile, chosen: MetaGraph, name: str, extend: Callable[[Contents], None] | None = None) -> Graph:
    if chosen.graph is None:
        raise SourceError(f"'{file.path}' holds no graph", remedy="save the model anew")
    graph = read_graph(file, chosen.graph, extend=extend)
    graph.name = name
    return graph


def _choose(graph: Graph, chosen: MetaGraph, wanted: str | None, *, any_will_do: bool = False) -> None:
    if not chosen.signatures and wanted is None:
        return
    name = choose_signature(chosen.signatures, wanted, any_will_do=any_will_do)
    apply_signature(graph, name, chosen.signatures[name])
    others = [each for each in chosen.signatures if each != name]
    if others and wanted is None:
        graph.notices.append(f"signature '{name}' is converted; --signature chooses another: {', '.join(others)}")


def _name_asset(graph: Graph, tensor: str, name: str) -> None:
    node = tensor.partition(":")[0]
    if node in graph and graph.node(node).op == "Placeholder" and graph.node(node).output.dtype is DType.STRING:
        made = graph.constant(np.asarray(name.encode(), object), f"{node}/name", before=graph.node(node))
        graph.replace_uses(graph.node(node).output, made)


def _read_assets(graph: Graph, chosen: MetaGraph, folder: Path) -> None:
    """Vocabularies and the like, by the name of their file; what stands for the name in the graph becomes a constant."""
    sizes: dict[str, int | None] = {}
    graph.facts.assets = sizes
    for tensor, name in chosen.assets.items():
        _name_asset(graph, tensor, name)
        path = folder / name
        if not name or Path(name).name != name or not path.is_file() or path.is_symlink():
            log.info("asset '%s' is not in the folder", name)
            sizes[name] = None
            continue
        if path.stat().st_size > MOST_ASSET_BYTES:
            raise SourceError(f"the asset '{path}' is larger than {MOST_ASSET_BYTES >> 20} MiB")
        graph.assets[name] = path.read_bytes()
        sizes[name] = len(graph.assets[name])
