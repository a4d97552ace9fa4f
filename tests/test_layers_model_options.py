"""What a user may ask of a layers-model: names, shards, metadata, fewer bits; what cannot be becomes a graph-model."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tensorferry
from tensorferry.errors import FerryError, OptionError, VerificationError
from tensorferry.report import Report
from tensorferry.runtimes import tfjs

pytestmark = pytest.mark.skipif(tfjs.available() is not None, reason=str(tfjs.available()))
keras = pytest.importorskip("keras", reason="Keras, which makes the models, is not installed")
pytest.importorskip("tensorflow", reason="TensorFlow, with which Keras computes, is not installed")

MODELS = Path(__file__).parents[2] / "shared" / "models"
layers = keras.layers


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A small net with weights that are not zero."""
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3), name="image"),
            layers.Conv2D(4, 3, bias_initializer="normal", name="first"),
            layers.Flatten(),
            layers.Dense(60, name="last"),
        ]
    )
    model.save(tmp_path / "net.keras")
    return tmp_path / "net.keras"


def save(model: Any, path: Path) -> Path:
    """With random numbers in place of all weights."""
    random = np.random.default_rng(5)
    model.set_weights([random.normal(0, 0.5, each.shape).astype(np.float32) for each in model.get_weights()])
    model.save(path)
    return path


def convert(source: Path, **options: Any) -> tuple[Report, dict[str, Any]]:
    folder = source.parent / "web"
    report = tensorferry.convert(source, folder, to="tfjs-layers", **options)
    return report, json.loads((folder / "model.json").read_text())


def test_it_is_a_model_of_layers_and_proved(saved: Path) -> None:
    report, document = convert(saved)
    assert report.verified
    target = report.targets[0]
    assert target.kind == "tfjs-layers" and target.operators == {"Conv2D": 1, "Flatten": 1, "Dense": 1}
    assert document["format"] == "layers-model" and document["generatedBy"].startswith("Keras 3.")
    topology = document["modelTopology"]["model_config"]
    assert topology["class_name"] == "Sequential"
    assert topology["config"]["layers"][0]["config"]["batch_input_shape"] == [None, 8, 8, 3]
    names = [weight["name"] for weight in document["weightsManifest"][0]["weights"]]
    assert names == ["first/kernel", "first/bias", "last/kernel", "last/bias"]


def test_a_changed_weight_is_noticed(saved: Path) -> None:
    convert(saved, verify=False)
    assert tensorferry.verify(saved, saved.parent / "web").checks[str(saved.parent / "web")].status == "verified"
    (shard,) = (saved.parent / "web").glob("*.bin")
    content = np.fromfile(shard, np.float32)
    content[5] += 1
    content.tofile(shard)
    assert tensorferry.verify(saved, saved.parent / "web").checks[str(saved.parent / "web")].status == "failed"


def test_shards_and_metadata_are_as_asked(saved: Path) -> None:
    (saved.parent / "labels.json").write_text('["cat", "dog"]')
    report, document = convert(saved, shard_size=5000, metadata={"labels": saved.parent / "labels.json"})
    paths = document["weightsManifest"][0]["paths"]
    total = sum(4 * math.prod(weight["shape"]) for weight in document["weightsManifest"][0]["weights"])
    assert report.verified and len(paths) == -(-total // 5000) > 1
    assert document["userDefinedMetadata"] == {"labels": ["cat", "dog"]}


def test_weights_in_fewer_bits(saved: Path) -> None:
    report, document = convert(saved, quantize="uint8")
    kinds = {each["name"]: each.get("quantization", {}).get("dtype") for each in document["weightsManifest"][0]["weights"]}
    assert kinds == {"first/kernel": "uint8", "first/bias": None, "last/kernel": "uint8", "last/bias": "float16"}
    assert report.verified and report.targets[0].bytes < 20_000


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"rename": {"image": "picture"}}, "--rename"),
        ({"outputs": "first"}, "--outputs"),
        ({"inputs": "first"}, "--inputs"),
        ({"input_shapes": {"image": (2, 8, 8, 3)}}, "--shape"),
        ({"fixed": True}, "--fixed"),
    ],
)
def test_what_changes_the_model_makes_a_graph_model(saved: Path, options: dict[str, Any], said: str) -> None:
    report, document = convert(saved, **options)
    assert document["format"] == "graph-model" and report.verified
    assert report.targets[0].kind == "tfjs"
    assert f"not as a layers-model: {said} changes the model" in "\n".join(report.targets[0].notices)


