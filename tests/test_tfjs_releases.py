import pytest

from tensorferry.wire.tfjs_releases import first_releases, oldest_release


def test_the_oldest_release_is_that_of_the_youngest_op():
    assert oldest_release(["Conv2D", "Relu"]) == "1.0"
    assert oldest_release(["Conv2D", "_FusedConv2D"]) == "1.3"
    assert oldest_release(["_FusedConv2D", "MirrorPad", "FusedDepthwiseConv2dNative"]) == "2.7"
    assert oldest_release(["Conv2D", "NoSuchOp"]) == ""
    assert oldest_release([]) == "1.0"


@pytest.mark.parametrize("op", ["Const", "Placeholder", "Identity", "MatMul", "StridedSlice"])
def test_the_first_release_had_the_basic_ops(op):
    assert first_releases()[op] == (1, 0)
