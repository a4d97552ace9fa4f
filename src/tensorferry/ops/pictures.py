"""Ops that read or write pictures as files. No target does: their results are known by type, so a model can begin behind them."""

from __future__ import annotations

from typing import Any

from tensorferry.ir import UNKNOWN_DIM, Dim, Node, Typed
from tensorferry.ops.spec import OpSpec
from tensorferry.tensor import DType


def _channels(node: Node) -> Dim:
    """As many as the file has where it says 0."""
    return int(node["channels"]) or UNKNOWN_DIM


def _infer_picture(node: Node) -> list[Typed]:
    return [Typed(node["dtype"], (UNKNOWN_DIM, UNKNOWN_DIM, _channels(node)))]


def _infer_any(node: Node) -> list[Typed]:
    """With animations, a file may give pictures one after the other."""
    shape = None if node["expand_animations"] else (UNKNOWN_DIM, UNKNOWN_DIM, _channels(node))
    return [Typed(node["dtype"], shape)]


def _infer_animation(node: Node) -> list[Typed]:
    return [Typed(node["dtype"], (UNKNOWN_DIM, UNKNOWN_DIM, UNKNOWN_DIM, 3))]


def _infer_file(node: Node) -> list[Typed]:
    """One text for each picture."""
    shape = node.inputs[0].shape
    return [Typed(DType.STRING, None if shape is None else shape[:-3])]


def _infer_shape(node: Node) -> list[Typed]:
    return [Typed(node["output_type"], (3,))]


def _spec(name: str, infer: Any, **attrs: Any) -> OpSpec:
    return OpSpec(name=name, infer=infer, attrs={"dtype": DType.UINT8, **attrs})


SPECS = (
    _spec("DecodeJpeg", _infer_picture, channels=0),
    _spec("DecodeAndCropJpeg", _infer_picture, channels=0),
    _spec("DecodePng", _infer_picture, channels=0),
    _spec("DecodeBmp", _infer_picture, channels=0),
    _spec("DecodeWebP", _infer_any, channels=0, expand_animations=True),
    _spec("DecodeImage", _infer_any, channels=0, expand_animations=True),
    _spec("DecodeGif", _infer_animation),
    OpSpec(name="EncodeJpeg", infer=_infer_file),
    OpSpec(name="EncodePng", infer=_infer_file),
    OpSpec(name="ExtractJpegShape", infer=_infer_shape, attrs={"output_type": DType.INT32}),
)
