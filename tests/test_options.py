import dataclasses

import pytest

from tensorferry.errors import OptionError
from tensorferry.options import Options, kind_of, split_names


@pytest.mark.parametrize(
    "keywords",
    [
        {"to": "onnx"},
        {"reference": "torch"},
        {"shard_size": -1},
        {"tolerance": 0.0},
        {"tolerance": 1.5},
        {"tolerance": float("nan")},
        {"seed": -1},
        {"inputs": ["a", "a"]},
        {"outputs": "x,x"},
        {"input_shapes": {"a": (1, -2)}},
        {"no_such_option": 1},
    ],
)
def test_options_check_themselves(keywords):
    with pytest.raises(OptionError):
        Options.of(**keywords)


def test_options_are_frozen_and_names_are_split():
    options = Options.of(inputs="a, b", outputs=["c"], input_shapes={"a": [1, 2]})
    assert (options.inputs, options.outputs, options.input_shapes) == (("a", "b"), ("c",), {"a": (1, 2)})
    with pytest.raises(dataclasses.FrozenInstanceError):
        options.seed = 3


def test_no_names_means_found():
    assert split_names(None) is None
    assert split_names("") is None
    assert split_names(" , ") is None


@pytest.mark.parametrize(
    ("target", "kind"),
    [("a/b.tflite", "tflite"), ("web/", "tfjs"), ("web", "tfjs"), ("web/model.json", "tfjs"), ("v1.5/", "tfjs")],
)
def test_the_kind_follows_from_the_name(target, kind):
    assert kind_of(target) == kind


def test_an_existing_folder_is_tfjs_whatever_its_name(tmp_path):
    folder = tmp_path / "model.v2"
    folder.mkdir()
    assert kind_of(folder) == "tfjs"


def test_an_unclear_name_asks_for_to():
    with pytest.raises(OptionError, match=r"model\.onnx"):
        kind_of("model.onnx")
    assert kind_of("model.bin", "tflite") == "tflite"
