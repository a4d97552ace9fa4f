"""Recurrent layers, and layers around a layer."""

from __future__ import annotations

from typing import Any

from tensorferry.layersmodel import curves
from tensorferry.layersmodel.records import Lacking, Ref
from tensorferry.layersmodel.registry import rule
from tensorferry.layersmodel.site import Site
from tensorferry.readers.keras.description import Config, Layer
from tensorferry.tensor import Tensor

_WEIGHTS = ("kernel", "recurrent_kernel", "bias")
_PLAIN = ("SimpleRNN", "LSTM", "GRU")
_KEPT = ("return_sequences", "return_state", "go_backwards")


@rule("SimpleRNN", "LSTM", "GRU", masks=True)
def recurrent(site: Site) -> list[Ref]:
    config = {**_cell(site, site.layer.class_name), **_stepping(site)}
    return _outputs(site, site.main(site.layer.class_name, config, site.weights(*_WEIGHTS)))


def _outputs(site: Site, first: Ref) -> list[Ref]:
    """The last step is a state as well, and TensorFlow.js loses one tensor that is both; so the state stands for both."""
    found = [Ref(first.layer, first.call, index) for index in range(len(site.use.outputs))]
    if first.layer.class_name in _PLAIN and len(found) > 1 and not first.layer.config["return_sequences"]:
        found[0] = found[1]
    return found


def _stepping(site: Site) -> dict[str, Any]:
    """What the layer around a cell does; whatever TensorFlow.js does in another way is refused."""
    for key in ("stateful", "time_major"):
        if site.config.flag(key):
            raise Lacking(f"it is {key}")
    if site.given().masked and (len(site.inputs) > 1 or site.config.flag("zero_output_for_mask")):
        raise Lacking("it is given a mask beside states, or gives zeros where the mask leaves out")
    return {key: site.config.flag(key) for key in _KEPT}


def _cell(site: Site, kind: str) -> dict[str, Any]:
    config = {
        "units": site.weights("recurrent_kernel")["recurrent_kernel"].shape[0],
        "activation": curves.named(site, default="tanh"),
        "use_bias": "bias" in site.weights("bias"),
        **{key: site.config.number(key, 0.0) for key in ("dropout", "recurrent_dropout")},
    }
    if kind != "SimpleRNN":
        config["recurrent_activation"] = curves.named(site, "recurrent_activation", "sigmoid")
    if kind == "GRU":
        if site.config.flag("reset_after"):
            raise Lacking("TensorFlow.js has no GRU that resets after the product (reset_after=True)")
        config["reset_after"] = False
    return config


@rule("RNN", masks=True)
def rnn(site: Site) -> Ref | list[Ref]:
    """A cell of Keras' own is the layer of its name; a stack of them is one layer after the other."""
    child = site.layer.children["cell"]
    cells = list(child.children.values()) if child.class_name == "StackedRNNCells" else [child]
    stepping = _stepping(site)
    if len(cells) > 1 and (stepping["return_state"] or len(site.inputs) > 1):
        raise Lacking("it is a stack of cells whose states are given or wanted")
    if len(cells) == 1:
        name, config, weights = _cell_as_layer(site, cells[0])
        return _outputs(site, site.main(name, {**config, **stepping}, weights))
    if site.made:
        raise Lacking("it is a stack of cells that is called several times")
    value = site.inputs
    for number, cell in enumerate(cells):
        last = number == len(cells) - 1
        name, config, weights = _cell_as_layer(site, cell)
        config |= {**stepping, "return_sequences": stepping["return_sequences"] or not last}
        config["go_backwards"] = stepping["go_backwards"] and not number
        site.made.clear()
        value = [site.main(name, config, weights, value)]
    return value


def _cell_as_layer(site: Site, cell: Layer) -> tuple[str, dict[str, Any], dict[str, Tensor]]:
    kind = cell.class_name.removesuffix("Cell")
    if kind not in _PLAIN:
        raise Lacking(f"its cell is a {cell.class_name}")
    inner = Site(cell, site.use, site.net, site.inputs)
    return kind, _cell(inner, kind), inner.weights(*_WEIGHTS)


@rule("Bidirectional", masks=True)
def bidirectional(site: Site) -> list[Ref]:
    forward, backward = (site.layer.children[role] for role in ("forward_layer", "backward_layer"))
    if _essence(forward.config) != _essence(backward.config) or forward.class_name != backward.class_name:
        raise Lacking("its backward layer is another than its forward layer")
    if forward.class_name not in _PLAIN:
        raise Lacking(f"it holds a {forward.class_name}")
    if site.config.get("merge_mode") is None and forward.config.flag("return_state"):
        raise Lacking("it gives both directions apart, and their states")
    inner, other = (Site(each, site.use, site.net, site.inputs) for each in (forward, backward))
    name = forward.name.removeprefix("forward_")
    config = {**_cell(inner, forward.class_name), **_stepping(inner), "name": name}
    weights = {
        f"{side}_{name}/{key}": tensor
        for side, each in (("forward", inner), ("backward", other))
        for key, tensor in each.weights(*_WEIGHTS).items()
    }
    held = {"class_name": forward.class_name, "config": config}
    return _outputs(site, site.main("Bidirectional", {"layer": held, "merge_mode": site.config.get("merge_mode")}, weights))


def _essence(config: Config) -> dict[str, Any]:
    """What may not differ between the two directions."""
    asked = ("units", "activation", "recurrent_activation", "use_bias", "reset_after", "return_sequences", "return_state")
    return {key: config.get(key) for key in asked}


@rule("TimeDistributed", masks=True)
def time_distributed(site: Site) -> Ref:
    child = site.layer.children["layer"]
    if child.model is not None:
        raise Lacking("it holds a model")
    held = site.held(child)
    inner = {"class_name": held.class_name, "config": {"name": child.name, **held.config}}
    return site.main("TimeDistributed", {"layer": inner}, held.weights)


@rule("ConvLSTM2D")
def convolutional_lstm(site: Site) -> list[Ref]:
    site.refuse_channels_first()
    if len(site.inputs) > 1:
        raise Lacking("its states are given")
    config = {
        "filters": site.config.integer("filters"),
        "kernel_size": list(site.config.integers("kernel_size", 2)),
        "strides": list(site.config.integers("strides", 2, default=1)),
        "padding": site.config.text("padding", "valid", among=("valid", "same")),
        "dilation_rate": list(site.config.integers("dilation_rate", 2, default=1)),
        "data_format": "channels_last",
        "activation": curves.named(site, default="tanh"),
        "recurrent_activation": curves.named(site, "recurrent_activation", "hard_sigmoid"),
        "use_bias": site.config.flag("use_bias", True),
    }
    return _outputs(site, site.main("ConvLSTM2D", {**config, **_stepping(site)}, site.weights(*_WEIGHTS)))
