"""Images: all resizes, crops, colours, patches, boxes, transforms."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from ops.case import Array, Family, floats, integers

raw = tf.raw_ops


def add_cases(family: Family) -> None:
    _resizing(family)
    _colours(family)
    _patches(family)
    _boxes(family)
    _others(family)


def _resizing(family: Family) -> None:
    for op in ("ResizeBilinear", "ResizeNearestNeighbor", "ResizeBicubic"):
        for align, half in ((False, False), (True, False), (False, True)):
            for size in ((8, 10), (3, 2), (7, 4), (5, 5), (1, 1)):
                name = f"{op}_{'align' if align else 'half' if half else 'plain'}_{size[0]}x{size[1]}"
                build = lambda x, op=op, s=size, a=align, h=half: getattr(raw, op)(
                    images=x, size=s, align_corners=a, half_pixel_centers=h
                )
                family.add(name, build, floats(1, 4, 5, 2))
            family.add(f"{op}_{'align' if align else 'half' if half else 'plain'}", build, floats(2, 4, 5, 2), unknown="batch")
        for dtype in ("uint8", "int32", "int8", "float16", "float64", "int64"):
            array = integers(1, 4, 5, 2, low=0, high=100).astype(dtype)
            family.add(f"{op}_{dtype}", lambda x, op=op: getattr(raw, op)(images=x, size=[7, 8], half_pixel_centers=True), array)
        family.add(
            f"{op}_unknown_image",
            lambda x, op=op: getattr(raw, op)(images=x, size=[6, 6], half_pixel_centers=True),
            floats(1, 4, 5, 2),
            shapes=((None, None, None, 2),),
        )
        family.add(
            f"{op}_doubled",
            lambda x, op=op: getattr(raw, op)(images=x, size=tf.shape(x)[1:3] * 2, half_pixel_centers=True),
            floats(1, 4, 5, 2),
            shapes=((None, None, None, 2),),
        )
        family.add(
            f"{op}_size_at_run_time",
            lambda x, s, op=op: getattr(raw, op)(images=x, size=s, half_pixel_centers=True),
            floats(1, 4, 5, 2),
            np.array([7, 3], np.int32),
        )
        family.add(f"{op}_large", lambda x, op=op: getattr(raw, op)(images=x, size=[13, 17]), floats(1, 6, 7, 3))
    for align in (False, True):
        for size in ((2, 2), (3, 2), (8, 10)):
            family.add(
                f"ResizeArea_{size[0]}x{size[1]}_{align}",
                lambda x, s=size, a=align: raw.ResizeArea(images=x, size=s, align_corners=a),
                floats(1, 4, 5, 2),
            )
    family.add(
        "ResizeArea_uint8", lambda x: raw.ResizeArea(images=x, size=[2, 3]), integers(1, 4, 6, 2, low=0, high=255, dtype="uint8")
    )
    for method in ("bilinear", "nearest", "bicubic", "area", "lanczos3", "lanczos5", "gaussian", "mitchellcubic"):
        for antialias in (False, True):
            family.add(
                f"resize_{method}{'_antialias' if antialias else ''}",
                lambda x, m=method, a=antialias: tf.image.resize(x, [3, 3], m, antialias=a),
                floats(1, 6, 5, 2),
            )
    family.add("resize_keeping_ratio", lambda x: tf.image.resize(x, [4, 9], preserve_aspect_ratio=True), floats(1, 6, 5, 2))
    family.add("resize_3d_image", lambda x: tf.image.resize(x, [3, 3]), floats(6, 5, 2))
    family.add("resize_with_pad", lambda x: tf.image.resize_with_pad(x, 8, 8), floats(1, 4, 6, 2))
    family.add("resize_crop_or_pad_larger", lambda x: tf.image.resize_with_crop_or_pad(x, 8, 8), floats(1, 5, 6, 2))
    family.add("resize_crop_or_pad_smaller", lambda x: tf.image.resize_with_crop_or_pad(x, 3, 4), floats(1, 5, 6, 2))
    for antialias in (False, True):
        for kernel in ("triangle", "lanczos3"):
            family.add(
                f"ScaleAndTranslate_{kernel}_{antialias}",
                lambda x, k=kernel, a=antialias: raw.ScaleAndTranslate(
                    images=x, size=[5, 6], scale=[1.25, 1.2], translation=[0.5, -0.5], kernel_type=k, antialias=a
                ),
                floats(1, 4, 5, 2),
            )
    family.add("upsample_by_repeat", lambda x: tf.repeat(tf.repeat(x, 2, 1), 2, 2), floats(1, 3, 3, 2), unknown="batch")
    family.add(
        "upsample_by_tile",
        lambda x: tf.reshape(tf.tile(x[:, :, None, :, None], [1, 1, 2, 1, 2, 1]), [1, 6, 6, 2]),
        floats(1, 3, 3, 2),
    )


def _picture(*shape: int, seed: int = 0) -> Array:
    return floats(*shape, low=0.02, high=0.98, seed=seed)


def _colours(family: Family) -> None:
    for shape in ((2, 3, 3), (1, 4, 4, 3), (5, 3)):
        family.add(f"RGBToHSV_{len(shape)}", tf.image.rgb_to_hsv, _picture(*shape))
        family.add(f"HSVToRGB_{len(shape)}", tf.image.hsv_to_rgb, _picture(*shape))
    family.add("RGBToHSV", tf.image.rgb_to_hsv, _picture(2, 4, 4, 3), unknown="batch")
    family.add("HSVToRGB", tf.image.hsv_to_rgb, _picture(2, 4, 4, 3), unknown="batch")
    family.add("RGBToHSV_grey", tf.image.rgb_to_hsv, np.full((2, 2, 3), 0.5, np.float32))
    for delta in (0.1, -0.2, 0.5):
        family.add(f"AdjustHue_{delta}", lambda x, d=delta: tf.image.adjust_hue(x, d), _picture(1, 4, 4, 3))
    for factor in (0.0, 0.5, 1.7):
        family.add(f"AdjustSaturation_{factor}", lambda x, f=factor: tf.image.adjust_saturation(x, f), _picture(1, 4, 4, 3))
        family.add(f"AdjustContrast_{factor}", lambda x, f=factor: tf.image.adjust_contrast(x, f), _picture(2, 4, 4, 3))
    family.add("AdjustContrast", lambda x: tf.image.adjust_contrast(x, 1.5), _picture(2, 4, 4, 3), unknown="batch")
    family.add("AdjustHue", lambda x: tf.image.adjust_hue(x, 0.3), _picture(2, 4, 4, 3), unknown="batch")
    family.add("adjust_brightness", lambda x: tf.image.adjust_brightness(x, 0.2), _picture(1, 4, 4, 3))
    family.add(
        "adjust_brightness_uint8",
        lambda x: tf.image.adjust_brightness(x, 0.2),
        integers(1, 4, 4, 3, low=0, high=256, dtype="uint8"),
    )
    family.add(
        "adjust_contrast_uint8", lambda x: tf.image.adjust_contrast(x, 0.5), integers(1, 4, 4, 3, low=0, high=256, dtype="uint8")
    )
    family.add("adjust_gamma", lambda x: tf.image.adjust_gamma(x, 2.2, 0.9), _picture(1, 4, 4, 3))
    family.add("rgb_to_grayscale", tf.image.rgb_to_grayscale, _picture(1, 4, 4, 3), unknown="batch")
    family.add("grayscale_to_rgb", tf.image.grayscale_to_rgb, _picture(1, 4, 4, 1), unknown="batch")
    for pair in ("rgb_to_yiq", "yiq_to_rgb", "rgb_to_yuv", "yuv_to_rgb"):
        family.add(pair, getattr(tf.image, pair), _picture(1, 4, 4, 3))
    family.add("per_image_standardization", tf.image.per_image_standardization, _picture(2, 4, 4, 3))
    family.add(
        "convert_to_float",
        lambda x: tf.image.convert_image_dtype(x, tf.float32),
        integers(1, 3, 3, 3, low=0, high=256, dtype="uint8"),
    )
    family.add("convert_to_uint8", lambda x: tf.image.convert_image_dtype(x, tf.uint8, saturate=True), _picture(1, 3, 3, 3))
    family.add(
        "channel_means", lambda x: x[..., ::-1] - np.array([103.9, 116.8, 123.7], np.float32), floats(1, 4, 4, 3, low=0, high=255)
    )


def _patches(family: Family) -> None:
    for size in ((2, 2), (3, 2), (3, 3)):
        for stride in ((1, 1), (2, 2)):
            for padding in ("SAME", "VALID"):
                name = f"ExtractImagePatches_k{size[0]}x{size[1]}_s{stride[0]}_{padding}"
                family.add(
                    name,
                    lambda x, k=size, s=stride, p=padding: tf.image.extract_patches(x, [1, *k, 1], [1, *s, 1], [1, 1, 1, 1], p),
                    floats(1, 5, 6, 2),
                )
    family.add(
        "ExtractImagePatches_rates",
        lambda x: tf.image.extract_patches(x, [1, 2, 2, 1], [1, 1, 1, 1], [1, 2, 2, 1], "VALID"),
        floats(1, 5, 6, 2),
    )
    for dtype in ("int32", "uint8", "float16", "float64"):
        family.add(
            f"ExtractImagePatches_{dtype}",
            lambda x: tf.image.extract_patches(x, [1, 2, 2, 1], [1, 2, 2, 1], [1, 1, 1, 1], "SAME"),
            integers(1, 5, 6, 2, low=0).astype(dtype),
        )
    family.add(
        "ExtractImagePatches",
        lambda x: tf.image.extract_patches(x, [1, 2, 2, 1], [1, 2, 2, 1], [1, 1, 1, 1], "VALID"),
        floats(2, 4, 4, 3),
        unknown="batch",
    )
    family.add(
        "ExtractVolumePatches",
        lambda x: raw.ExtractVolumePatches(input=x, ksizes=[1, 2, 2, 2, 1], strides=[1, 1, 1, 1, 1], padding="VALID"),
        floats(1, 3, 3, 3, 2),
    )
    family.add(
        "ExtractVolumePatches_same",
        lambda x: raw.ExtractVolumePatches(input=x, ksizes=[1, 2, 2, 2, 1], strides=[1, 2, 2, 2, 1], padding="SAME"),
        floats(1, 3, 3, 3, 2),
    )
    family.add(
        "ExtractGlimpse",
        lambda x: raw.ExtractGlimpse(
            input=x, size=[3, 3], offsets=[[0.0, 0.0]], centered=True, normalized=True, uniform_noise=False
        ),
        floats(1, 6, 6, 2),
    )
    family.add("image_gradients", tf.image.image_gradients, floats(1, 4, 5, 2))
    family.add("sobel_edges", tf.image.sobel_edges, floats(1, 4, 5, 2))
    family.add("total_variation", tf.image.total_variation, floats(2, 4, 5, 2))
    family.add("psnr", lambda a, b: tf.image.psnr(a, b, 1.0), _picture(2, 4, 4, 3), _picture(2, 4, 4, 3, seed=1))
    family.add("ssim", lambda a, b: tf.image.ssim(a, b, 1.0), _picture(1, 12, 12, 1), _picture(1, 12, 12, 1, seed=1))


def _rectangles(count: int, seed: int = 0) -> Array:
    corner, size = floats(count, 2, low=0, high=0.6, seed=seed), floats(count, 2, low=0.1, high=0.4, seed=seed + 1)
    return np.concatenate([corner, corner + size], 1)


def _boxes(family: Family) -> None:
    for method in ("bilinear", "nearest"):
        for size in ((3, 3), (2, 5), (1, 1)):
            family.add(
                f"CropAndResize_{method}_{size[0]}x{size[1]}",
                lambda x, b, i, m=method, s=size: tf.image.crop_and_resize(x, b, i, s, m),
                floats(2, 6, 7, 2),
                _rectangles(3),
                np.array([0, 1, 1], np.int32),
            )
        family.add(
            f"CropAndResize_{method}_outside",
            lambda x, m=method: tf.image.crop_and_resize(x, [[-0.2, 0.1, 1.3, 0.8]], [0], [4, 4], m, extrapolation_value=-1.0),
            floats(1, 6, 7, 2),
        )
        family.add(
            f"CropAndResize_{method}_flipped",
            lambda x, m=method: tf.image.crop_and_resize(x, [[0.9, 0.8, 0.1, 0.2]], [0], [4, 4], m),
            floats(1, 6, 7, 2),
        )
        family.add(
            f"CropAndResize_{method}_uint8",
            lambda x, m=method: tf.image.crop_and_resize(x, [[0.1, 0.1, 0.9, 0.8]], [0], [4, 4], m),
            integers(1, 6, 7, 2, low=0, high=255, dtype="uint8"),
        )
    family.add(
        "CropAndResize",
        lambda x, b, i: tf.image.crop_and_resize(x, b, i, [3, 3]),
        floats(2, 6, 7, 2),
        _rectangles(3),
        np.array([0, 1, 1], np.int32),
        unknown="batch",
    )
    boxes, scores = _rectangles(8), np.linspace(0.95, 0.1, 8, dtype=np.float32)[np.argsort(floats(8, seed=9))]
    for threshold in (0.1, 0.5):
        for most in (2, 5, 8):
            family.add(
                f"NonMaxSuppressionV3_{threshold}_{most}",
                lambda b, s, t=threshold, n=most: tf.image.non_max_suppression(b, s, n, t, 0.3),
                boxes,
                scores,
            )
            family.add(
                f"NonMaxSuppressionV4_{threshold}_{most}",
                lambda b, s, t=threshold, n=most: list(
                    raw.NonMaxSuppressionV4(
                        boxes=b, scores=s, max_output_size=n, iou_threshold=t, score_threshold=0.3, pad_to_max_output_size=True
                    )
                ),
                boxes,
                scores,
            )
            family.add(
                f"NonMaxSuppressionV5_{threshold}_{most}",
                lambda b, s, t=threshold, n=most: list(
                    raw.NonMaxSuppressionV5(
                        boxes=b,
                        scores=s,
                        max_output_size=n,
                        iou_threshold=t,
                        score_threshold=0.2,
                        soft_nms_sigma=0.4,
                        pad_to_max_output_size=True,
                    )
                ),
                boxes,
                scores,
            )
    family.add(
        "NonMaxSuppressionV4_unpadded",
        lambda b, s: list(raw.NonMaxSuppressionV4(boxes=b, scores=s, max_output_size=4, iou_threshold=0.4, score_threshold=0.3)),
        boxes,
        scores,
    )
    family.add(
        "NonMaxSuppressionV5_unpadded",
        lambda b, s: list(
            raw.NonMaxSuppressionV5(
                boxes=b, scores=s, max_output_size=4, iou_threshold=0.4, score_threshold=0.3, soft_nms_sigma=0.0
            )
        ),
        boxes,
        scores,
    )
    family.add(
        "NonMaxSuppression",
        lambda b, s: raw.NonMaxSuppression(boxes=b, scores=s, max_output_size=4, iou_threshold=0.4),
        boxes,
        scores,
    )
    family.add(
        "NonMaxSuppressionV2",
        lambda b, s: raw.NonMaxSuppressionV2(boxes=b, scores=s, max_output_size=4, iou_threshold=0.4),
        boxes,
        scores,
    )
    family.add("NonMaxSuppressionV3", lambda b, s: tf.image.non_max_suppression(b, s, 4, 0.4, 0.3), boxes, scores, unknown="sizes")
    family.add(
        "NonMaxSuppressionWithOverlaps",
        lambda o, s: raw.NonMaxSuppressionWithOverlaps(
            overlaps=o, scores=s, max_output_size=4, overlap_threshold=0.4, score_threshold=0.3
        ),
        floats(8, 8, low=0, high=1),
        scores,
    )
    family.add("suppressed_boxes", lambda b, s: tf.gather(b, tf.image.non_max_suppression(b, s, 4, 0.4)), boxes, scores)
    for clip in (False, True):
        for per_class in (False, True):
            family.add(
                f"CombinedNonMaxSuppression_{clip}_{per_class}",
                lambda b, s, c=clip, p=per_class: list(
                    tf.image.combined_non_max_suppression(b, s, 3, 4, 0.5, 0.2, pad_per_class=p, clip_boxes=c)
                ),
                boxes[None, :, None],
                floats(1, 8, 2, low=0, high=1),
            )
    family.add(
        "DrawBoundingBoxesV2",
        lambda x: tf.image.draw_bounding_boxes(x, [[[0.1, 0.2, 0.7, 0.8]]], [[1.0, 0.5, 0.2]]),
        _picture(1, 8, 8, 3),
    )
    family.add(
        "DrawBoundingBoxesV2_two",
        lambda x, b: tf.image.draw_bounding_boxes(x, b, [[1.0, 0.5, 0.2], [0.0, 0.0, 1.0]]),
        _picture(1, 8, 8, 3),
        _rectangles(2)[None],
    )
    family.add(
        "DrawBoundingBoxes_v1", lambda x: raw.DrawBoundingBoxes(images=x, boxes=[[[0.1, 0.2, 0.7, 0.8]]]), _picture(1, 8, 8, 3)
    )
    family.add(
        "box_decode",
        lambda d, a: tf.concat([a[:, :2] + d[:, :2] * a[:, 2:], tf.exp(d[:, 2:]) * a[:, 2:]], 1),
        floats(6, 4),
        floats(6, 4, low=0.1, high=1),
    )
    family.add("overlap_matrix", _overlaps, boxes, _rectangles(3, seed=5))


def _overlaps(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    low, high = tf.maximum(a[:, None, :2], b[None, :, :2]), tf.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = tf.reduce_prod(tf.maximum(high - low, 0.0), -1)
    area = lambda x: tf.reduce_prod(x[:, 2:] - x[:, :2], -1)
    return shared / (area(a)[:, None] + area(b)[None] - shared)


def _others(family: Family) -> None:
    family.add("flip_left_right", tf.image.flip_left_right, floats(1, 3, 4, 2), unknown="batch")
    family.add("flip_up_down", tf.image.flip_up_down, floats(1, 3, 4, 2))
    for turns in (1, 2, 3):
        family.add(f"rot90_{turns}", lambda x, k=turns: tf.image.rot90(x, k), floats(1, 3, 4, 2))
    family.add("transpose_image", tf.image.transpose, floats(1, 3, 4, 2))
    family.add("central_crop", lambda x: tf.image.central_crop(x, 0.5), floats(1, 8, 6, 2))
    family.add("pad_to_box", lambda x: tf.image.pad_to_bounding_box(x, 1, 2, 8, 9), floats(1, 4, 5, 2))
    for mode in ("NEAREST", "BILINEAR"):
        for fill in ("CONSTANT", "REFLECT", "WRAP", "NEAREST"):
            transform = np.array([[0.9, 0.2, 0.5, -0.1, 1.1, 0.3, 0, 0]], np.float32)
            family.add(
                f"ImageProjectiveTransformV3_{mode}_{fill}",
                lambda x, t=transform, m=mode, f=fill: raw.ImageProjectiveTransformV3(
                    images=x, transforms=t, output_shape=[5, 6], fill_value=0.5, interpolation=m, fill_mode=f
                ),
                floats(1, 5, 6, 2),
            )
    family.add(
        "ImageProjectiveTransformV2",
        lambda x: raw.ImageProjectiveTransformV2(
            images=x, transforms=[[1.0, 0.1, 0, 0, 1, 0, 0.01, 0]], output_shape=[4, 4], interpolation="BILINEAR"
        ),
        floats(1, 4, 4, 1),
    )
    family.add("mosaic", lambda x: tf.image.resize(tf.nn.avg_pool2d(x, 2, 2, "VALID"), [6, 6], "nearest"), floats(1, 6, 6, 2))
    family.add("bilinear_sample", _bilinear_sample, floats(1, 4, 5, 2), floats(3, 2, low=0.1, high=2.9))


def _bilinear_sample(x: tf.Tensor, points: tf.Tensor) -> tf.Tensor:
    low = tf.floor(points)
    part = points - low
    place = tf.cast(low, tf.int32)
    take = lambda dy, dx: tf.gather_nd(x[0], place + tf.constant([dy, dx]))
    top = take(0, 0) * (1 - part[:, 1:]) + take(0, 1) * part[:, 1:]
    bottom = take(1, 0) * (1 - part[:, 1:]) + take(1, 1) * part[:, 1:]
    return top * (1 - part[:, :1]) + bottom * part[:, :1]
