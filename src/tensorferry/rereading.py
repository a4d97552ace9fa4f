"""Targets in TensorFlow's own formats, run: in TensorFlow where it is installed, else read back by our own reader and evaluated."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from tensorferry import readers
from tensorferry.errors import FerryError
from tensorferry.ir import Graph
from tensorferry.readers.selection import select
from tensorferry.runtimes import Run, tensorflow
from tensorferry.runtimes.reference import evaluate_graph
from tensorferry.tensor import Array, Tensor
from tensorferry.writers.npz import stored_as

NAME = "Tensorferry's reader and reference (numpy)"
META = ".meta"


def available() -> str | None:
    """Always None: what TensorFlow would do is done here where it is not installed."""
    return None


def place_of(path: str | os.PathLike[str]) -> Path:
    """What is read of a target: of a checkpoint's prefix the graph beside it."""
    meta = Path(f"{os.fspath(path)}{META}")
    return meta if meta.is_file() and not Path(path).exists() else Path(path)


def run(path: str | os.PathLike[str], inputs: Mapping[str, Array], *, keep_intermediates: bool = False) -> Run:
    """Run a target once. Intermediates are those of our own evaluation."""
    if keep_intermediates:
        found: dict[str, Array] = {}
        graph = _read(path, inputs)
        return Run(evaluate_graph(graph, inputs, lambda value, array: found.__setitem__(value.name, array)), NAME, found)
    return run_in_turn(path, [inputs])[0]


def run_in_turn(path: str | os.PathLike[str], calls: Sequence[Mapping[str, Array]]) -> list[Run]:
    """Run it several times; its variables live on from one call to the next."""
    place = place_of(path)
    if tensorflow.available() is None:
        try:
            return tensorflow.run_model(place, readers.detect(place), calls, lambda: _ports(_read(place, calls[0])))
        except tensorflow.NoKernel:
            pass  # right or wrong: this machine's TensorFlow cannot compute it
    return run_here(place, calls)


def run_here(path: str | os.PathLike[str], calls: Sequence[Mapping[str, Array]]) -> list[Run]:
    """The same without TensorFlow."""
    graph = _read(place_of(path), calls[0])
    kept = {name: state.first.array() for name, state in graph.states.items()}
    runs = []
    for inputs in calls:
        outputs = evaluate_graph(graph, {**kept, **inputs})
        kept = {name: outputs[state.output] for name, state in graph.states.items()}
        hidden = {state.output for name, state in graph.states.items() if name not in inputs}
        runs.append(Run({name: array for name, array in outputs.items() if name not in hidden}, NAME))
    return runs


def run_plain(path: str | os.PathLike[str], inputs: Mapping[str, Array]) -> Run:
    """The second opinion on what TensorFlow computes."""
    return run_here(path, [inputs])[0]


def read_ports(path: str | os.PathLike[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The public names of inputs and outputs; variables are not among them."""
    graph = select(readers.read(place_of(path)))
    kept = {state.output for state in graph.states.values()}
    inputs = tuple(port.name for port in graph.inputs if port.name not in graph.states)
    return inputs, tuple(port.name for port in graph.outputs if port.name not in kept)


def _read(path: str | os.PathLike[str], inputs: Mapping[str, Array]) -> Graph:
    graph = select(readers.read(place_of(path)))
    missing = [port.name for port in graph.inputs if port.name not in inputs and port.name not in graph.states]
    if missing:
        raise FerryError(f"'{path}' wants the input '{missing[0]}', which the source does not have")
    return graph


def _ports(graph: Graph) -> tuple[dict[str, str], dict[str, str]]:
    """Public name -> tensor, of inputs and of outputs."""
    sides = (graph.inputs, graph.outputs)
    inputs, outputs = ({port.name: f"{port.value.producer.name}:{port.value.index}" for port in ports} for ports in sides)
    return inputs, outputs


def compare_weights(weights: Mapping[str, Tensor], path: Path) -> str:
    """What is wrong with an archive of these weights, or nothing. Read member by member, piece by piece."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = {name.removesuffix(".npy") for name in archive.namelist()}
            if names != set(weights):
                return f"it holds {len(names)} weights, the source {len(weights)}: {', '.join(sorted(names ^ set(weights))[:4])}"
            wrong = (name for name in sorted(weights) if not _same(archive, name, stored_as(name, weights[name])))
            return next((f"'{name}' is another than in the source" for name in wrong), "")
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        return f"it cannot be read: {error}"


def _same(archive: zipfile.ZipFile, name: str, tensor: Tensor) -> bool:
    with archive.open(f"{name}.npy") as member:
        np.lib.format.read_magic(member)
        shape, _, dtype = np.lib.format.read_array_header_1_0(member)
        if shape != tensor.shape or dtype != tensor.dtype.numpy:
            return False
        return all(member.read(len(chunk)) == chunk for chunk in tensor.chunks()) and not member.read(1)
