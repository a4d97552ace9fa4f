"""Targets in TensorFlow's own formats, run: in TensorFlow where it is installed, else read back by our own reader and evaluated."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tensorferry import readers
from tensorferry.errors import FerryError
from tensorferry.ir import Graph
from tensorferry.passes.public_names import PublicNames, choose_names
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


def read_ports(path: str | os.PathLike[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The public names of inputs and outputs; variables are not among them."""
    graph = select(readers.read(place_of(path)))
    kept = {state.output for state in graph.states.values()}
    inputs = tuple(port.name for port in graph.inputs if port.name not in graph.states)
    return inputs, tuple(port.name for port in graph.outputs if port.name not in kept)


def evaluate_again(path: str | os.PathLike[str], inputs: Mapping[str, Array]) -> dict[str, Array]:
    """What a target's own weights give in numpy, by the public names of its outputs."""
    graph = select(readers.read(Path(path)))
    return evaluate_graph(graph, inputs)


_FORMS = {"graphdef": "graphdef", "graphdef-text": "graphdef", "savedmodel": "savedmodel", "checkpoint": "metagraph"}
"""Kind of the target -> what our readers call it."""


class Rereader:
    """Runs targets of one kind that were made of one graph, under that graph's public names."""

    NAME = NAME

    def __init__(self, source: Graph, kind: str) -> None:
        self._names = choose_names(source)
        self._form = _FORMS[kind]

    def run(self, path: str | os.PathLike[str], inputs: Mapping[str, Array], *, keep_intermediates: bool = False) -> Run:
        """Run a target once. Intermediates are those of our own evaluation."""
        if not keep_intermediates:
            return self.run_in_turn(path, [inputs])[0]
        found: dict[str, Array] = {}
        opened = self._open(path, inputs)
        feeds = opened.feeds(inputs) | {name: state.first.array() for name, state in opened.graph.states.items()}
        outputs = evaluate_graph(opened.graph, feeds, lambda value, array: found.__setitem__(value.name, array))
        return Run(opened.publish(outputs), NAME, found)

    def run_in_turn(self, path: str | os.PathLike[str], calls: Sequence[Mapping[str, Array]]) -> list[Run]:
        """Run it several times; its variables live on from one call to the next."""
        place = place_of(path)
        opened = self._open(place, calls[0])
        if tensorflow.available() is None and not _snaps(opened.graph):
            try:
                runs = tensorflow.run_model(place, self._form, [opened.feeds(each) for each in calls], lambda: _ports(opened.graph))
                return [Run(opened.publish(each.outputs), each.runtime) for each in runs]
            except tensorflow.NoKernel:
                pass  # right or wrong: this machine's TensorFlow cannot compute it
        return _run_here(opened, calls)

    def run_plain(self, path: str | os.PathLike[str], inputs: Mapping[str, Array]) -> Run:
        """The second opinion on what TensorFlow computes."""
        return _run_here(self._open(path, inputs), [inputs])[0]

    def read_ports(self, path: str | os.PathLike[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The public names of inputs and outputs; variables are not among them."""
        place = place_of(path)
        if self._form == "graphdef":
            return tuple(self._names.inputs), tuple(self._names.outputs)
        return read_ports(place)

    def _open(self, path: str | os.PathLike[str], inputs: Mapping[str, Array]) -> _Opened:
        place = place_of(path)
        graph = readers.read(place)
        if self._form == "graphdef":  # which has no public names but those of its nodes
            names = self._names
            missing = [name for name in (*names.inputs.values(), *names.outputs.values()) if name not in graph]
            if missing:
                raise FerryError(f"'{path}' has no node '{missing[0]}'")
            return _Opened(select(graph, inputs=[*dict.fromkeys(names.inputs.values())], outputs=[*names.outputs.values()]), names)
        graph = select(graph)
        opened = _Opened(graph, None)
        missing = [port.name for port in graph.inputs if port.name not in inputs and port.name not in graph.states]
        if missing:
            raise FerryError(f"'{path}' wants the input '{missing[0]}', which the source does not have")
        return opened


@dataclass(frozen=True, slots=True)
class _Opened:
    """A target's graph, and how the public names of its source are called there."""

    graph: Graph
    names: PublicNames | None

    def feeds(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        return {self.names.inputs[name] if self.names else name: array for name, array in inputs.items()}

    def publish(self, outputs: Mapping[str, Array]) -> dict[str, Array]:
        if self.names is None:
            return dict(outputs)
        return {public: outputs[name] for public, name in self.names.outputs.items()}


def _run_here(opened: _Opened, calls: Sequence[Mapping[str, Array]]) -> list[Run]:
    """Without TensorFlow."""
    graph = opened.graph
    kept = {name: state.first.array() for name, state in graph.states.items()}
    runs = []
    for inputs in calls:
        outputs = evaluate_graph(graph, {**kept, **opened.feeds(inputs)})
        kept = {name: outputs[state.output] for name, state in graph.states.items()}
        hidden = {state.output for name, state in graph.states.items() if name not in inputs}
        runs.append(Run(opened.publish({name: array for name, array in outputs.items() if name not in hidden}), NAME))
    return runs


def _snaps(graph: Graph) -> bool:
    """Whether values inside are rounded to a grid: a sum taken in another order then falls on another point here and there, and
    each such step grows from layer to layer. Two runtimes cannot be compared on it; two graphs can, in one."""
    return any(node.op.startswith("FakeQuant") or any(_snaps(each) for _, each in node.graphs()) for node in graph.nodes)


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
