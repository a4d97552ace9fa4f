"""From a case to files: a frozen GraphDef, the inputs, and what TensorFlow computes from them. Made once, then kept."""

from __future__ import annotations

import contextlib
import json
import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ops.case import Array, Case, Comparison, Form


@dataclass(frozen=True, slots=True)
class Frozen:
    """A case on disk. Inputs are placeholders of these names; outputs are tensor names such as `y0:0`."""

    id: str
    family: str
    form: Form
    comparison: Comparison
    graph: Path
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    runs: tuple[tuple[tuple[Array, ...], tuple[Array, ...]], ...]
    """Inputs and expected outputs; a second pair with twice the batch where the graph leaves the batch open."""

    def feeds(self, arrays: Sequence[Array]) -> dict[str, Array]:
        return dict(zip(self.inputs, arrays, strict=True))


def folder_of(work: Path, identity: str) -> Path:
    return work / "cases" / identity


def load_frozen(work: Path, identity: str) -> Frozen:
    """A case that `freeze` wrote. The arrays are pickled (strings are objects): read only what this program wrote."""
    folder = folder_of(work, identity)
    facts = json.loads((folder / "case.json").read_text(encoding="utf-8"))
    with open(folder / "arrays.pickle", "rb") as file:
        runs = pickle.load(file)
    names = tuple(facts["inputs"]), tuple(facts["outputs"])
    return Frozen(identity, facts["family"], facts["form"], facts["comparison"], folder / "graph.pb", *names, tuple(runs))


def freeze(case: Case, work: Path) -> None:
    """Write a case. Raises whatever TensorFlow raises when it cannot build or run the graph itself."""
    prepare = getattr(case.build, "prepare", None)
    if prepare is not None:
        prepare([_tensor(array) for array in case.arrays])
    serialized, outputs, run = (_freeze_v1 if case.form == "v1" else _freeze_function)(case)
    if case.reference is not None:
        reference = case.reference
        run = lambda arrays: _arrays(reference(*map(_tensor, arrays)))  # noqa: E731
    runs = [(case.arrays, tuple(run(case.arrays)))]
    doubled = _doubled(case)
    if doubled is not None:
        with contextlib.suppress(Exception):  # TensorFlow itself takes no other size: what is open is not free
            runs.append((doubled, tuple(run(doubled))))
    folder = folder_of(work, case.id)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "graph.pb").write_bytes(serialized)
    with open(folder / "arrays.pickle", "wb") as file:
        pickle.dump(runs, file)
    facts = {
        "family": case.family,
        "form": case.form,
        "comparison": case.comparison,
        "inputs": [f"x{index}" for index in range(len(case.arrays))],
        "outputs": outputs,
    }
    (folder / "case.json").write_text(json.dumps(facts), encoding="utf-8")  # last: a folder with this file is whole


def _doubled(case: Case) -> tuple[Array, ...] | None:
    """The inputs with twice the size where the first size is open; None where none is."""
    open_ = [bool(shape) and shape[0] is None for shape in case.shapes]
    if not any(open_):
        return None
    return tuple(np.concatenate([array, array]) if each else array for array, each in zip(case.arrays, open_, strict=True))


Run = Callable[[Sequence[Array]], list[Array]]


def _freeze_function(case: Case) -> tuple[bytes, list[str], Run]:
    import tensorflow as tf  # noqa: PLC0415 - seconds; the runner of ours does without it
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2  # noqa: PLC0415

    specs = [
        tf.TensorSpec(shape, tf.as_dtype(array.dtype) if array.dtype != object else tf.string, name=f"x{index}")
        for index, (shape, array) in enumerate(zip(case.shapes, case.arrays, strict=True))
    ]

    def traced(*tensors: Any) -> list[Any]:
        return [tf.identity(each, name=f"y{index}") for index, each in enumerate(_flat(case.build(*tensors)))]

    function = tf.function(traced, autograph=False).get_concrete_function(*specs)
    frozen = convert_variables_to_constants_v2(function, lower_control_flow=case.form == "lowered")
    outputs = [tensor.name for tensor in frozen.outputs]
    serialized = frozen.graph.as_graph_def().SerializeToString(deterministic=True)
    return serialized, outputs, lambda arrays: _arrays(frozen(*map(_tensor, arrays)))


def _freeze_v1(case: Case) -> tuple[bytes, list[str], Run]:
    import tensorflow as tf  # noqa: PLC0415

    v1 = tf.compat.v1
    restore = v1.enable_control_flow_v2 if v1.control_flow_v2_enabled() else v1.disable_control_flow_v2
    v1.disable_control_flow_v2()
    try:
        with tf.Graph().as_default() as graph:
            v1.set_random_seed(1)
            session = v1.Session(graph=graph)
            placeholders = [
                v1.placeholder(tf.as_dtype(array.dtype) if array.dtype != object else tf.string, shape, name=f"x{index}")
                for index, (shape, array) in enumerate(zip(case.shapes, case.arrays, strict=True))
            ]
            results = [tf.identity(each, name=f"y{index}") for index, each in enumerate(_flat(case.build(*placeholders)))]
            session.run([v1.global_variables_initializer(), v1.tables_initializer()])
            names = [tensor.op.name for tensor in results]
            definition = v1.graph_util.extract_sub_graph(graph.as_graph_def(), names)
            if not any(node.op.startswith("Assign") for node in definition.node):  # else state that the graph itself changes
                definition = v1.graph_util.convert_variables_to_constants(session, graph.as_graph_def(), names)
            kept = {node.name for node in definition.node}
            for tensor in placeholders:  # an input that only a size is read from
                if tensor.op.name not in kept:
                    definition.node.add().CopyFrom(tensor.op.node_def)
    finally:
        restore()

    def run(arrays: Sequence[Array]) -> list[Array]:
        return [np.asarray(each) for each in session.run(results, dict(zip(placeholders, arrays, strict=True)))]

    return definition.SerializeToString(deterministic=True), [f"{name}:0" for name in names], run


def _flat(results: Any) -> list[Any]:
    import tensorflow as tf  # noqa: PLC0415

    return [each for each in tf.nest.flatten(results, expand_composites=True) if each is not None]


def _tensor(array: Array) -> Any:
    import tensorflow as tf  # noqa: PLC0415

    return tf.constant(array, tf.string if array.dtype == object else None)


def _arrays(results: Any) -> list[Array]:
    return [np.asarray(each.numpy() if hasattr(each, "numpy") else each) for each in _flat(results)]


def read_ids(work: Path, wanted: Sequence[str]) -> list[str]:
    """Those of the wanted cases that are there."""
    return [identity for identity in wanted if (folder_of(work, identity) / "case.json").is_file()]
