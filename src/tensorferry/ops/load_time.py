"""Of which ops TensorFlow Lite knows the sizes once its inputs have theirs, before it has computed anything.

An operator whose result is sized by what another one computes stops LiteRT's preparation: what stands behind it is prepared while
the model runs. Tensors that outlive a run (states of fused recurrent operators) are laid out before, at the size they have then.
"""

from __future__ import annotations

from tensorferry import ops
from tensorferry.ir import Node

_BY_SHAPE = frozenset(
    (
        *("Const", "Placeholder", "PlaceholderWithDefault", "Identity", "IdentityN", "Lstm"),
        *("MatMul", "BatchMatMulV2", "Conv2D", "DepthwiseConv2dNative", "Conv3D", "MaxPool", "AvgPool", "LRN"),
        *("BiasAdd", "FusedBatchNormV3", "Softmax", "LogSoftmax", "PRelu", "Gelu", "L2Normalize", "Cast", "AddN"),
        *("Bitcast", "Select", "StopGradient", "GatherNd", "DepthToSpace", "SpaceToDepth"),
        *("Squeeze", "Pack", "Unpack", "FakeQuantWithMinMaxArgs", "FakeQuantWithMinMaxVars"),
    )
)
"""Ops whose results are sized by the sizes of their inputs alone; elementwise ones are, too."""

_OPERANDS = {
    **dict.fromkeys(("Reshape", "Transpose", "ExpandDims", "Pad", "PadV2", "MirrorPad", "Tile", "ReverseV2"), (1,)),
    **dict.fromkeys(("Mean", "Sum", "Max", "Min", "Prod", "All", "Any", "Cumsum", "OneHot", "ArgMax", "ArgMin"), (1,)),
    **dict.fromkeys(("ResizeBilinear", "ResizeNearestNeighbor"), (1,)),
    **dict.fromkeys(("Slice", "SpaceToBatchND", "BatchToSpaceND", "SplitV"), (1, 2)),
    "StridedSlice": (1, 2, 3),
    "GatherV2": (2,),
    "Split": (0,),
    "ConcatV2": (-1,),
}
"""Ops of which these inputs size the result too, and so must be constants."""


def sized_by_shapes(node: Node) -> bool:
    """The sizes of what the node gives follow from those of what it reads. False for ops of which nothing is said here."""
    operands = _OPERANDS.get(node.op)
    if operands is not None:
        return all(node.inputs[place].constant is not None for place in operands)
    spec = ops.find(node.op)
    return node.op in _BY_SHAPE or (spec is not None and spec.elementwise)