def test_a_graph_has_no_layers(tmp_path: Path) -> None:
    from small_graphs import freeze, small_net  # noqa: PLC0415

    source = freeze(tmp_path / "net.pb", small_net)
    with pytest.raises(OptionError, match="only a Keras model") as caught:
        tensorferry.convert(source, tmp_path / "web", to="tfjs-layers")
    assert "--to tfjs" in caught.value.remedy
    assert not (tmp_path / "web").exists()


def test_all_layers_in_the_way_are_named_at_once(tmp_path: Path) -> None:
    x = keras.Input((6, 4), name="steps")
    y = layers.GRU(3, return_sequences=True, name="remember")(layers.GRU(4, return_sequences=True, name="begin")(x))
    source = save(keras.Model(x, layers.GroupNormalization(1, name="even")(y)), tmp_path / "net.keras")
    report, document = convert(source)
    notice = next(each for each in report.targets[0].notices if "layers-model" in each)
    assert document["format"] == "graph-model" and report.verified
    assert "'begin', 'remember' (GRU)" in notice and "reset_after" in notice and "'even' (GroupNormalization)" in notice


def test_what_acts_in_training_alone_is_left_out_and_told(tmp_path: Path) -> None:
    x = keras.Input((5,))
    source = save(keras.Model(x, layers.Dense(3, kernel_regularizer="l2")(x)), tmp_path / "net.keras")
    report, document = convert(source)
    assert report.verified and "regularizer" not in json.dumps(document)
    assert any("regularisers and constraints are left out" in each for each in report.targets[0].notices)


# -- names ---------------------------------------------------------------------------------------------------------


def _equal_names() -> Any:
    def part(name: str) -> Any:
        return keras.Sequential([keras.Input((5,)), layers.Dense(4, name="dense"), layers.ReLU(name="curve")], name=name)

    x = keras.Input((5,), name="x")
    one, other = part("one"), part("other")
    return keras.Model(x, [layers.Add(name="sum")([one(x), other(x)]), layers.Dense(2, name="dense")(one(x))])


def _foreign_names() -> Any:
    x = keras.Input((5,), name="x")
    return keras.Model(x, layers.Dense(3, name="y")(layers.Dense(4, name="1 + 1")(layers.Dense(3, name="última capa")(x))))


def _names_of_objects() -> Any:
    x = keras.Input((5,), name="x")
    return keras.Model(x, layers.Dense(3, name="y")(layers.Dense(4, name="constructor")(x)))


def _one_layer_twice() -> Any:
    x, y = keras.Input((5,), name="x"), keras.Input((5,), name="y")
    shared = layers.Dense(5, name="shared")
    return keras.Model([x, y], [shared(x), shared(shared(y))])


def _late_first_call() -> Any:
    """tfjs-layers makes the second call of the shared layer first: the other waits for a layer that is listed behind."""
    x = keras.Input((5,), name="x")
    shared = layers.Dense(5, name="shared")
    waiting = layers.Dense(5, name="waiting", activation="tanh")
    first = shared(waiting(x))
    return keras.Model(x, [layers.Subtract(name="less")([first, shared(x)]), first])


def _same_output_twice() -> Any:
    x = keras.Input((5,), name="x")
    y = layers.Dense(3, name="y")(x)
    return keras.Model(x, [y, y])


def _nested_twice() -> Any:
    inner_x = keras.Input((5,), name="inner_x")
    inner = keras.Model(inner_x, [layers.Dense(5, name="a")(inner_x), layers.Dense(5, name="b")(inner_x)], name="inner")
    x = keras.Input((5,), name="x")
    one, other = inner(x)
    third, fourth = inner(one)
    return keras.Model(x, [layers.Concatenate(name="all")([other, third]), fourth])


