"""StridedSlice under any masks: TensorFlow says what comes out, or that nothing may."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from op_harness import Case, assert_typed, build_graph, evaluate_graph, feeds, hide_all, run_tensorflow
from tensorferry import ops
from tensorferry.errors import NodeError
from tensorferry.ops.spec import Example, OpSpec
from tensorferry.ops.strided import MASKS


def spec() -> OpSpec:
    found = ops.find("StridedSlice")
    assert found is not None
    return found


@st.composite
def examples(draw: st.DrawFn) -> Example:
    shape = draw(st.lists(st.integers(0, 4), max_size=4))
    count = draw(st.integers(0, 5))
    numbers = st.lists(st.integers(-5, 5), min_size=count, max_size=count)
    strides = draw(st.lists(st.sampled_from([1, 1, 1, 2, 3, -1, -2, 0]), min_size=count, max_size=count))
    masks = {mask: draw(st.integers(0, (1 << count) - 1)) for mask in MASKS}
    masks["ellipsis_mask"] = draw(st.sampled_from([0, 0, *(1 << place for place in range(count))]))
    masks["shrink_axis_mask"] &= draw(st.integers(0, 31))
    array = np.arange(int(np.prod(shape)), dtype=np.int32).reshape(shape)
    bounds = (np.array(each, np.int32) for each in (draw(numbers), draw(numbers), strides))
    return Example((array, *bounds), masks, constants=(1, 2, 3))


@given(example=examples())
@settings(max_examples=400, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
def test_any_slice_is_tensorflows(example: Example) -> None:
    tf = pytest.importorskip("tensorflow", reason="TensorFlow, the oracle of the op tests, is not installed")
    case = Case("slice", spec(), example)
    try:
        expected = run_tensorflow(case)[0]
    except tf.errors.InvalidArgumentError:
        with pytest.raises(NodeError):
            build_graph(case)
        return
    graph, node = build_graph(case)
    actual = evaluate_graph(graph, feeds(case))[0]
    np.testing.assert_array_equal(actual, expected)
    assert_typed(node.output.typed, expected, exact=True)
    _, hidden = build_graph(case, hide_all)
    assert_typed(hidden.output.typed, expected, exact=False)
