"""Keras' layers that read words, from Keras' own files: TensorFlow.js gives what Keras gives (TensorFlow Lite has no such ops)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import pytest
import tf_keras

import tensorferry
from tensorferry.errors import FerryError
from tensorferry.runtimes import tfjs
from test_keras_layers import agree, save

MODULES = {"keras": keras, "tf_keras": tf_keras}
WORDS = ["ferry", "boat", "quay", "sea", "ferry boat"]
SENTENCES = np.array([["The Ferry, the boat!"], ["  quay"], [""], ["sea sea ferry boat quay; boat at sea"]], object)

CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "cut off": {"output_sequence_length": 3},
    "filled up": {"output_sequence_length": 12},
    "in pairs": {"ngrams": 2},
    "pairs alone": {"ngrams": (2,), "output_sequence_length": 4},
    "as they are": {"standardize": None},
    "lower": {"standardize": "lower"},
    "without punctuation": {"standardize": "strip_punctuation"},
    "multi hot": {"output_mode": "multi_hot"},
    "count": {"output_mode": "count", "max_tokens": 9, "pad_to_max_tokens": True},
    "tf-idf": {"output_mode": "tf_idf", "idf_weights": [0.5, 1.5, 2.5, 3.0, 0.25]},
    "one word each": {"split": None, "output_sequence_length": 2, "standardize": "lower"},
}


@pytest.fixture(scope="module")
def javascript() -> Iterator[tfjs.Session]:
    if tfjs.available() is not None:
        pytest.skip(str(tfjs.available()))
    with tfjs.Session() as session:
        yield session


def _run(session: tfjs.Session, source: Any, folder: Any, words: np.ndarray) -> np.ndarray:
    tensorferry.convert(source, folder / "web", verify=False)
    name = tfjs.read_ports(folder / "web")[0][0]
    return next(iter(session.run(folder / "web", {name: words}).outputs.values()))


@pytest.mark.parametrize("form", ["keras", "h5"])
@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("name", CASES)
def test_sentences(name: str, module: str, form: str, tmp_path: Any, javascript: tfjs.Session) -> None:
    library = MODULES[module]
    x = library.Input((1,), dtype="string")
    model = library.Model(x, library.layers.TextVectorization(vocabulary=WORDS, **CASES[name])(x))
    expected = np.asarray(model(library.ops.convert_to_tensor(SENTENCES) if module == "keras" else SENTENCES))
    found = _run(javascript, save(model, form, tmp_path), tmp_path, SENTENCES)
    assert agree(found, expected), (found, expected)


@pytest.mark.parametrize("module", MODULES)
def test_what_a_layer_was_adapted_to(module: str, tmp_path: Any, javascript: tfjs.Session) -> None:
    library = MODULES[module]
    layer = library.layers.TextVectorization(output_mode="tf_idf")
    layer.adapt(SENTENCES[:, 0])
    x = library.Input((1,), dtype="string")
    model = library.Model(x, layer(x))
    expected = np.asarray(model(library.ops.convert_to_tensor(SENTENCES) if module == "keras" else SENTENCES))
    found = _run(javascript, save(model, "keras", tmp_path), tmp_path, SENTENCES)
    assert agree(found, expected), (found, expected)


def test_letters_are_refused(tmp_path: Any) -> None:
    x = keras.Input((1,), dtype="string")
    model = keras.Model(x, keras.layers.TextVectorization(vocabulary=["a", "b"], split="character")(x))
    with pytest.raises(FerryError, match="text_vectorization") as raised:
        tensorferry.convert(save(model, "keras", tmp_path), tmp_path / "web", verify=False)
    assert "character" in raised.value.why