@pytest.mark.parametrize(
    "make",
    [
        *(_equal_names, _foreign_names, _names_of_objects, _one_layer_twice),
        *(_late_first_call, _same_output_twice, _nested_twice),
    ],
    ids=lambda make: make.__name__[1:],
)
def test_names_and_calls(make: Callable[[], Any], tmp_path: Path) -> None:
    model = make()
    report, document = convert(save(model, tmp_path / "net.keras"))
    assert document["format"] == "layers-model" and report.verified
    inputs, outputs = tfjs.read_ports(tmp_path / "web")
    assert list(inputs) == [port.name for port in report.inputs] and list(outputs) == [port.name for port in report.outputs]
    random = np.random.default_rng(2)
    arrays = [random.normal(0, 1, (2, 5)).astype(np.float32) for _ in model.inputs]
    expected = model(arrays if len(arrays) > 1 else arrays[0])
    found = tfjs.run(tmp_path / "web", dict(zip(inputs, arrays, strict=True))).outputs
    for one, other in zip(found.values(), expected if isinstance(expected, list) else [expected], strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-4 * np.abs(other).max())


@pytest.mark.parametrize(
    ("first", "last", "said"),
    [
        ("x", "toString", "'toString' means something else in JavaScript"),
        ("x", "última capa", "no layer of the name 'última capa'"),
        ("日本", "y", "no layer of the name '日本'"),
    ],
)
def test_names_that_tfjs_layers_does_not_take(first: str, last: str, said: str, tmp_path: Path) -> None:
    x = keras.Input((5,), name=first)
    report, document = convert(save(keras.Model(x, layers.Dense(3, name=last)(x)), tmp_path / "net.keras"))
    assert document["format"] == "graph-model" and report.verified
    assert said in "\n".join(report.targets[0].notices)


# -- written between layers ----------------------------------------------------------------------------------------


def _arithmetic(library: Any) -> Any:
    x = library.Input((6, 5, 4), name="x")
    y = library.layers.Conv2D(8, 3, groups=4, padding="same", strides=2, name="by_channel")(x)
    y = library.layers.ReLU(6.0)(y * 2.0 + 3.0) * (1 / 6) - y / 4.0
    return library.Model(x, 1.0 - y - (-y) * y)


def test_arithmetic_and_convolutions_by_channel(tmp_path: Path) -> None:
    report, document = convert(save(_arithmetic(keras), tmp_path / "net.keras"))
    assert document["format"] == "layers-model" and report.verified
    assert report.targets[0].operators["DepthwiseConv2D"] == 1


def test_arithmetic_of_keras_2(tmp_path: Path) -> None:
    tf_keras = pytest.importorskip("tf_keras", reason="Keras 2 is not installed")
    model = _arithmetic(tf_keras)
    report, document = convert(save(model, tmp_path / "net.keras"))
    assert document["format"] == "layers-model" and report.verified
    array = np.random.default_rng(2).normal(0, 1, (2, 6, 5, 4)).astype(np.float32)
    (found,) = tfjs.run(tmp_path / "web", {"x": array}).outputs.values()
    expected = np.asarray(model(array))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def test_whole_numbers_are_not_computed_as_floats(tmp_path: Path) -> None:
    x = keras.Input((5,), dtype="int32", name="x")
    keras.Model(x, x * 3).save(tmp_path / "net.keras")
    report, document = convert(tmp_path / "net.keras")
    assert document["format"] == "graph-model" and report.verified
    assert "whole numbers" in "\n".join(report.targets[0].notices)


# -- other sources -------------------------------------------------------------------------------------------------


def test_architecture_and_weights_apart(saved: Path) -> None:
    model = keras.saving.load_model(saved)
    (saved.parent / "net.json").write_text(model.to_json())
    model.save_weights(saved.parent / "net.weights.h5")
    report, document = convert(saved.parent / "net.weights.h5", architecture=saved.parent / "net.json")
    assert report.verified and document["format"] == "layers-model"


