"""SavedModels as estimators of TensorFlow 1 export them: tables with vocabularies, several tags, signatures over examples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tensorferry
from tensorferry.errors import OptionError
from tensorferry.readers import read
from tensorferry.readers.selection import select
from tensorferry.runtimes.reference import evaluate_graph

tf = pytest.importorskip("tensorflow", reason="TensorFlow, which writes the models, is not installed")
from google.protobuf import text_format  # noqa: E402 - comes with TensorFlow
from tensorflow.core.protobuf import saved_model_pb2  # noqa: E402

v1 = tf.compat.v1
KERNEL = np.arange(8, dtype=np.float32).reshape(4, 2) / 4
BIAS = np.array([1, -1], np.float32)
WORDS = ("red", "green", "blue")


def rows_of_kernel(shape, dtype=None, partition_info=None):
    """The initial values of one partition."""
    first = partition_info.var_offset[0]
    return tf.constant(KERNEL[first : first + shape[0]], dtype)


def build(vocabulary: Path, *, training: bool) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    """examples -> (age, colour) -> a linear model over the age and the colour as one-hot; in training with dropout before it."""
    examples = v1.placeholder(tf.string, [None], name="input_example_tensor")
    spec = {"age": tf.io.FixedLenFeature([], tf.float32), "colour": tf.io.FixedLenFeature([], tf.string)}
    parsed = v1.io.parse_example(examples, spec)
    initializer = v1.lookup.TextFileInitializer(
        str(vocabulary), tf.string, v1.lookup.TextFileIndex.WHOLE_LINE, tf.int64, v1.lookup.TextFileIndex.LINE_NUMBER
    )
    table = v1.lookup.StaticHashTable(initializer, -1)
    features = tf.concat([parsed["age"][:, None], tf.one_hot(table.lookup(parsed["colour"]), 3)], 1)
    if training:
        features = v1.nn.dropout(features, rate=0.5)
    weights = v1.get_variable("linear/kernel", (4, 2), initializer=rows_of_kernel, partitioner=v1.fixed_size_partitioner(2))
    logits = tf.matmul(features, tf.convert_to_tensor(weights)) + v1.get_variable("linear/bias", initializer=BIAS)
    v1.train.get_or_create_global_step()
    return examples, {"logits": logits, "probabilities": tf.nn.softmax(logits), "age": parsed["age"], "colour": parsed["colour"]}


@pytest.fixture(scope="module", params=["main op", "legacy op"])
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("estimator")
    (folder / "colours.txt").write_text("\n".join(WORDS) + "\n")
    builder = v1.saved_model.Builder(str(folder / "saved"))
    for tags, training in ((["train"], True), (["serve"], False), (["serve", "gpu"], False)):
        with tf.Graph().as_default(), v1.Session() as session:
            examples, made = build(folder / "colours.txt", training=training)
            info = v1.saved_model.build_tensor_info
            raw = {name: info(made[name]) for name in ("age", "colour")}
            signatures = {
                "serving_default": v1.saved_model.classification_signature_def(examples, None, made["probabilities"]),
                "regression": v1.saved_model.regression_signature_def(examples, made["logits"][:, 0]),
                "predict": v1.saved_model.build_signature_def(
                    raw, {name: info(made[name]) for name in ("logits", "probabilities")}, "tensorflow/serving/predict"
                ),
            }
            start = v1.tables_initializer()
            op = {"main_op": start} if request.param == "main op" else {"legacy_init_op": start}
            assets = {"assets_collection": v1.get_collection(v1.GraphKeys.ASSET_FILEPATHS)}
            session.run([v1.global_variables_initializer(), start])
            if training:
                builder.add_meta_graph_and_variables(session, tags, signatures, **assets, **op)
            else:
                builder.add_meta_graph(tags, signatures, **assets, **op)
    builder.save()
    (folder / "colours.txt").unlink()  # the model has its own copy
    (folder / "saved" / "fingerprint.pb").write_bytes(b"\xff not read")
    return folder / "saved"


AGE, COLOUR = np.array([2, 0.5, -1], np.float32), np.array([b"blue", b"red", b"other"], object)


def expected() -> np.ndarray:
    one_hot = np.array([[0, 0, 1], [1, 0, 0], [0, 0, 0]], np.float32)
    return np.concatenate([AGE[:, None], one_hot], 1) @ KERNEL + BIAS


@pytest.mark.parametrize("signature", [None, "predict", "regression"])
@pytest.mark.parametrize("tags", [None, ("serve", "gpu"), ("gpu", "serve")])
def test_each_signature_and_tag_set(exported: Path, signature: str | None, tags: tuple[str, ...] | None) -> None:
    graph = select(read(exported, signature=signature, tags=tags))
    assert {port.name for port in graph.inputs} == {"age", "colour"}, "the examples are left out"
    logits = expected()
    results = evaluate_graph(graph, {"age": AGE, "colour": COLOUR})
    wanted = {
        None: {"scores": np.exp(logits) / np.exp(logits).sum(1, keepdims=True)},
        "predict": {"logits": logits, "probabilities": np.exp(logits) / np.exp(logits).sum(1, keepdims=True)},
        "regression": {"outputs": logits[:, 0]},
    }[signature]
    assert set(results) == set(wanted)
    for name, array in wanted.items():
        np.testing.assert_allclose(results[name], array, rtol=1e-5)


def test_the_training_graph_loses_its_dropout(exported: Path, tmp_path: Path) -> None:
    report = tensorferry.convert(exported, tmp_path / "m.tflite", tags="train", signature="predict")
    assert report.verified and any("dropout" in notice for notice in report.notices)


def test_all_signatures_in_one_file(exported: Path, tmp_path: Path) -> None:
    report = tensorferry.convert(exported, tmp_path / "m.tflite", signature="all")
    assert report.verified, [target.check.reason for target in report.targets]
    compared = {output.name for output in report.targets[0].check.outputs}
    assert compared == {"serving_default: scores", "predict: logits", "predict: probabilities", "regression: outputs"}


def test_unknown_tags_are_listed(exported: Path) -> None:
    with pytest.raises(OptionError, match="no graph with the tags tpu") as caught:
        read(exported, tags=("tpu",))
    assert "train; serve; serve,gpu" in caught.value.remedy


def test_the_text_form(exported: Path, tmp_path: Path) -> None:
    message = saved_model_pb2.SavedModel.FromString((exported / "saved_model.pb").read_bytes())
    for name in ("saved_model.pbtxt", "saved_model.pb"):
        folder = tmp_path / name.replace(".", "_")
        folder.mkdir()
        (folder / name).write_text(text_format.MessageToString(message))
        for part in ("variables", "assets"):
            (folder / part).symlink_to(exported / part)
        graph = select(read(folder, signature="predict"))
        np.testing.assert_allclose(evaluate_graph(graph, {"age": AGE, "colour": COLOUR})["logits"], expected(), rtol=1e-5)
