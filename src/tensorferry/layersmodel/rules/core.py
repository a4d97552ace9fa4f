"""Dense layers, embeddings, activations, and what only acts in training."""

from __future__ import annotations

from tensorferry.layersmodel import curves
from tensorferry.layersmodel.records import Lacking, Ref
from tensorferry.layersmodel.registry import rule
from tensorferry.layersmodel.site import Site
from tensorferry.readers.keras.layers.images import AUGMENTATION
from tensorferry.tensor import TransposedTensor


@rule("Dense", masks=True)
def dense(site: Site) -> Ref:
    own, rest = curves.own_and_rest(site)
    weights = site.weights("kernel", "bias")
    config = {"units": weights["kernel"].shape[-1], "activation": own, "use_bias": "bias" in weights}
    return rest(site.main("Dense", config, weights))


@rule("Embedding", integers=True)
def embedding(site: Site) -> Ref:
    table = site.weights("embeddings")["embeddings"]
    config = {"input_dim": table.shape[0], "output_dim": table.shape[1], "mask_zero": site.config.flag("mask_zero")}
    return site.main("Embedding", config, {"embeddings": table})


@rule("Activation", masks=True)
def activation(site: Site) -> Ref:
    name = curves.name_of(site.config.get("activation"))
    own, rest = curves.own_and_rest(site)
    if own == "linear" and name != "linear":
        return rest(site.inputs[0])
    return site.main("Activation", {"activation": own})


_AS_OPERATIONS = ("Relu", "Relu6", "Elu", "Selu", "Sigmoid", "Tanh", "Softplus", "Softsign", "Silu", "Softmax")


@rule(
    *(f"ops.{name}" for name in _AS_OPERATIONS),
    *(f"tf.{module}.{name.lower()}" for name in _AS_OPERATIONS for module in ("nn", "math")),
)
def curve(site: Site) -> Ref:
    """As an operation of Keras 3, or as TensorFlow's own function."""
    more = [each for key, each in site.kwargs.items() if each is not None and key != "name" and each not in site.inputs]
    if len(site.inputs) != 1 or more or len(site.args) > 1:
        raise Lacking("it is called with more than a tensor")
    return site.main("Activation", {"activation": curves.NAMED[site.layer.kind.rsplit(".", 1)[-1].lower()]})


# -- activations as layers -----------------------------------------------------------------------------------------


@rule("ReLU", masks=True)
def relu(site: Site) -> Ref:
    slope, top = site.config.number("negative_slope", 0.0), site.config.get("max_value")
    if site.config.number("threshold", 0.0):
        raise Lacking("it has a threshold other than 0")
    if slope and top is not None:
        raise Lacking("it has both a slope and a largest value")
    if slope:
        return _unmasked(site).main("LeakyReLU", {"alpha": slope})
    return site.main("ReLU", {} if top is None else {"max_value": site.config.number("max_value")})


@rule("LeakyReLU")
def leaky_relu(site: Site) -> Ref:
    return site.main("LeakyReLU", {"alpha": site.config.number("negative_slope", site.config.number("alpha", 0.3))})


@rule("ELU")
def elu(site: Site) -> Ref:
    if site.config.number("alpha", 1.0) != 1:
        raise Lacking("its alpha is not 1")
    return site.main("ELU", {})


@rule("ThresholdedReLU")
def thresholded(site: Site) -> Ref:
    return site.main("ThresholdedReLU", {"theta": site.config.number("theta", 1.0)})


@rule("PReLU", masks=True)
def prelu(site: Site) -> Ref:
    """The kernel in WebAssembly repeats the slopes over the last axes; so axes that share one are moved to the front."""
    alpha, sizes = site.weights("alpha")["alpha"], site.shape()[1:]
    shared = [axis for axis, (own, size) in enumerate(zip(alpha.shape, sizes, strict=True), start=1) if own != size]
    order = [0, *shared, *(axis for axis in range(1, len(sizes) + 1) if axis not in shared)]
    if order == sorted(order):
        return site.main("PReLU", {"shared_axes": shared or None}, {"alpha": alpha})
    _unmasked(site)
    turned = TransposedTensor(alpha, [axis - 1 for axis in order[1:]])
    front = list(range(1, len(shared) + 1))
    value = site.main("PReLU", {"shared_axes": front}, {"alpha": turned}, [site.permuted(site.inputs[0], order)])
    return site.permuted(value, [order.index(axis) for axis in range(len(order))])


@rule("Softmax")
def softmax(site: Site) -> Ref:
    given = site.config.get("axis", -1)
    axes = [given] if isinstance(given, int) else list(site.config.integers("axis", default=-1))
    rank = site.rank()
    if len(axes) != 1 or len(site.inputs) != 1:
        raise Lacking("it is over several axes, or has a mask")
    axis = axes[0] % rank
    if axis == rank - 1:
        return site.main("Softmax", {"axis": -1})
    if axis == 0:
        raise Lacking("it is over the batch")
    order = [each for each in range(rank) if each != axis] + [axis]
    value = site.main("Softmax", {"axis": -1}, inputs=[site.permuted(site.inputs[0], order)])
    return site.permuted(value, [order.index(each) for each in range(rank)])


# -- only in training ----------------------------------------------------------------------------------------------


@rule("Dropout", "SpatialDropout1D", "AlphaDropout", "GaussianDropout", masks=True)
def dropout(site: Site) -> Ref:
    return site.main(site.layer.class_name, {"rate": site.config.number("rate", 0.0)})


@rule("SpatialDropout2D", "SpatialDropout3D")
def spatial_dropout(site: Site) -> Ref:
    """One draw for a whole channel: a Dropout whose noise has the size 1 along the places."""
    site.refuse_channels_first()
    noise = [None, *([1] * (site.rank() - 2)), None]
    return site.main("Dropout", {"rate": site.config.number("rate", 0.0), "noise_shape": noise})


@rule("GaussianNoise", masks=True)
def gaussian_noise(site: Site) -> Ref:
    return site.main("GaussianNoise", {"stddev": site.config.number("stddev", 0.0)})


@rule("ActivityRegularization", "Identity", *AUGMENTATION, masks=True, integers=True)
def identity(site: Site) -> Ref:
    """TensorFlow.js has some layers that change images at random, but draws in another way."""
    return site.main("Activation", {"activation": "linear"})


def _unmasked(site: Site) -> Site:
    """For what drops a mask in TensorFlow.js that Keras hands on."""
    if site.given().masked:
        raise Lacking("it is given a mask")
    return site
