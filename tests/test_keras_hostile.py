"""Configs of operations and functions, spoilt: whatever stands in them, the end is a graph or one FerryError, soon."""

from __future__ import annotations

import copy
import json
import random
import time
from collections.abc import Iterator
from typing import Any

import keras
import pytest
import tf_keras

from tensorferry.errors import FerryError, SourceError
from tensorferry.readers.keras.parsing import parse_model
from tensorferry.readers.keras.walking import build_graph
from test_keras_functions import MODELS as FUNCTIONS
from test_keras_operations import MODELS as OPERATIONS

WRONG = (-1, 0, 2**31 - 1, 2**40, -(2**63), 1e308, float("nan"), None, "", "x" * 50, [], [1, [2, [3]]], {"class_name": "X"}, True)
DOCUMENTS: dict[str, dict[str, Any]] = {}


def document(kind: str, name: str) -> dict[str, Any]:
    """The config of a model of many operations, without weights."""
    if f"{kind}/{name}" not in DOCUMENTS:
        library, models = (keras, OPERATIONS) if kind == "operations" else (tf_keras, FUNCTIONS)
        given = [library.Input((7, 4), batch_size=2), library.Input((7, 4), batch_size=2)]
        DOCUMENTS[f"{kind}/{name}"] = json.loads(library.Model(given, models[name](*given)).to_json())
    return copy.deepcopy(DOCUMENTS[f"{kind}/{name}"])


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """(container, key) of everything in it."""
    keys = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in list(keys):
        yield value, key
        yield from places(value[key])


CASES = [("operations", name) for name in OPERATIONS] + [("functions", name) for name in FUNCTIONS]


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_spoilt_configs_end_in_one_error(kind: str, name: str) -> None:
    draw = random.Random(f"{kind} {name}")
    whole = document(kind, name)
    assert build_graph(parse_model(copy.deepcopy(whole))).outputs
    for _ in range(40):
        spoilt = copy.deepcopy(whole)
        layers = [each for each in spoilt["config"]["layers"] if each["class_name"] != "InputLayer"]
        spots = [spot for layer in draw.sample(layers, min(3, len(layers))) for spot in places(layer)]
        for container, key in draw.sample(spots, min(2, len(spots))):
            container[key] = draw.choice(WRONG)
        started = time.monotonic()
        try:
            build_graph(parse_model(spoilt))
        except FerryError as error:
            assert error.what
        assert time.monotonic() - started < 20


@pytest.mark.parametrize(
    ("class_name", "module", "config"),
    [
        ("Linspace", "keras.src.ops.numpy", {"num": 2**31 - 1}),
        ("Unstack", "keras.src.ops.core", {"num": 2**31 - 1, "axis": 1}),
        ("Split", "keras.src.ops.numpy", {"indices_or_sections": 2**31 - 1, "axis": 1}),
        ("Vander", "keras.src.ops.numpy", {"N": 2**31 - 1}),
        ("Repeat", "keras.src.ops.numpy", {"repeats": [2**31 - 1] * 4, "axis": 1}),
        ("STFT", "keras.src.ops.math", {"sequence_length": 2**31 - 1, "sequence_stride": 1, "fft_length": 2**31 - 1}),
        ("GaussianBlur", "keras.src.ops.image", {"kernel_size": [2**30, 2**30], "sigma": [1.0, 1.0]}),
    ],
)
def test_sizes_that_no_memory_holds(class_name: str, module: str, config: dict[str, Any]) -> None:
    history = {"class_name": "__keras_tensor__", "config": {"shape": [2, 4], "dtype": "float32", "keras_history": ["x", 0, 0]}}
    count = 2 if class_name == "Linspace" else 1
    layers = [
        {"class_name": "InputLayer", "name": "x", "config": {"name": "x", "batch_shape": [2, 4], "dtype": "float32"}},
        {"class_name": class_name, "module": module, "name": "y", "config": {"name": "y", **config},
         "inbound_nodes": [{"args": [history] * count, "kwargs": {}}]},
    ]  # fmt: skip
    whole = {"class_name": "Functional", "config": {"name": "m", "layers": layers, "input_layers": [["x", 0, 0]],
                                                    "output_layers": [["y", 0, 0]]}}  # fmt: skip
    with pytest.raises(SourceError, match="'y'"):
        build_graph(parse_model(whole, "3"))
