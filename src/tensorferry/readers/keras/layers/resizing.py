"""Images to another size, by each of the interpolations that Keras names."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tensorferry.ir import Value
from tensorferry.readers.keras.building import Builder, Size
from tensorferry.tensor import DType

_OPS = {"nearest": "ResizeNearestNeighbor", "bilinear": "ResizeBilinear", "bicubic": "ResizeBicubic", "area": "ResizeArea"}
_KERNELS = {
    **{"bilinear": "triangle", "bicubic": "keyscubic"},
    **{name: name for name in ("lanczos3", "lanczos5", "gaussian", "mitchellcubic")},
}
"""With antialiasing, and where there is no op of that name."""

INTERPOLATIONS = (*_OPS, *(name for name in _KERNELS if name not in _OPS))


def resize(
    build: Builder,
    image: Value,
    size: Sequence[Size],
    method: str,
    *,
    factors: Sequence[float] | None = None,
    antialias: bool = False,
    from_corners: bool = False,
) -> Value:
    """[batch, height, width, channels] to another height and width.

    `factors`: how much larger it becomes, where that does not follow from sizes that are known. `from_corners`: places are counted
    as TensorFlow 1 did.
    """
    if method in _OPS and (not antialias or method in ("nearest", "area")):
        attrs = {} if method == "area" or from_corners else {"half_pixel_centers": True}
        return build.add(_OPS[method], (image, build.vector(size)), attrs)
    if method not in _KERNELS:
        raise build.unsupported(f"its interpolation '{method}' is not known")
    if factors is None:
        factors = [int(to) / build.size(image, axis) for axis, to in enumerate(size, 1) if isinstance(to, int)]
    operands = [build.constant(np.asarray(each), DType.FLOAT32, "resized") for each in (factors, [0.0, 0.0])]
    how = {"kernel_type": _KERNELS[method], "antialias": antialias}
    return build.add("ScaleAndTranslate", (image, build.vector(size), *operands), how)
