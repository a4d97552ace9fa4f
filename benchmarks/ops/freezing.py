"""From a case to files: a frozen GraphDef, the inputs, and what TensorFlow computes from them. Made once, then kept."""

from __future__ import annotations

import json
import pickle
from collections.abc import Sequence
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
    arrays: tuple[Array, ...]
    expected: tuple[Array, ...]

    @property
    def feeds(self) -> dict[str, Array]:
        return dict(zip(self.inputs, self.arrays, strict=True))


def folder_of(work: Path, identity: str) -> Path:
    return work / "cases" / identity


def load_frozen(work: Path, identity: str) -> Frozen:
    """A case that `freeze` wrote. The arrays are pickled (strings are objects): read only what this program wrote."""
    folder = folder_of(work, identity)
    facts = json.loads((folder / "case.json").read_text(encoding="utf-8"))
    with open(folder / "arrays.pickle", "rb") as file:
        arrays, expected = pickle.load(file)
    names = tuple(facts["inputs"]), tuple(facts["outputs"])
    return Frozen(
        identity, facts["family"], facts["form"], facts["comparison"], folder / "graph.pb", *names, tuple(arrays), tuple(expected)
    )


def freeze(case: Case, work: Path) -> None:
    """Write a case. Raises whatever TensorFlow raises when it cannot build or run the graph itself."""
    prepare = getattr(case.build, "prepare", None)
    if prepare is not None:
        prepare([_tensor(array) for array in case.arrays])
    serialized, outputs, expected = (_freeze_v1 if case.form == "v1" else _freeze_function)(case)
    if case.reference is not None:
        expected = _arrays(case.reference(*(_tensor(array) for array in case.arrays)))
    folder = folder_of(work, case.id)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "graph.pb").write_bytes(serialized)
    with open(folder / "arrays.pickle", "wb") as file:
        pickle.dump((case.arrays, expected), file)
    facts = {
        "family": case.family,
        "form": case.form,
        "comparison": case.comparison,
        "inputs": [f"x{index}" for index in range(len(case.arrays))],
        "outputs": outputs,
    }
    (folder / "case.json").write_text(json.dumps(facts), encoding="utf-8")  # last: a folder with this file is whole


def _freeze_function(case: Case) -> tuple[bytes, list[str], list[Array]]:
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
    expected: list[Array] = []
    if case.reference is None:
        expected = _arrays(frozen(*(_tensor(array) for array in case.arrays)))
    return frozen.graph.as_graph_def().SerializeToString(deterministic=True), outputs, expected


def _freeze_v1(case: Case) -> tuple[bytes, list[str], list[Array]]:
    import tensorflow as tf  # noqa: PLC0415

    v1 = tf.compat.v1
    restore = v1.enable_control_flow_v2 if v1.control_flow_v2_enabled() else v1.disable_control_flow_v2
    v1.disable_control_flow_v2()
    try:
        with tf.Graph().as_default() as graph, v1.Session(graph=graph) as session:
            v1.set_random_seed(1)
            placeholders = [
                v1.placeholder(tf.as_dtype(array.dtype) if array.dtype != object else tf.string, shape, name=f"x{index}")
                for index, (shape, array) in enumerate(zip(case.shapes, case.arrays, strict=True))
            ]
            results = [tf.identity(each, name=f"y{index}") for index, each in enumerate(_flat(case.build(*placeholders)))]
            session.run([v1.global_variables_initializer(), v1.tables_initializer()])
            feeds = dict(zip(placeholders, case.arrays, strict=True))
            expected = [np.asarray(each) for each in session.run(results, feeds)] if case.reference is None else []
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
    return definition.SerializeToString(deterministic=True), [f"{name}:0" for name in names], expected


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