def test_what_is_written_is_read_as_the_same_model(saved: Path) -> None:
    convert(saved, verify=False)
    difference = tensorferry.diff(saved, saved.parent / "web", run=True)
    assert difference.same, difference


REAL = {
    "mlperf_vww_h5/vww_96.h5": "Functional",
    "kdef_tiny_xception_h5/tiny_XCEPTION_KDEF.hdf5": "Functional",
    "k3_kepler/best_model.keras": "Sequential",
    "ml5_crepe": "Functional",
    "kp_front_or_side": "Sequential",
}


@pytest.mark.skipif(not MODELS.is_dir(), reason="the shared models are not there")
@pytest.mark.parametrize("name", REAL)
def test_real_models(name: str, tmp_path: Path) -> None:
    report = tensorferry.convert(MODELS / name, tmp_path / "web", to="tfjs-layers")
    assert report.verified
    document = json.loads((tmp_path / "web" / "model.json").read_text())
    assert document["format"] == "layers-model"
    assert document["modelTopology"]["model_config"]["class_name"] == REAL[name]


# -- configs that no Keras wrote -----------------------------------------------------------------------------------


_ODD = (None, 0, -1, 7, 2**40, math.nan, math.inf, "", "relu", "causal", "toString", [], [1], [[1, 2], [3, 4]], {}, True)


def _leaves(given: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    pairs = given.items() if isinstance(given, dict) else enumerate(given) if isinstance(given, list) else ()
    return [path, *(leaf for key, each in pairs for leaf in _leaves(each, (*path, key)))]


def test_spoilt_configs_are_written_right_or_refused(tmp_path: Path) -> None:
    """Whatever a config says: an error of ours, a graph-model, or a layers-model of the same numbers."""
    x = keras.Input((8, 8, 3), name="x")
    y = layers.Conv2D(4, 3, strides=2, activation="hard_silu", name="conv")(x)
    y = layers.BatchNormalization(name="norm")(layers.PReLU(shared_axes=[1, 2], name="slopes")(y))
    y = layers.Reshape((9, 4), name="steps")(layers.ZeroPadding2D(((0, 0), (0, 0)), name="pad")(y))
    y = layers.Bidirectional(layers.LSTM(3, return_sequences=True), name="both")(
        layers.Conv1D(4, 2, padding="causal", name="past")(y)
    )
    y = layers.Subtract(name="less")([layers.Dropout(0.1, name="drop")(y), y * 2.0])
    model = keras.Model(x, layers.Dense(2, name="y")(layers.GlobalMaxPooling1D(name="top")(y)))
    save(model, tmp_path / "net.keras")
    model.save_weights(tmp_path / "net.weights.h5")
    whole, random = json.loads(model.to_json()), np.random.default_rng(3)
    places = [path for path in _leaves(whole) if path and path[-1] not in ("module", "registered_name")]
    written = {"layers-model": 0, "graph-model": 0, "refused": 0}
    for number in range(25):
        spoilt = json.loads(json.dumps(whole))
        place = places[random.integers(len(places))]
        inner = spoilt
        for key in place[:-1]:
            inner = inner[key]
        inner[place[-1]] = _ODD[random.integers(len(_ODD))]
        (tmp_path / "net.json").write_text(json.dumps(spoilt))
        folder = tmp_path / f"web{number}"
        try:
            tensorferry.convert(tmp_path / "net.weights.h5", folder, to="tfjs-layers", architecture=tmp_path / "net.json")
        except FerryError as error:
            assert not isinstance(error, VerificationError), (place, inner[place[-1]], error)
            assert not folder.exists()
            written["refused"] += 1
        else:
            written[json.loads((folder / "model.json").read_text())["format"]] += 1
    assert written["layers-model"] > 4 and written["refused"] > 2, written


def test_the_command_line_knows_the_kind() -> None:
    from click.testing import CliRunner  # noqa: PLC0415

    from tensorferry.cli import app  # noqa: PLC0415
    from tensorferry.options import TARGETS  # noqa: PLC0415

    said = CliRunner().invoke(app, ["convert", "--help"]).output.replace("\n", " ")
    listed = " ".join(said.split())
    assert all(kind in listed for kind in TARGETS)
