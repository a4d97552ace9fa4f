"""Convolutions of one, two and three dimensions: depthwise, transposed, dilated, grouped, padded by hand, channels first."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from ops.case import Array, Family, floats, integers

raw = tf.raw_ops


def add_cases(family: Family) -> None:
    _plain(family)
    _fused(family)
    _depthwise(family)
    _transposed(family)
    _one_dimension(family)
    _three_dimensions(family)
    _others(family)


def _kernel(*shape: int, seed: int = 3) -> Array:
    return floats(*shape, low=-0.5, high=0.5, seed=seed)


def _plain(family: Family) -> None:
    for size in ((5, 6), (7, 4)):
        for kernel in ((1, 1), (3, 3), (2, 3), (5, 1)):
            for stride in ((1, 1), (2, 2), (1, 2)):
                for padding in ("SAME", "VALID"):
                    if padding == "VALID" and kernel[0] > size[0]:
                        continue
                    if size == (7, 4) and stride == (2, 2):
                        continue
                    name = f"Conv2D_{size[0]}x{size[1]}_k{kernel[0]}x{kernel[1]}_s{stride[0]}x{stride[1]}_{padding}"
                    weights = _kernel(*kernel, 3, 2)
                    family.add(name, lambda x, w=weights, s=stride, p=padding: tf.nn.conv2d(x, w, s, p), floats(1, *size, 3))
    for dilation in ((2, 2), (3, 1), (1, 2)):
        for padding in ("SAME", "VALID"):
            build = lambda x, d=dilation, p=padding: tf.nn.conv2d(x, _kernel(3, 3, 2, 3), 1, p, dilations=d)
            family.add(f"Conv2D_dilated_{dilation[0]}x{dilation[1]}_{padding}", build, floats(2, 8, 7, 2))
            family.add(f"Conv2D_dilated_{dilation[0]}x{dilation[1]}_{padding}", build, floats(2, 8, 7, 2), unknown="batch")
    family.add(
        "Conv2D_stride_and_dilation",
        lambda x: raw.Conv2D(input=x, filter=_kernel(3, 3, 2, 3), strides=[1, 2, 2, 1], dilations=[1, 2, 2, 1], padding="SAME"),
        floats(1, 9, 9, 2),
    )
    family.add(
        "Conv2D_stride_and_dilation_valid",
        lambda x: raw.Conv2D(input=x, filter=_kernel(3, 2, 2, 3), strides=[1, 2, 1, 1], dilations=[1, 2, 2, 1], padding="VALID"),
        floats(1, 9, 9, 2),
    )
    for pads in ([[0, 0], [1, 1], [1, 1], [0, 0]], [[0, 0], [2, 0], [0, 1], [0, 0]], [[0, 0], [3, 3], [2, 2], [0, 0]]):
        for stride in (1, 2):
            flat = "_".join(f"{a}{b}" for a, b in pads[1:3])
            family.add(
                f"Conv2D_explicit_{flat}_s{stride}",
                lambda x, p=pads, s=stride: tf.nn.conv2d(x, _kernel(3, 3, 2, 3), s, p),
                floats(1, 6, 5, 2),
            )
    for groups, (inner, outer) in ((2, (4, 4)), (3, (6, 3)), (4, (4, 8))):
        family.add(
            f"Conv2D_grouped_{groups}",
            lambda x, i=inner // groups, o=outer: tf.nn.conv2d(x, _kernel(3, 3, i, o), 1, "SAME"),
            floats(1, 5, 5, inner),
        )
        family.add(
            f"Conv2D_grouped_{groups}_s2",
            lambda x, i=inner // groups, o=outer: tf.nn.conv2d(x, _kernel(3, 2, i, o), 2, "VALID"),
            floats(2, 5, 6, inner),
            unknown="batch",
        )
    for dtype in ("float16", "float64", "int32"):
        family.add(
            f"Conv2D_{dtype}",
            lambda x, d=dtype: tf.nn.conv2d(x, tf.cast(_kernel(3, 3, 2, 3) * 4, d), 1, "SAME"),
            floats(1, 5, 5, 2).astype(dtype),
        )
    family.add("Conv2D", lambda x: tf.nn.conv2d(x, _kernel(3, 3, 2, 3), 2, "SAME"), floats(2, 5, 6, 2), unknown="batch")
    family.add(
        "Conv2D_unknown_image",
        lambda x: tf.nn.conv2d(x, _kernel(3, 3, 2, 3), 2, "SAME"),
        floats(1, 5, 6, 2),
        shapes=((None, None, None, 2),),
    )
    family.add(
        "Conv2D_unknown_image_valid",
        lambda x: tf.nn.conv2d(x, _kernel(2, 3, 2, 3), 1, "VALID"),
        floats(1, 5, 6, 2),
        shapes=((1, None, None, 2),),
    )
    family.add("Conv2D_weights_at_run_time", lambda x, w: tf.nn.conv2d(x, w, 1, "SAME"), floats(1, 5, 5, 2), _kernel(3, 3, 2, 3))
    family.add(
        "Conv2D_weights_computed", lambda x, s: tf.nn.conv2d(x, _kernel(3, 3, 2, 3) * s, 1, "VALID"), floats(1, 5, 5, 2), floats(3)
    )
    family.add("Conv2D_empty_batch", lambda x: tf.nn.conv2d(x, _kernel(3, 3, 2, 3), 1, "SAME"), floats(0, 5, 5, 2))
    family.add("Conv2D_batches", lambda x: tf.nn.conv2d(x, _kernel(3, 3, 2, 3), 1, "SAME"), floats(2, 2, 5, 5, 2))
    for stride, padding in ((1, "SAME"), (2, "SAME"), (1, "VALID"), (2, "VALID")):
        family.add(
            f"Conv2D_NCHW_s{stride}_{padding}",
            lambda x, s=stride, p=padding: tf.nn.conv2d(x, _kernel(3, 3, 2, 3), s, p, data_format="NCHW"),
            floats(1, 2, 6, 5),
            reference=lambda x, s=stride, p=padding: tf.transpose(
                tf.nn.conv2d(tf.transpose(x, [0, 2, 3, 1]), _kernel(3, 3, 2, 3), s, p), [0, 3, 1, 2]
            ),
        )


def _fused(family: Family) -> None:
    bias = floats(3, seed=8)
    for name, act in (
        ("none", tf.identity),
        ("relu", tf.nn.relu),
        ("relu6", tf.nn.relu6),
        ("tanh", tf.tanh),
        ("sigmoid", tf.sigmoid),
        ("elu", tf.nn.elu),
        ("leaky", tf.nn.leaky_relu),
        ("swish", tf.nn.silu),
    ):
        family.add(
            f"conv_bias_{name}", lambda x, a=act: a(tf.nn.conv2d(x, _kernel(3, 3, 2, 3), 1, "SAME") + bias), floats(1, 5, 5, 2)
        )
        family.add(
            f"conv_bias_add_{name}",
            lambda x, a=act: a(tf.nn.bias_add(tf.nn.conv2d(x, _kernel(3, 3, 2, 3), 2, "VALID"), bias)),
            floats(2, 5, 5, 2),
            unknown="batch",
        )
        family.add(
            f"depthwise_bias_{name}",
            lambda x, a=act: a(tf.nn.depthwise_conv2d(x, _kernel(3, 3, 3, 1), [1, 1, 1, 1], "SAME") + bias),
            floats(1, 5, 5, 3),
        )
    scale, offset, mean, variance = floats(3, low=0.5, high=2), floats(3), floats(3, seed=1), floats(3, low=0.5, high=2, seed=2)
    norm = lambda x: raw.FusedBatchNormV3(x=x, scale=scale, offset=offset, mean=mean, variance=variance, is_training=False)[0]
    family.add("conv_norm_relu", lambda x: tf.nn.relu(norm(tf.nn.conv2d(x, _kernel(3, 3, 2, 3), 1, "SAME"))), floats(1, 5, 5, 2))
    family.add(
        "conv_norm_relu6",
        lambda x: tf.nn.relu6(norm(tf.nn.conv2d(x, _kernel(3, 3, 2, 3), 2, "SAME") + bias)),
        floats(2, 5, 5, 2),
        unknown="batch",
    )
    family.add("norm_conv", lambda x: tf.nn.conv2d(norm(x), _kernel(3, 3, 3, 2), 1, "VALID"), floats(1, 5, 5, 3))
    family.add("norm_conv_same", lambda x: tf.nn.conv2d(norm(x), _kernel(3, 3, 3, 2), 1, "SAME"), floats(1, 5, 5, 3))
    family.add(
        "depthwise_norm", lambda x: norm(tf.nn.depthwise_conv2d(x, _kernel(3, 3, 3, 1), [1, 1, 1, 1], "SAME")), floats(1, 5, 5, 3)
    )
    family.add(
        "pad_conv",
        lambda x: tf.nn.conv2d(tf.pad(x, [[0, 0], [1, 1], [2, 1], [0, 0]]), _kernel(3, 3, 2, 3), 2, "VALID"),
        floats(1, 6, 5, 2),
    )
    family.add(
        "pad_depthwise",
        lambda x: tf.nn.depthwise_conv2d(tf.pad(x, [[0, 0], [0, 1], [0, 1], [0, 0]]), _kernel(3, 3, 2, 1), [1, 2, 2, 1], "VALID"),
        floats(1, 6, 6, 2),
    )
    family.add(
        "pad_reflect_conv",
        lambda x: tf.nn.conv2d(tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]], "REFLECT"), _kernel(3, 3, 2, 3), 1, "VALID"),
        floats(1, 6, 5, 2),
    )
    family.add(
        "separable",
        lambda x: tf.nn.separable_conv2d(x, _kernel(3, 3, 2, 2), _kernel(1, 1, 4, 3), [1, 1, 1, 1], "SAME"),
        floats(1, 5, 5, 2),
    )
    family.add(
        "separable_s2",
        lambda x: tf.nn.separable_conv2d(x, _kernel(3, 3, 2, 1), _kernel(1, 1, 2, 3), [1, 2, 2, 1], "SAME"),
        floats(1, 6, 5, 2),
        unknown="batch",
    )
    family.add(
        "residual",
        lambda x: tf.nn.relu(
            x + tf.nn.conv2d(tf.nn.relu(tf.nn.conv2d(x, _kernel(3, 3, 2, 4), 1, "SAME")), _kernel(1, 1, 4, 2), 1, "SAME")
        ),
        floats(1, 5, 5, 2),
    )
    family.add("space_to_batch_conv", _dilated_by_hand, floats(1, 8, 8, 2))
    family.add("space_to_batch_conv_odd", lambda x: _dilated_by_hand(x, crop=1), floats(1, 7, 7, 2))


def _dilated_by_hand(x: tf.Tensor, crop: int = 0) -> tf.Tensor:
    """As Keras writes a dilated convolution in a frozen graph of TensorFlow 1."""
    spread = tf.space_to_batch(x, [2, 2], [[2, 2 + crop], [2, 2 + crop]])
    return tf.batch_to_space(tf.nn.conv2d(spread, _kernel(3, 3, 2, 3), 1, "VALID"), [2, 2], [[0, crop], [0, crop]])


def _depthwise(family: Family) -> None:
    for multiplier in (1, 2, 3):
        for stride in ((1, 1), (2, 2), (1, 2), (2, 1)):
            for padding in ("SAME", "VALID"):
                build = lambda x, m=multiplier, s=stride, p=padding: _depthwise_raw(x, m, s, p)
                name = f"Depthwise_m{multiplier}_s{stride[0]}x{stride[1]}_{padding}"
                if stride[0] == stride[1]:
                    family.add(name, build, floats(1, 6, 5, 2))
                else:  # refused by TensorFlow's CPU kernels, not by its graphs
                    family.add(
                        name,
                        build,
                        floats(1, 6, 5, 2),
                        reference=lambda x, m=multiplier, s=stride, p=padding: _depthwise_reference(x, m, s, p),
                    )
    for rate in ((2, 2), (1, 2)):
        for padding in ("SAME", "VALID"):
            family.add(
                f"Depthwise_dilated_{rate[0]}x{rate[1]}_{padding}",
                lambda x, r=rate, p=padding: tf.nn.depthwise_conv2d(x, _kernel(3, 3, 2, 2), [1, 1, 1, 1], p, dilations=r),
                floats(1, 8, 7, 2),
            )
    family.add(
        "Depthwise_one_channel", lambda x: tf.nn.depthwise_conv2d(x, _kernel(3, 3, 1, 4), [1, 1, 1, 1], "SAME"), floats(1, 5, 5, 1)
    )
    family.add(
        "Depthwise",
        lambda x: tf.nn.depthwise_conv2d(x, _kernel(3, 3, 2, 1), [1, 2, 2, 1], "SAME"),
        floats(2, 5, 6, 2),
        unknown="batch",
    )
    family.add(
        "Depthwise_weights_at_run_time",
        lambda x, w: tf.nn.depthwise_conv2d(x, w, [1, 1, 1, 1], "SAME"),
        floats(1, 5, 5, 2),
        _kernel(3, 3, 2, 2),
    )
    family.add(
        "Depthwise_explicit",
        lambda x: raw.DepthwiseConv2dNative(
            input=x,
            filter=_kernel(3, 3, 2, 1),
            strides=[1, 1, 1, 1],
            padding="EXPLICIT",
            explicit_paddings=[0, 0, 1, 0, 0, 2, 0, 0],
        ),
        floats(1, 5, 5, 2),
    )
    family.add(
        "Depthwise_float16",
        lambda x: tf.nn.depthwise_conv2d(x, tf.cast(_kernel(3, 3, 2, 1), tf.float16), [1, 1, 1, 1], "SAME"),
        floats(1, 5, 5, 2, dtype="float16"),
    )
    family.add(
        "Depthwise_large_kernel", lambda x: tf.nn.depthwise_conv2d(x, _kernel(7, 7, 2, 1), [1, 1, 1, 1], "SAME"), floats(1, 5, 5, 2)
    )


def _depthwise_raw(x: tf.Tensor, multiplier: int, stride: tuple[int, int], padding: str) -> tf.Tensor:
    return raw.DepthwiseConv2dNative(input=x, filter=_kernel(3, 2, 2, multiplier), strides=[1, *stride, 1], padding=padding)


def _depthwise_reference(x: tf.Tensor, multiplier: int, stride: tuple[int, int], padding: str) -> tf.Tensor:
    parts = [tf.nn.conv2d(x[..., c : c + 1], _kernel(3, 2, 2, multiplier)[:, :, c : c + 1], stride, padding) for c in range(2)]
    return tf.concat(parts, -1)


def _transposed(family: Family) -> None:
    for kernel in ((2, 2), (3, 3), (4, 2)):
        for stride in (1, 2, 3):
            for padding in ("SAME", "VALID"):
                size = [
                    (each - 1) * stride + k if padding == "VALID" else each * stride for each, k in zip((3, 4), kernel, strict=True)
                ]
                name = f"Transposed_k{kernel[0]}x{kernel[1]}_s{stride}_{padding}"
                family.add(
                    name,
                    lambda x, k=kernel, s=stride, p=padding, z=size: tf.nn.conv2d_transpose(x, _kernel(*k, 3, 2), [1, *z, 3], s, p),
                    floats(1, 3, 4, 2),
                )
    family.add(
        "Transposed_odd_output",
        lambda x: tf.nn.conv2d_transpose(x, _kernel(3, 3, 3, 2), [1, 5, 7, 3], 2, "SAME"),
        floats(1, 3, 4, 2),
    )
    family.add(
        "Transposed_valid_larger",
        lambda x: tf.nn.conv2d_transpose(x, _kernel(2, 2, 3, 2), [1, 7, 9, 3], 2, "VALID"),
        floats(1, 3, 4, 2),
    )
    family.add(
        "Transposed_bias_relu",
        lambda x: tf.nn.relu(tf.nn.conv2d_transpose(x, _kernel(3, 3, 3, 2), [1, 6, 8, 3], 2, "SAME") + floats(3)),
        floats(1, 3, 4, 2),
    )
    family.add("Transposed", _transposed_open, floats(2, 3, 4, 2), unknown="batch")
    family.add("Transposed_unknown_image", _transposed_open, floats(1, 3, 4, 2), shapes=((None, None, None, 2),))
    family.add(
        "Transposed_explicit",
        lambda x: tf.nn.conv2d_transpose(x, _kernel(3, 3, 3, 2), [1, 5, 7, 3], 2, [[0, 0], [1, 1], [1, 1], [0, 0]]),
        floats(1, 3, 4, 2),
    )
    family.add(
        "Transposed_dilated",
        lambda x: raw.Conv2DBackpropInput(
            input_sizes=[1, 7, 8, 3],
            filter=_kernel(3, 3, 3, 2),
            out_backprop=x,
            strides=[1, 1, 1, 1],
            dilations=[1, 2, 2, 1],
            padding="VALID",
        ),
        floats(1, 3, 4, 2),
    )
    family.add(
        "Transposed_unequal_strides",
        lambda x: tf.nn.conv2d_transpose(x, _kernel(3, 3, 3, 2), [1, 6, 4, 3], [2, 1], "SAME"),
        floats(1, 3, 4, 2),
    )
    family.add(
        "DepthwiseTransposed",
        lambda x: raw.DepthwiseConv2dNativeBackpropInput(
            input_sizes=[1, 6, 8, 2], filter=_kernel(3, 3, 2, 1), out_backprop=x, strides=[1, 2, 2, 1], padding="SAME"
        ),
        floats(1, 3, 4, 2),
    )
    family.add(
        "DepthwiseTransposed_m2",
        lambda x: raw.DepthwiseConv2dNativeBackpropInput(
            input_sizes=[1, 3, 4, 2], filter=_kernel(3, 3, 2, 2), out_backprop=x, strides=[1, 1, 1, 1], padding="SAME"
        ),
        floats(1, 3, 4, 4),
    )
    family.add(
        "Conv2DBackpropFilter",
        lambda x, g: raw.Conv2DBackpropFilter(
            input=x, filter_sizes=[3, 3, 2, 3], out_backprop=g, strides=[1, 1, 1, 1], padding="SAME"
        ),
        floats(1, 4, 5, 2),
        floats(1, 4, 5, 3),
    )


def _transposed_open(x: tf.Tensor) -> tf.Tensor:
    shape = tf.shape(x)
    return tf.nn.conv2d_transpose(x, _kernel(3, 3, 3, 2), tf.stack([shape[0], shape[1] * 2, shape[2] * 2, 3]), 2, "SAME")


def _one_dimension(family: Family) -> None:
    for kernel in (1, 2, 3):
        for stride in (1, 2):
            for padding in ("SAME", "VALID"):
                family.add(
                    f"conv1d_k{kernel}_s{stride}_{padding}",
                    lambda x, k=kernel, s=stride, p=padding: tf.nn.conv1d(x, _kernel(k, 2, 3), s, p),
                    floats(2, 7, 2),
                )
    for padding in ("SAME", "VALID"):
        family.add(
            f"conv1d_dilated_{padding}", lambda x, p=padding: tf.nn.conv1d(x, _kernel(3, 2, 3), 1, p, dilations=2), floats(2, 9, 2)
        )
    family.add("conv1d", lambda x: tf.nn.conv1d(x, _kernel(3, 2, 3), 1, "SAME"), floats(2, 7, 2), unknown="batch")
    family.add(
        "conv1d_unknown_length", lambda x: tf.nn.conv1d(x, _kernel(3, 2, 3), 2, "SAME"), floats(2, 7, 2), shapes=((None, None, 2),)
    )
    family.add(
        "conv1d_causal",
        lambda x: tf.nn.conv1d(tf.pad(x, [[0, 0], [4, 0], [0, 0]]), _kernel(3, 2, 3), 1, "VALID", dilations=2),
        floats(1, 8, 2),
    )
    family.add("conv1d_transpose", lambda x: tf.nn.conv1d_transpose(x, _kernel(3, 3, 2), [1, 8, 3], 2, "SAME"), floats(1, 4, 2))
    family.add(
        "conv1d_transpose_valid", lambda x: tf.nn.conv1d_transpose(x, _kernel(3, 3, 2), [1, 9, 3], 2, "VALID"), floats(1, 4, 2)
    )
    family.add(
        "conv1d_bias_relu",
        lambda x: tf.nn.relu(tf.nn.conv1d(x, _kernel(3, 2, 3), 1, "SAME") + floats(3)),
        floats(2, 7, 2),
        unknown="batch",
    )


def _three_dimensions(family: Family) -> None:
    for kernel in ((1, 1, 1), (3, 3, 3), (2, 1, 3)):
        for stride in ((1, 1, 1), (2, 2, 2), (1, 2, 1)):
            for padding in ("SAME", "VALID"):
                name = f"Conv3D_k{kernel[0]}{kernel[1]}{kernel[2]}_s{stride[0]}{stride[1]}{stride[2]}_{padding}"
                family.add(
                    name,
                    lambda x, k=kernel, s=stride, p=padding: tf.nn.conv3d(x, _kernel(*k, 2, 3), [1, *s, 1], p),
                    floats(1, 4, 5, 4, 2),
                )
    family.add(
        "Conv3D", lambda x: tf.nn.conv3d(x, _kernel(3, 3, 3, 2, 3), [1, 1, 1, 1, 1], "SAME"), floats(2, 3, 4, 3, 2), unknown="batch"
    )
    family.add(
        "Conv3D_dilated",
        lambda x: tf.nn.conv3d(x, _kernel(2, 2, 2, 2, 3), [1, 1, 1, 1, 1], "VALID", dilations=[1, 2, 2, 2, 1]),
        floats(1, 5, 5, 5, 2),
    )
    family.add(
        "Conv3D_bias_relu",
        lambda x: tf.nn.relu(tf.nn.conv3d(x, _kernel(2, 2, 2, 2, 3), [1, 1, 1, 1, 1], "SAME") + floats(3)),
        floats(1, 3, 3, 3, 2),
    )
    for stride, padding, size in ((1, "SAME", (2, 3, 3)), (2, "SAME", (4, 6, 6)), (2, "VALID", (5, 7, 7))):
        family.add(
            f"Conv3DTransposed_s{stride}_{padding}",
            lambda x, s=stride, p=padding, z=size: tf.nn.conv3d_transpose(
                x, _kernel(3, 3, 3, 3, 2), [1, *z, 3], [1, s, s, s, 1], p
            ),
            floats(1, 2, 3, 3, 2),
        )


def _others(family: Family) -> None:
    for stride in (1, 2):
        for padding in ("SAME", "VALID"):
            family.add(
                f"Dilation2D_s{stride}_{padding}",
                lambda x, s=stride, p=padding: raw.Dilation2D(
                    input=x, filter=_kernel(3, 2, 2), strides=[1, s, s, 1], rates=[1, 1, 1, 1], padding=p
                ),
                floats(1, 5, 6, 2),
            )
            family.add(
                f"erosion2d_s{stride}_{padding}",
                lambda x, s=stride, p=padding: tf.nn.erosion2d(x, _kernel(2, 2, 2), [1, s, s, 1], p, "NHWC", [1, 1, 1, 1]),
                floats(1, 5, 6, 2),
            )
    family.add(
        "Dilation2D_rates",
        lambda x: raw.Dilation2D(input=x, filter=_kernel(2, 2, 2), strides=[1, 1, 1, 1], rates=[1, 2, 2, 1], padding="VALID"),
        floats(1, 5, 6, 2),
    )
    family.add(
        "DepthwiseBackpropFilter",
        lambda x, g: raw.DepthwiseConv2dNativeBackpropFilter(
            input=x, filter_sizes=[3, 3, 2, 1], out_backprop=g, strides=[1, 1, 1, 1], padding="SAME"
        ),
        floats(1, 4, 5, 2),
        floats(1, 4, 5, 2),
    )
    family.add(
        "Conv3DBackpropFilterV2",
        lambda x, g: raw.Conv3DBackpropFilterV2(
            input=x, filter_sizes=[2, 2, 2, 2, 3], out_backprop=g, strides=[1, 1, 1, 1, 1], padding="VALID"
        ),
        floats(1, 3, 4, 3, 2),
        floats(1, 2, 3, 2, 3),
    )
    family.add("locally_connected", lambda x: tf.einsum("bp,pq->bq", tf.reshape(x, [1, 16]), _kernel(16, 5)), floats(1, 4, 4, 1))
    family.add("atrous", lambda x: tf.nn.atrous_conv2d(x, _kernel(3, 3, 2, 3), 2, "SAME"), floats(1, 8, 8, 2))
    family.add(
        "convolution_generic",
        lambda x: tf.nn.convolution(x, _kernel(3, 3, 2, 3), strides=[1, 1], padding="VALID", dilations=[2, 2]),
        floats(1, 8, 8, 2),
    )
    family.add(
        "pixels_normalised",
        lambda x: tf.nn.conv2d(tf.cast(x, tf.float32) / 127.5 - 1.0, _kernel(3, 3, 3, 4), 2, "SAME"),
        integers(1, 6, 6, 3, low=0, high=256, dtype="uint8"),
    )
    family.add(
        "sobel_by_hand",
        lambda x: tf.nn.depthwise_conv2d(
            x,
            np.tile(np.array([[1, 0, -1], [2, 0, -2], [1, 0, -1]], np.float32)[:, :, None, None], (1, 1, 3, 1)),
            [1, 1, 1, 1],
            "SAME",
        ),
        floats(1, 6, 6, 3),
    )
