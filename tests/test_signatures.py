"""The facts about TensorFlow's ops are those of the TensorFlow that is installed."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from tensorferry.tensor import DType
from tensorferry.wire.signatures import Signature, signature

SCRIPT = Path(__file__).parent.parent / "scripts" / "make_op_signatures.py"


def of(op: str) -> Signature:
    found = signature(op)
    assert found is not None
    return found


def test_the_table_agrees_with_tensorflow() -> None:
    tensorflow = pytest.importorskip("tensorflow", reason="TensorFlow, whose ops are listed, is not installed")
    spec = importlib.util.spec_from_file_location("make_op_signatures", SCRIPT)
    assert spec is not None and spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    ours, theirs = ({line.split()[0]: line for line in text.splitlines()} for text in (script.FILE.read_text(), script.table()))
    both = ours.keys() & theirs.keys()  # another TensorFlow may have ops that came or went
    assert len(both) > 800, tensorflow.__version__
    assert {op: ours[op] for op in both} == {op: theirs[op] for op in both}


def test_an_op_of_nobody_has_no_signature() -> None:
    assert signature("Frobnicate") is None


def test_types_of_outputs_follow_from_attributes() -> None:
    assert of("Unique").output_types({"T": DType.FLOAT32}) == [DType.FLOAT32, DType.INT32]
    assert of("Unique").output_types({"T": DType.FLOAT32, "out_idx": DType.INT64}) == [DType.FLOAT32, DType.INT64]
    assert of("Split").output_types({"T": DType.BOOL, "num_split": 3}) == [DType.BOOL] * 3
    assert of("IdentityN").output_types({"T": [DType.BOOL, DType.INT8]}) == [DType.BOOL, DType.INT8]
    assert of("Relu").output_types({}) == [DType.UNKNOWN]
    assert of("NoOp").output_types({}) == []


def test_outputs_have_flat_numbers() -> None:
    assert of("Unique").output_index("idx", 0, {"T": DType.FLOAT32}) == 1
    assert of("Split").output_index("output", 2, {"T": DType.BOOL, "num_split": 3}) == 2
    assert of("Split").output_index("output", 3, {"T": DType.BOOL, "num_split": 3}) is None
    assert of("Split").output_index("other", 0, {"T": DType.BOOL, "num_split": 3}) is None


def test_attributes_follow_from_the_types_of_inputs() -> None:
    of_concat = list(of("ConcatV2").type_attributes([DType.FLOAT32, DType.FLOAT32, DType.INT32]))
    assert of_concat == [("T", DType.FLOAT32, False), ("N", 2, False), ("Tidx", DType.INT32, True)]
    assert list(of("Print").type_attributes([DType.INT8, DType.BOOL])) == [("T", DType.INT8, False), ("U", [DType.BOOL], False)]
