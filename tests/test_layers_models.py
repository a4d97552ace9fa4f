"""Keras models as TensorFlow.js layers-models: tfjs-layers loads them and computes what Keras does, or the layer is named.

The models are those of `keras_layers.CASES`, in the form in which each Keras saves by default; Keras' own call is the reference.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tensorferry
from tensorferry.runtimes import tfjs

pytestmark = pytest.mark.skipif(tfjs.available() is not None, reason=str(tfjs.available()))
for name in ("tensorflow", "keras", "tf_keras"):
    pytest.importorskip(name, reason=f"{name}, which makes the models, is not installed")

from keras_layers import CASES  # noqa: E402
from test_keras_layers import compare, made, save  # noqa: E402

NO_LAYER = "no such layer"
RESET = "resets after"
GRAPHS = {
    **{
        name: NO_LAYER
        for name in CASES
        if name.startswith(
            (
                *("Attention", "AdditiveAttention", "MultiHead", "GroupQuery", "CategoryEnc", "Discretiz", "Hashing", "IntegerL"),
                *("StringL", "TextV", "HashedCr", "Resizing", "RMSNorm", "UnitNorm", "GroupNorm", "EinsumDense", "LocallyConn"),
                *("ConvLSTM1D", "ConvLSTM3D", "SpectralNorm", "operations", "augmentation of Keras 3"),
            )
        )
    },
    **{name: RESET for name in CASES if name.startswith("GRU") and "before" not in name},
    "activations, common": "exponential",
    "activations of Keras 3": "celu",
    "Bidirectional, other backward layer": "backward layer is another",
    "CenterCrop, enlarged": "enlarges",
    "Conv2D, groups": "groups",
    "Conv2DTranspose, output padding": "padded",
    "Conv3DTranspose": "nothing but the bias",
    "ELU": "alpha",
    "Embedding, masked, Bidirectional": RESET,
    "GlobalAveragePooling1D, masked": "a mask",
    "GRU, no bias, hard sigmoid": "'gru' \\(GRU\\)",
    "LSTM, stateful": "it is stateful",
    "LSTM, time major": "time_major",
    "Normalization, invert": "inverted",
    "RNN, cells": RESET,
    "ReLU": "threshold",
    "TimeDistributed, model": "holds a model",
    "UpSampling2D, bilinear": "interpolates",
}
"""Cases that become graph-models, and what the notice says of the layer."""

OF_ONE = {("LSTM, hard sigmoid", "keras"): "hard_sigmoid"}
"""The same, where one of both releases differs."""


def _parameters() -> Iterator[tuple[str, str]]:
    for name, case in CASES.items():
        yield from ((name, module) for module in (case.of[:1] if GRAPHS.get(name) == NO_LAYER else case.of))


@pytest.fixture(scope="module")
def javascript() -> Iterator[tfjs.Session]:
    with tfjs.Session() as session:
        yield session


def model_of(folder: Path) -> Any:
    return json.loads((folder / "model.json").read_text())


@pytest.mark.parametrize(("name", "module"), list(_parameters()))
def test_a_layer(name: str, module: str, tmp_path: Path, javascript: tfjs.Session) -> None:
    logging.getLogger("absl").setLevel(logging.ERROR)
    model, arrays, expected = made(name, module)
    source = save(model, "keras" if module == "keras" else "h5", tmp_path)
    report = tensorferry.convert(source, tmp_path / "web", to="tfjs-layers", verify=False)
    notices = "\n".join(report.targets[0].notices)
    reason = GRAPHS.get(name) or OF_ONE.get((name, module))
    if reason is not None:
        assert model_of(tmp_path / "web")["format"] == "graph-model"
        assert re.search(f"not as a layers-model: .*{reason}", notices)
        return
    assert "graph-model" not in notices, notices
    assert model_of(tmp_path / "web")["format"] == "layers-model"
    names = tfjs.read_ports(tmp_path / "web")[0]
    run = javascript.run(tmp_path / "web", dict(zip(names, arrays, strict=True)))
    compare(list(run.outputs.values()), expected, "tfjs-layers", ordered=True)
