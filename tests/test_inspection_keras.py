"""What `inspect` tells of a Keras model goes into JSON, although its layers stay at hand for a layers-model."""

from __future__ import annotations

import json
from pathlib import Path

import keras

import tensorferry


def test_a_keras_model_as_json(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), keras.layers.Dense(2)])
    for name in ("net.keras",):
        model.save(tmp_path / name)
        told = json.loads(json.dumps(tensorferry.inspect(tmp_path / name).as_dict()))
        assert told["parameters"] == 23
        assert "tree" not in told["facts"]
