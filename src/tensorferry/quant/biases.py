"""Bias correction: what rounding does to a layer's mean output is taken out of its bias, which is stored finely enough.

The error d of a channel's weights adds d . x to its output. The mean of that over what the layer sees, d . E[x], moves every output
element, and all that follows, one way; it is most of the harm that 8-bit weights do to depthwise nets (Nagel et al., 2019).
"""

from __future__ import annotations

import numpy as np

from tensorferry.quant.layers import Layer
from tensorferry.quant.moments import Moments
from tensorferry.tensor import Array


def shift_of(layer: Layer, error: Array, moments: Moments, place: slice) -> Array:
    """What the errors [channels, features] of the weights of some channels add to the means of their outputs."""
    mean = moments.mean[place] if layer.depthwise else moments.mean.reshape(-1)[: layer.features]
    shift: Array = np.sum(error * mean, axis=1)
    return shift
