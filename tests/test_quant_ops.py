"""Each operator that computes with whole numbers, by itself: quantised on its own example's range, in both sets of kernels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lite_specification import assert_keeps_specification
from op_harness import all_cases, fed, target_graph
from tensorferry.program import Program
from tensorferry.quant.applying import apply_plan
from tensorferry.quant.integers import decide_integers
from tensorferry.quant.observing import Watch, observe, watchable
from tensorferry.quant.scheme import Mode, Scheme
from tensorferry.quant.spec import RULES
from tensorferry.runtimes import litert
from tensorferry.runtimes.litert import LiteRtModel
from tensorferry.tensor import Array, DType
from tensorferry.writers.tflite import write_program
from tensorferry.writers.tflite_program import make_program

EXAMPLES = {
    "ABS": "Abs-0",
    "ADD": "AddV2-5-Relu6",
    "ARG_MAX": "ArgMax-0-axis_0_int32",
    "ARG_MIN": "ArgMin-0-axis_0_int32",
    "AVERAGE_POOL_2D": "AvgPool-0-halves_odd_sizes",
    "BATCH_MATMUL": "BatchMatMulV2-0-batches",
    "BATCH_TO_SPACE_ND": "BatchToSpaceND-1-2x3_with_crops",
    "BROADCAST_TO": "BroadcastTo-0",
    "CONCATENATION": "ConcatV2-3-with_a_constant",
    "CONV_2D": "Conv2D-11-explicit_padding_that_is_SAME",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2dNative-0-3x3_odd_sizes",
    "DEPTH_TO_SPACE": "DepthToSpace-0-2",
    "ELU": "Elu-0",
    "EQUAL": "Equal-0",
    "EXP": "Exp-0",
    "EXPAND_DIMS": "ExpandDims-0-axis_0",
    "FULLY_CONNECTED": "MatMul-10-bias_and_Relu",
    "GATHER": "GatherV2-7-batch",
    "GATHER_ND": "GatherNd-3-computed",
    "GELU": "Gelu-0",
    "GREATER": "Greater-0",
    "GREATER_EQUAL": "GreaterEqual-0",
    "HARD_SWISH": "HardSwish-0",
    "L2_NORMALIZATION": "L2Normalize-0",
    "LEAKY_RELU": "LeakyRelu-0",
    "LESS": "Less-0",
    "LESS_EQUAL": "LessEqual-0",
    "LOG": "Log-0",
    "LOGISTIC": "Sigmoid-0",
    "LOG_SOFTMAX": "LogSoftmax-0-1_dims",
    "MAXIMUM": "Maximum-0",
    "MAX_POOL_2D": "MaxPool-0-halves_odd_sizes",
    "MEAN": "Mean-0-axes_1",
    "MINIMUM": "Minimum-0",
    "MIRROR_PAD": "MirrorPad-0-reflect",
    "MUL": "Mul-3-five_dims",
    "NOT_EQUAL": "NotEqual-0",
    "PACK": "Pack-0-axis_0",
    "PAD": "Pad-0-image",
    "PADV2": "PadV2-0",
    "PRELU": "PRelu-0-channels",
    "REDUCE_MAX": "Max-0-axes_1",
    "REDUCE_MIN": "Min-0-axes_1",
    "RELU": "Relu-0",
    "RELU6": "Relu6-0",
    "RELU_N1_TO_1": "ReluN1To1-1-six_dims",
    "RESHAPE": "Reshape-4-from_scalar",
    "RESIZE_BILINEAR": "ResizeBilinear-0-4x5_to_8x10_legacy",
    "RESIZE_NEAREST_NEIGHBOR": "ResizeNearestNeighbor-0-4x5_to_8x10_legacy",
    "REVERSE_V2": "ReverseV2-0",
    "SELECT": "Select-0",
    "SELECT_V2": "MatrixBandPart-0-1_0",
    "SHAPE": "Shape-0",
    "SLICE": "Slice-0",
    "SOFTMAX": "Softmax-2-4_dims",
    "SPACE_TO_BATCH_ND": "SpaceToBatchND-1-2x3_with_padding",
    "SPACE_TO_DEPTH": "SpaceToDepth-0-2",
    "SPLIT": "Split-0",
    "SPLIT_V": "SplitV-0",
    "SQRT": "Sqrt-0",
    "SQUARED_DIFFERENCE": "SquaredDifference-0",
    "SQUEEZE": "Squeeze-1",
    "STRIDED_SLICE": "StridedSlice-8-ellipsis_between",
    "SUB": "Sub-0",
    "SUM": "Sum-4-axes_1",
    "TANH": "Tanh-0",
    "TILE": "Tile-0",
    "TRANSPOSE": "Transpose-2-negative_axis",
    "TRANSPOSE_CONV": "Conv2DBackpropInput-0-twice_as_large",
    "UNPACK": "Unpack-0",
}
"""Operator -> the example of an op that is lowered to it."""

BOUND = {"int8": 0.035, "int16x8": 0.03}
"""Of the largest value; tanh's grid alone has 1/128."""

CASES = {case.id: case for case in all_cases()}


def test_every_operator_of_the_table_has_an_example():
    assert set(RULES) == set(EXAMPLES)
    assert set(EXAMPLES.values()) <= set(CASES)


def quantised(program: Program, feeds: dict[str, Array], mode: str, path: Path) -> tuple[Program, dict[str, Array], list[str]]:
    """The program, what the float one computes, and which operators are whole."""
    write_program(program, path)
    with LiteRtModel(path, keep_intermediates=True) as model:
        outputs: list[dict[str, Array]] = []

        def run(sample: dict[str, Array]) -> dict[str, Array]:
            outputs.append(model.run(sample))
            return model.intermediates()

        ranges = observe(run, [feeds], Watch(watchable(program))).ranges
    io_dtype = DType.INT8 if mode == "int8" else DType.INT16  # with float outputs, what squashes them may stay float
    plan = decide_integers(program, Scheme(Mode(mode), io_dtype), ranges)
    return apply_plan(program, plan), outputs[0], [each.operator for each in plan.operators if each.changed]


@pytest.mark.parametrize("mode", ["int8", "int16x8"])
@pytest.mark.parametrize("operator", EXAMPLES)
def test_near_the_float_one_in_both_sets_of_kernels(tmp_path, operator, mode):
    case = CASES[EXAMPLES[operator]]
    graph = target_graph(case, "tflite", pipeline=False)
    feeds = fed(case, graph)
    made, expected, whole = quantised(make_program(graph, "serving_default"), feeds, mode, tmp_path / "float.tflite")
    if mode == "int16x8" and not RULES[operator].wide:
        assert whole == []
        return
    assert operator in whole
    path = tmp_path / "whole.tflite"
    write_program(made, path)
    assert_keeps_specification(path)
    for run in (litert.run, litert.run_plain):
        done = run(path, feeds)
        for name in done.outputs:
            found = done.real(name) if expected[name].dtype.kind == "f" else done.outputs[name]
            assert found.shape == expected[name].shape
            if expected[name].dtype.kind == "f":
                reach = np.max(np.abs(expected[name]))
                assert np.max(np.abs(found - expected[name])) <= BOUND[mode] * reach, (operator, mode)
            else:
                np.testing.assert_array_equal(found, expected[name])
