"""Elements moved between space and batch, or between space and channels."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from tensorferry.ir import UNKNOWN_DIM, Dim, Graph, Node, Shape, Typed, Value, format_shape, type_of_constant
from tensorferry.ops.expansion import Expansion
from tensorferry.ops.index_operands import refuse_in_tfjs, require_dtype
from tensorferry.ops.samples import sample
from tensorferry.ops.sizes import Size, Sizes, divided, reshape, times
from tensorferry.ops.spec import Declined, Example, Infer, OpSpec, constant_input
from tensorferry.ops.windows import NCHW_TO_NHWC, NHWC_TO_NCHW, require_channels_last
from tensorferry.targets import JsNode, LiteOp, Ref
from tensorferry.tensor import Array, ArrayTensor, DType

_LITE_DEPTH = (DType.FLOAT32, DType.INT8, DType.UINT8, DType.INT32, DType.INT64)


def _times(dim: Dim, factor: int) -> Dim:
    return dim * factor if isinstance(dim, int) else (dim if factor == 1 else UNKNOWN_DIM)


def _divided(dim: Dim, factor: int, what: str) -> Dim:
    if isinstance(dim, str):
        return dim if factor == 1 else UNKNOWN_DIM
    if dim % factor:
        raise Declined(f"{what} of {dim} cannot be divided by {factor}")
    return dim // factor


def _plus(dim: Dim, more: int) -> Dim:
    return dim + more if isinstance(dim, int) else (dim if more == 0 else UNKNOWN_DIM)


# -- space and batch -----------------------------------------------------------------------------------------------


def _blocks(node: Node) -> tuple[list[int], list[tuple[int, int]]] | None:
    """Block sizes and paddings (or crops) when they are constant, else None."""
    try:
        block = constant_input(node, 1, "block shape")
        pads = constant_input(node, 2, "paddings")
    except Declined:
        return None
    return _checked_blocks(block, pads)


def _checked_blocks(block: Array, pads: Array) -> tuple[list[int], list[tuple[int, int]]]:
    if block.ndim != 1 or pads.shape != (block.size, 2) or (block < 1).any() or (pads < 0).any():
        raise Declined("its block shape and paddings do not go together", attributes=f"block_shape={block.tolist()}")
    return [int(each) for each in block], [(int(before), int(after)) for before, after in pads]


def _infer_unknown_blocks(value: Value) -> list[Typed]:
    shape: Shape = None if value.shape is None else (UNKNOWN_DIM,) * len(value.shape)
    return [Typed(value.dtype, shape)]


def _infer_to_batch(node: Node) -> list[Typed]:
    value, known = node.inputs[0], _blocks(node)
    if value.shape is None or known is None:
        return _infer_unknown_blocks(value)
    block, pads = known
    _check_rank(len(value.shape), block)
    spatial = [
        _divided(_plus(dim, sum(pad)), size, "a padded side") for dim, size, pad in zip(value.shape[1:], block, pads, strict=False)
    ]
    return [Typed(value.dtype, (_times(value.shape[0], math.prod(block)), *spatial, *value.shape[1 + len(block) :]))]


def _infer_to_space(node: Node) -> list[Typed]:
    value, known = node.inputs[0], _blocks(node)
    if value.shape is None or known is None:
        return _infer_unknown_blocks(value)
    block, crops = known
    _check_rank(len(value.shape), block)
    spatial = [_plus(_times(dim, size), -sum(crop)) for dim, size, crop in zip(value.shape[1:], block, crops, strict=False)]
    if any(isinstance(dim, int) and dim < 0 for dim in spatial):
        raise Declined("its crops are larger than the image", attributes=f"crops={crops}")
    batch = _divided(value.shape[0], math.prod(block), "a batch")
    return [Typed(value.dtype, (batch, *spatial, *value.shape[1 + len(block) :]))]


def _check_rank(rank: int, block: Sequence[int]) -> None:
    if rank < 1 + len(block):
        raise Declined(f"rank {rank} has no {len(block)} axes behind the batch")


def _evaluate_to_batch(_node: Node, array: Array, block_shape: Array, paddings: Array) -> Array:
    block, pads = _checked_blocks(block_shape, paddings)
    _check_rank(array.ndim, block)
    count = len(block)
    rest = array.shape[1 + count :]
    wide = np.pad(array, [(0, 0), *pads, *[(0, 0)] * len(rest)])
    inner = [_divided(side, size, "a padded side") for side, size in zip(wide.shape[1:], block, strict=False)]
    split = [part for pair in zip(inner, block, strict=True) for part in pair]
    order = [*range(2, 2 * count + 1, 2), 0, *range(1, 2 * count, 2), *range(2 * count + 1, 2 * count + 1 + len(rest))]
    moved = wide.reshape(array.shape[0], *split, *rest).transpose(order)
    return moved.reshape(array.shape[0] * math.prod(block), *inner, *rest)


def _evaluate_to_space(_node: Node, array: Array, block_shape: Array, crops: Array) -> Array:
    block, cuts = _checked_blocks(block_shape, crops)
    _check_rank(array.ndim, block)
    count = len(block)
    rest = array.shape[1 + count :]
    batch = int(_divided(array.shape[0], math.prod(block), "a batch"))
    order = [count, *[axis for at in range(count) for axis in (count + 1 + at, at)]]
    order += range(2 * count + 1, 2 * count + 1 + len(rest))
    moved = array.reshape(*block, batch, *array.shape[1:]).transpose(order)
    sides = [side * size for side, size in zip(array.shape[1:], block, strict=False)]
    whole = moved.reshape(batch, *sides, *rest)
    inside = tuple(slice(before, side - after) for (before, after), side in zip(cuts, sides, strict=True))
    return whole[(slice(None), *inside)]


def _lite_blocks(node: Node) -> Sequence[LiteOp]:
    value = node.inputs[0]
    if value.dtype is DType.STRING:
        raise Declined("TensorFlow Lite moves no blocks of strings")
    if value.rank not in (3, 4):
        raise Declined("TensorFlow Lite moves blocks of rank 3 and 4 only", attributes=f"rank={value.rank}")
    operator = "SPACE_TO_BATCH_ND" if node.op == "SpaceToBatchND" else "BATCH_TO_SPACE_ND"
    inputs = (value, *_lite_block_inputs(node, value.rank - 2))
    plain = value.dtype in _LITE_DEPTH  # others are looked at by their size only, which came without a version of its own
    return [LiteOp(operator, inputs, tuple(node.outputs), {}, 4 if not plain else 1 if value.rank == 4 else 3)]


def _lite_block_inputs(node: Node, count: int) -> tuple[Ref, ...]:
    """Block shape and paddings over all `count` axes between batch and channels, which is what TFLite takes."""
    if node.inputs[1].static_shape == (count,):
        return tuple(_int32(each) for each in node.inputs[1:])
    known = _blocks(node)
    if known is None or len(known[0]) > count:
        shape = format_shape(node.inputs[1].shape)
        raise Declined("TFLite moves blocks of all axes between batch and channels", attributes=f"block_shape=[{shape}]")
    missing = count - len(known[0])
    block = np.asarray([*known[0], *[1] * missing], np.int32)
    pads = np.asarray([*known[1], *[(0, 0)] * missing], np.int32)
    return ArrayTensor(block), ArrayTensor(pads)


def _int32(value: Value) -> Ref:
    if value.dtype is DType.INT32:
        return value
    if value.constant is None:
        raise Declined("its block shape is computed in int64 while the model runs", remedy="make it a constant")
    return ArrayTensor(value.constant.array().astype(np.int32))


def _js_blocks(node: Node) -> Sequence[JsNode]:
    refuse_in_tfjs(node.inputs[0], "move blocks of", DType.STRING)
    if node.inputs[0].rank not in (None, 3, 4):
        raise Declined("TensorFlow.js moves blocks of rank 3 and 4 only", attributes=f"rank={node.inputs[0].rank}")
    attrs = {"T": node.inputs[0].dtype, "Tblock_shape": DType.INT32}
    attrs["Tpaddings" if node.op == "SpaceToBatchND" else "Tcrops"] = DType.INT32
    inputs = (node.inputs[0], *(_int32(each) for each in node.inputs[1:]))
    return [JsNode(node.op, inputs, tuple(node.outputs), attrs)]


def _expand_blocks(graph: Graph, node: Node) -> bool:
    """Axis by axis, for the offsets within a block are the leading part of the batch: of the last axis first, of the first last."""
    value, known = node.inputs[0], _blocks(node)
    if known is None or value.shape is None or value.dtype is DType.STRING:
        return False
    block, margins = known
    _check_rank(len(value.shape), block)
    expansion = Expansion(graph, node)
    if node.op == "SpaceToBatchND":
        made = _pad_sides(expansion, value, margins)
        for axis in reversed(range(len(block))):
            made = _to_batch_along(expansion, made, axis + 1, block[axis])
        return expansion.finish(made if made is not value else expansion.make("Identity", value))
    made = value
    for axis, size in enumerate(block):
        made = _to_space_along(expansion, made, axis + 1, size)
    made = _crop_sides(expansion, made, margins)
    return expansion.finish(made if made is not value else expansion.make("Identity", value))


def _pad_sides(expansion: Expansion, value: Value, margins: Sequence[tuple[int, int]]) -> Value:
    if not any(map(sum, margins)):
        return value
    rest = (value.rank or 0) - 1 - len(margins)
    return expansion.make("Pad", value, np.array([(0, 0), *margins, *[(0, 0)] * rest], np.int32))


def _crop_sides(expansion: Expansion, value: Value, margins: Sequence[tuple[int, int]]) -> Value:
    if not any(map(sum, margins)):
        return value
    begin = [0, *(before for before, _after in margins)]
    end = [0, *(-after for _before, after in margins)]
    open_ends = sum(1 << axis for axis, size in enumerate(end) if size == 0)
    operands = (np.array(each, np.int32) for each in (begin, end, [1] * len(begin)))
    return expansion.make("StridedSlice", value, *operands, end_mask=open_ends)


def _to_batch_along(expansion: Expansion, value: Value, axis: int, size: int) -> Value:
    """[batch, before, side, after] -> [size * batch, before, side / size, after]."""
    if size == 1:
        return value
    sizes = Sizes(expansion, value).all()
    side = divided(expansion, sizes[axis], size)
    front, rest = times(expansion, *sizes[:axis]), times(expansion, *sizes[axis + 1 :])
    split = reshape(expansion, value, (front, side, size, rest))
    moved = expansion.make("Transpose", split, np.array([2, 0, 1, 3], np.int32))
    return reshape(expansion, moved, (times(expansion, sizes[0], size), *sizes[1:axis], side, *sizes[axis + 1 :]))


def _to_space_along(expansion: Expansion, value: Value, axis: int, size: int) -> Value:
    """[size * batch, before, side, after] -> [batch, before, side * size, after]."""
    if size == 1:
        return value
    sizes = Sizes(expansion, value).all()
    batch = divided(expansion, sizes[0], size)
    front, rest = times(expansion, batch, *sizes[1:axis]), times(expansion, *sizes[axis + 1 :])
    split = reshape(expansion, value, (size, front, sizes[axis], rest))
    moved = expansion.make("Transpose", split, np.array([1, 2, 0, 3], np.int32))
    return reshape(expansion, moved, (batch, *sizes[1:axis], times(expansion, sizes[axis], size), *sizes[axis + 1 :]))


# -- space and channels --------------------------------------------------------------------------------------------


def _channels_last_dims(node: Node, value: Value) -> tuple[Dim, ...]:
    if value.rank not in (None, 4):
        raise Declined(f"its input has rank {value.rank}, not 4")
    dims = value.shape or (UNKNOWN_DIM,) * 4
    return tuple(dims[axis] for axis in NCHW_TO_NHWC) if _is_first(node) else dims


def _is_first(node: Node) -> bool:
    layout = node["data_format"]
    if layout not in ("NHWC", "NCHW"):
        raise Declined(f"the data format {layout} is not known", attributes=f"data_format={layout}")
    return bool(layout == "NCHW")


def _block_size(node: Node) -> int:
    size = int(node["block_size"])
    if size < 2:
        raise Declined("its block size must be at least 2", attributes=f"block_size={size}")
    return size


def _laid_out(node: Node, dims: tuple[Dim, ...]) -> tuple[Dim, ...]:
    return tuple(dims[axis] for axis in NHWC_TO_NCHW) if _is_first(node) else dims


def _infer_depth_to_space(node: Node) -> list[Typed]:
    batch, height, width, depth = _channels_last_dims(node, node.inputs[0])
    size = _block_size(node)
    dims = (batch, _times(height, size), _times(width, size), _divided(depth, size * size, "a depth"))
    return [Typed(node.inputs[0].dtype, _laid_out(node, dims))]


def _infer_space_to_depth(node: Node) -> list[Typed]:
    batch, height, width, depth = _channels_last_dims(node, node.inputs[0])
    size = _block_size(node)
    dims = (batch, _divided(height, size, "a height"), _divided(width, size, "a width"), _times(depth, size * size))
    return [Typed(node.inputs[0].dtype, _laid_out(node, dims))]


def _evaluate_depth_to_space(node: Node, array: Array) -> Array:
    last = array.transpose(NCHW_TO_NHWC) if _is_first(node) else array
    batch, height, width, depth = last.shape
    size = _block_size(node)
    inner = int(_divided(depth, size * size, "a depth"))
    moved = last.reshape(batch, height, width, size, size, inner).transpose(0, 1, 3, 2, 4, 5)
    result = moved.reshape(batch, height * size, width * size, inner)
    return result.transpose(NHWC_TO_NCHW) if _is_first(node) else result


def _evaluate_space_to_depth(node: Node, array: Array) -> Array:
    last = array.transpose(NCHW_TO_NHWC) if _is_first(node) else array
    batch, height, width, depth = last.shape
    size = _block_size(node)
    rows, columns = int(_divided(height, size, "a height")), int(_divided(width, size, "a width"))
    moved = last.reshape(batch, rows, size, columns, size, depth).transpose(0, 1, 3, 2, 4, 5)
    result = moved.reshape(batch, rows, columns, size * size * depth)
    return result.transpose(NHWC_TO_NCHW) if _is_first(node) else result


def _lite_depth(node: Node) -> Sequence[LiteOp]:
    require_channels_last(node)
    require_dtype(node.inputs[0], _LITE_DEPTH, node.op)
    operator = "DEPTH_TO_SPACE" if node.op == "DepthToSpace" else "SPACE_TO_DEPTH"
    return [LiteOp(operator, tuple(node.inputs), tuple(node.outputs), {"block_size": _block_size(node)})]


def _js_depth_to_space(node: Node) -> Sequence[JsNode]:
    require_channels_last(node)
    if node.inputs[0].dtype is not DType.FLOAT32:
        raise Declined("TensorFlow.js moves channels of float32 only", attributes=f"T={node.inputs[0].dtype}")
    attrs = {"T": node.inputs[0].dtype, "block_size": _block_size(node), "data_format": "NHWC"}
    return [JsNode(node.op, tuple(node.inputs), tuple(node.outputs), attrs)]


def _expand_depth(graph: Graph, node: Node) -> bool:
    """A block is two axes more; they are brought together, or apart, by a Transpose."""
    value = node.inputs[0]
    if value.rank != 4:
        return False
    expansion, size, first = Expansion(graph, node), _block_size(node), _is_first(node)
    sizes = Sizes(expansion, value).all()
    batch, rows, columns, depth = (sizes[axis] for axis in ((0, 2, 3, 1) if first else (0, 1, 2, 3)))
    if node.op == "DepthToSpace":
        inner = divided(expansion, depth, size * size)
        parts: tuple[Size, ...] = (batch, size, size, inner, rows, columns) if first else (batch, rows, columns, size, size, inner)
        order = (0, 3, 4, 1, 5, 2) if first else (0, 1, 3, 2, 4, 5)
        rows, columns, depth = times(expansion, rows, size), times(expansion, columns, size), inner
    else:
        rows, columns = divided(expansion, rows, size), divided(expansion, columns, size)
        parts = (batch, depth, rows, size, columns, size) if first else (batch, rows, size, columns, size, depth)
        order = (0, 3, 5, 1, 2, 4) if first else (0, 1, 3, 2, 4, 5)
        depth = times(expansion, depth, size * size)
    moved = expansion.make("Transpose", reshape(expansion, value, parts), np.array(order, np.int32))
    whole = (batch, depth, rows, columns) if first else (batch, rows, columns, depth)
    return expansion.finish(reshape(expansion, moved, whole))


# -- examples ------------------------------------------------------------------------------------------------------


def _pair(block: Sequence[int], pads: Sequence[Sequence[int]]) -> tuple[Array, Array]:
    return np.asarray(block, np.int32), np.asarray(pads, np.int32).reshape(len(block), 2)


def _to_batch_examples() -> Iterator[Example]:
    yield Example((sample(1, 4, 6, 3), *_pair([2, 2], [[0, 0], [0, 0]])), {}, (1, 2), note="2x2")
    yield Example((sample(2, 5, 7, 3), *_pair([2, 3], [[1, 0], [0, 2]])), {}, (1, 2), note="2x3 with padding")
    yield Example((sample(2, 6, 3), *_pair([3], [[2, 1]])), {}, (1, 2), note="rank 3")
    yield Example((sample(2, 4, 6, 3), *_pair([2], [[0, 0]])), {}, (1, 2), note="one axis of two")
    yield Example((sample(1, 2, 3, 4, 2), *_pair([2, 1, 2], [[0, 0], [1, 0], [0, 2]])), {}, (1, 2), note="three axes")
    yield Example((sample(2, 2, 2, 2, 2, 2), *_pair([2, 1, 2, 2], [[0, 0]] * 4)), {}, (1, 2), note="four axes, rank 6")
    yield Example((sample(2, 4), *_pair([2], [[0, 0]])), {}, (1, 2), note="rank 2")
    yield Example((np.arange(8, dtype=np.uint16).reshape(1, 4, 2, 1), *_pair([2, 2], [[0, 0], [1, 1]])), {}, (1, 2), note="uint16")
    yield Example((np.arange(8, dtype=np.int16).reshape(2, 4), *_pair([2], [[1, 1]])), {}, (1, 2), note="int16, rank 2")


def _to_space_examples() -> Iterator[Example]:
    yield Example((sample(4, 2, 3, 3), *_pair([2, 2], [[0, 0], [0, 0]])), {}, (1, 2), note="2x2")
    yield Example((sample(12, 3, 3, 3), *_pair([2, 3], [[1, 0], [0, 2]])), {}, (1, 2), note="2x3 with crops")
    yield Example((sample(6, 3, 3), *_pair([3], [[2, 1]])), {}, (1, 2), note="rank 3")
    yield Example((sample(8, 2, 3, 2, 2), *_pair([2, 1, 2], [[0, 1], [1, 0], [0, 2]])), {}, (1, 2), note="three axes")
    yield Example((sample(8, 2, 1, 2, 1, 2), *_pair([2, 1, 2, 2], [[0, 0]] * 4)), {}, (1, 2), note="four axes, rank 6")
    yield Example((sample(4, 3), *_pair([2], [[1, 1]])), {}, (1, 2), note="rank 2")


def _depth_to_space_examples() -> Iterator[Example]:
    yield Example((sample(2, 3, 5, 8),), {"block_size": 2}, note="2")
    yield Example((sample(1, 2, 3, 9),), {"block_size": 3}, note="3")
    yield Example((np.arange(16, dtype=np.int32).reshape(1, 2, 2, 4),), {"block_size": 2}, note="int32")
    yield Example((np.arange(16, dtype=np.int16).reshape(1, 2, 2, 4),), {"block_size": 2}, note="int16")
    yield Example((sample(1, 2, 2, 4) > 0,), {"block_size": 2}, note="bool")
    yield Example((sample(2, 8, 3, 5),), {"block_size": 2, "data_format": "NCHW"}, note="channels first")


def _space_to_depth_examples() -> Iterator[Example]:
    yield Example((sample(2, 4, 6, 3),), {"block_size": 2}, note="2")
    yield Example((sample(1, 6, 9, 2),), {"block_size": 3}, note="3")
    yield Example((np.arange(16, dtype=np.int32).reshape(1, 2, 4, 2),), {"block_size": 2}, note="int32")
    yield Example((np.arange(16, dtype=np.uint32).reshape(1, 2, 4, 2),), {"block_size": 2}, note="uint32")
    yield Example((sample(1, 2, 4, 2) > 0,), {"block_size": 2}, note="bool")
    yield Example((sample(2, 3, 4, 6),), {"block_size": 2, "data_format": "NCHW"}, note="channels first")


def _infer_old(infer: Infer) -> Infer:
    """The old ops have one size for both sides of a block, and are typed as the newer ones."""

    def typed(node: Node) -> Sequence[Typed]:
        block = Node(
            "block", "Const", (), {"value": ArrayTensor(_old_block(node))}, [type_of_constant(ArrayTensor(_old_block(node)))]
        )
        trial = Node(node.name, f"{node.op}ND", (node.inputs[0], block.output, node.inputs[1]), {"T": node.inputs[0].dtype}, ())
        try:
            return infer(trial)
        finally:
            trial.set_inputs(())

    return typed


def _old_block(node: Node) -> Array:
    return np.full(2, int(node["block_size"]), np.int32)


def _expand_old(graph: Graph, node: Node) -> bool:
    expansion = Expansion(graph, node)
    return expansion.finish(expansion.make(f"{node.op}ND", node.inputs[0], _old_block(node), node.inputs[1]))


def _old_to_batch_examples() -> Iterator[Example]:
    yield Example((sample(1, 3, 4, 2), np.array([[1, 0], [0, 0]], np.int32)), {"block_size": 2}, constants=(1,))


def _old_to_space_examples() -> Iterator[Example]:
    yield Example((sample(4, 2, 2, 1), np.array([[1, 0], [0, 0]], np.int32)), {"block_size": 2}, constants=(1,))


_DEPTH_ATTRS = {"data_format": "NHWC", "T": DType.FLOAT32}

SPECS = (
    OpSpec(
        name="SpaceToBatch",
        attrs={"block_size": 2},
        infer=_infer_old(_infer_to_batch),
        evaluate=lambda node, array, pads: _evaluate_to_batch(node, array, _old_block(node), pads),
        expand=_expand_old,
        examples=_old_to_batch_examples,
    ),
    OpSpec(
        name="BatchToSpace",
        attrs={"block_size": 2},
        infer=_infer_old(_infer_to_space),
        evaluate=lambda node, array, crops: _evaluate_to_space(node, array, _old_block(node), crops),
        expand=_expand_old,
        examples=_old_to_space_examples,
    ),
    OpSpec(
        name="SpaceToBatchND",
        attrs={"T": DType.FLOAT32},
        infer=_infer_to_batch,
        evaluate=_evaluate_to_batch,
        to_tflite=_lite_blocks,
        to_tfjs=_js_blocks,
        expand=_expand_blocks,
        examples=_to_batch_examples,
    ),
    OpSpec(
        name="BatchToSpaceND",
        attrs={"T": DType.FLOAT32},
        infer=_infer_to_space,
        evaluate=_evaluate_to_space,
        to_tflite=_lite_blocks,
        to_tfjs=_js_blocks,
        expand=_expand_blocks,
        examples=_to_space_examples,
    ),
    OpSpec(
        name="DepthToSpace",
        attrs=_DEPTH_ATTRS,
        infer=_infer_depth_to_space,
        evaluate=_evaluate_depth_to_space,
        to_tflite=_lite_depth,
        to_tfjs=_js_depth_to_space,
        expand=_expand_depth,
        moves=0,
        examples=_depth_to_space_examples,
    ),
    OpSpec(
        name="SpaceToDepth",
        attrs=_DEPTH_ATTRS,
        infer=_infer_space_to_depth,
        evaluate=_evaluate_space_to_depth,
        to_tflite=_lite_depth,
        expand=_expand_depth,
        moves=0,
        examples=_space_to_depth_examples,
    ),
)
