"""Keras' layers, of both generations, in each form in which Keras saves them: TensorFlow Lite and TensorFlow.js agree with Keras.

The models are those of `keras_layers.CASES`. The reference is Keras' own call of the model, with TensorFlow behind it.
"""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import pytest
import tf_keras

import tensorferry
from keras_layers import CASES, Case
from tensorferry.runtimes import tfjs
from tensorferry.runtimes.litert import LiteRtModel

MODULES = {"keras": keras, "tf_keras": tf_keras}
FORMS = {"keras": ("h5", "keras", "export"), "tf_keras": ("h5", "keras", "save")}
"""`export` and `save` are SavedModels."""

TOLERANCE = 1e-4

NOT_YET = {
    "Keras itself does not save this, or draws random numbers in it": {
        "augmentation of Keras 3-keras-h5",
        "augmentation-keras-export",
        "augmentation-keras-h5",
    },
}
"""Why -> cases that fail so far. A case that passes must be taken out."""


def _parameters() -> Iterator[Any]:
    for name, case in CASES.items():
        for module in case.of:
            for form in FORMS[module]:
                if form in ("export", "save") and not case.exported:
                    continue
                case_id = f"{name}-{module}-{form}"
                reason = next((why for why, cases in NOT_YET.items() if case_id in cases), "")
                marks = [pytest.mark.xfail(reason=reason, strict=True)] if reason else []
                yield pytest.param(name, module, form, id=case_id, marks=marks)


@pytest.fixture(scope="module")
def javascript() -> Iterator[tfjs.Session | None]:
    if tfjs.available() is not None:
        yield None
        return
    with tfjs.Session() as session:
        yield session


_made: dict[tuple[str, str], tuple[Any, list[np.ndarray], list[np.ndarray]]] = {}


def made(name: str, module: str) -> tuple[Any, list[np.ndarray], list[np.ndarray]]:
    """The model, its inputs and what Keras makes of them; kept for the next form of the same model."""
    if (name, module) not in _made:
        _made.clear()
        case, library = CASES[name], MODULES[module]
        library.backend.clear_session()
        model = case.build(library)
        draw_weights(model)
        arrays = draw_inputs(model, case)
        listed = len(arrays) > 1 or isinstance(getattr(model, "_inputs_struct", None), list)
        outputs = model(arrays if listed else arrays[0], training=False)
        if hasattr(model, "reset_states"):
            model.reset_states()
        outputs = outputs if isinstance(outputs, list | tuple) else [outputs]
        _made[name, module] = model, arrays, [np.asarray(each) for each in outputs]
    return _made[name, module]


def draw_weights(model: Any) -> None:
    """Random numbers in place of zeros and ones; what a layer was adapted to stays."""
    random = np.random.default_rng(7)
    adapted = {id(weight) for layer in model.layers if type(layer).__name__ == "Normalization" for weight in layer.weights}
    drawn = []
    for weight in model.weights:
        old = np.asarray(weight)
        if id(weight) in adapted or old.dtype.kind != "f":
            drawn.append(old)
            continue
        new = random.normal(0, 0.4, old.shape).astype(old.dtype)
        drawn.append(new**2 + np.float32(0.5) if "variance" in weight.name else new)
    model.set_weights(drawn)


def draw_inputs(model: Any, case: Case) -> list[np.ndarray]:
    if case.inputs is not None:
        return case.inputs()
    random = np.random.default_rng(11)
    arrays = []
    for each in model.inputs:
        shape = [case.batch if axis == 0 else 5 if size is None else size for axis, size in enumerate(each.shape)]
        name = str(getattr(each.dtype, "name", each.dtype))
        drawn = random.integers(0, case.high, shape) if "int" in name else random.normal(0, 1, shape)
        arrays.append(drawn.astype(name))
    return arrays


def save(model: Any, form: str, folder: Any) -> Any:
    path = folder / "model"
    with warnings.catch_warnings(), contextlib.redirect_stdout(None):
        warnings.simplefilter("ignore")
        if form == "export":
            model.export(path, verbose=False)
        elif form == "save":
            model.save(path, save_format="tf", include_optimizer=False)
        else:
            path = path.with_suffix(f".{form}")
            model.save(path)
    return path


def agree(actual: np.ndarray, expected: np.ndarray) -> bool:
    """The same shape, and numbers within the tolerance times the largest."""
    if actual.shape != expected.shape:
        return False
    if expected.dtype.kind in "OSU":
        return bool((actual == expected).all())
    one, other = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    return bool(np.abs(one - other).max(initial=0) <= TOLERANCE * max(np.abs(other).max(initial=0), 1e-6))


def compare(actual: list[np.ndarray], expected: list[np.ndarray], where: str, ordered: bool) -> None:
    """In order where the source has one. A SavedModel names its outputs as it likes; each must be among those expected."""
    assert len(actual) == len(expected), where
    left = list(expected)
    for index, each in enumerate(actual):
        wanted = left[:1] if ordered else left
        place = next((number for number, other in enumerate(wanted) if agree(each, other)), None)
        assert place is not None, f"{where}, output {index}: {each.shape} {each.dtype}\n{each}\nnot among\n{wanted}"
        left.pop(place)


def feeds(names: tuple[str, ...], model: Any, arrays: list[np.ndarray], ordered: bool) -> dict[str, np.ndarray]:
    """Arrays by the target's names of inputs; a SavedModel's are sorted, and end in the name of Keras' input."""
    if ordered or len(names) == 1:
        return dict(zip(names, arrays, strict=True))
    known = [each.name.split(":")[0] for each in model.inputs]
    return {name: arrays[next(place for place, each in enumerate(known) if name.endswith(each))] for name in names}


@pytest.mark.parametrize(("name", "module", "form"), list(_parameters()))
def test_a_layer(name: str, module: str, form: str, tmp_path: Any, javascript: tfjs.Session | None) -> None:
    logging.getLogger("absl").setLevel(logging.ERROR)
    model, arrays, expected = made(name, module)
    source = save(model, form, tmp_path)
    ordered = form not in ("export", "save")
    targets = [tmp_path / "model.tflite"] + ([tmp_path / "web"] if javascript is not None else [])
    tensorferry.convert(source, targets, verify=False)
    with LiteRtModel(targets[0]) as lite:
        names = tuple(slot.name for slot in lite.inputs)
        results = lite.run(feeds(names, model, arrays, ordered))
    compare(list(results.values()), expected, "TensorFlow Lite", ordered)
    if javascript is not None:
        names = tfjs.read_ports(targets[1])[0]
        compare(
            list(javascript.run(targets[1], feeds(names, model, arrays, ordered)).outputs.values()),
            expected,
            "TensorFlow.js",
            ordered,
        )
