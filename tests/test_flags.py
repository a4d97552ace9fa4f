"""docs/flags.md against the programs themselves: no flag of theirs is missing there, none of ours is made up."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from tensorferry.cli import app

PAGE = (Path(__file__).parent.parent / "docs" / "flags.md").read_text(encoding="utf-8")

TENSORFLOWJS = frozenset(
    (
        *("input_format", "output_format", "signature_name", "saved_model_tags", "output_node_names", "weight_shard_size_bytes"),
        *("metadata", "strip_debug_ops", "control_flow_v2", "skip_op_check", "use_structured_outputs_names", "experiments"),
        *("quantize_float16", "quantize_uint8", "quantize_uint16", "quantization_bytes", "split_weights_by_layer", "version"),
        "help",
    )
)
"""What `tensorflowjs_converter --help` of 4.22 lists; it cannot be installed beside a new TensorFlow."""


def section(title: str) -> str:
    found = re.search(rf"^## {re.escape(title)}[^\n]*\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None, title
    return found[1]


def theirs(title: str) -> set[str]:
    return set(re.findall(r"^\| `--(\w+)` \|", section(title), re.MULTILINE))


def test_each_flag_of_the_tensorflow_js_converter_has_a_row():
    assert theirs("tensorflowjs_converter") == TENSORFLOWJS


def test_each_flag_of_tflite_convert_has_a_row():
    convert = pytest.importorskip("tensorflow.lite.python.tflite_convert")
    for title, new in (("tflite_convert (TensorFlow 2", True), ("tflite_convert and toco", False)):
        flags = {
            option.removeprefix("--")
            for action in convert._get_parser(use_v2_converter=new)._actions
            for option in action.option_strings
            if option.startswith("--")
        }
        known = theirs(title) if new else theirs(title) | theirs("tflite_convert (TensorFlow 2")
        assert sorted(flags - known) == []


def test_each_flag_of_freeze_graph_has_a_row():
    tool = pytest.importorskip("tensorflow.python.tools.freeze_graph")
    flags = set(re.findall(r'"--(\w+)"', inspect.getsource(tool)))
    assert len(flags) > 10
    assert sorted(flags - theirs("freeze_graph")) == []


def test_each_flag_of_ours_exists():
    known = {
        option
        for name in ("convert", "freeze", "inspect")
        for parameter in app.commands[name].params
        for option in (*parameter.opts, *parameter.secondary_opts)
    } | {"--help", "--version"}
    answers = "\n".join(re.findall(r"^\| `--\w+` \|(.*)\|$", PAGE, re.MULTILINE))
    own = "\n".join(re.findall(r"^\| (`--[a-z].*?) \|", section("Ours alone"), re.MULTILINE))
    named = set(re.findall(r"`(--?[a-z][a-z0-9-]*)", f"{answers}\n{own}"))
    assert len(named) > 20
    assert sorted(named - known) == []


def test_each_option_of_convert_is_named_in_the_page_or_the_readme():
    readme = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
    options = {option for parameter in app.commands["convert"].params for option in parameter.opts if option.startswith("--")}
    assert sorted(option for option in options - {"--input-shape"} if option not in PAGE + readme) == []
