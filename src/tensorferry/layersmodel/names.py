"""What the layers of a layers-model are called: inputs and outputs as in the source, all others as near to it as may be.

Weights are found by the name of their layer, whatever network the layer lies in, so no two layers may share one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from tensorferry.layersmodel.records import Net, Ref, WebLayer, call

_VALID = re.compile(r"[A-Za-z0-9][-A-Za-z0-9._/]*")
"""What the name of a layer has to look like, for those of tensors and weights are made of it."""

_OBJECT = frozenset(
    (
        *("constructor", "hasOwnProperty", "isPrototypeOf", "propertyIsEnumerable", "toLocaleString", "toString", "valueOf"),
        *("__proto__", "__defineGetter__", "__defineSetter__", "__lookupGetter__", "__lookupSetter__"),
    )
)
"""What every object of JavaScript already has; tfjs-layers keeps layers in objects, by name."""


def give_names(net: Net, inputs: Sequence[str], outputs: Sequence[str]) -> str:
    """Name all layers; an output that no layer can bear the name of gets a layer of its own, which computes nothing.

    Returns what cannot be named, or nothing.
    """
    invalid = [name for name in (*inputs, *outputs) if not _VALID.fullmatch(name)]
    if invalid:
        return f"TensorFlow.js takes no layer of the name '{invalid[0]}'"
    impossible = [name for name in (*inputs, *outputs) if name in _OBJECT]
    if impossible:
        return f"'{impossible[0]}' means something else in JavaScript"
    if set(inputs) & set(outputs):
        return f"'{sorted(set(inputs) & set(outputs))[0]}' is both an input and an output"
    for layer, name in zip(net.inputs, inputs, strict=True):
        layer.name = name
    for index, (ref, name) in enumerate(zip(net.outputs, outputs, strict=True)):
        if ref.layer.name or not _may_bear(net, ref):
            net.outputs[index] = call(net.add(WebLayer("Activation", {"activation": "linear"}, name)), [ref])
        net.outputs[index].layer.name = name
    taken = {*inputs, *outputs, *_OBJECT}
    for layer in net.everything():
        if not layer.name:
            layer.name = _free(layer.wanted, taken)
            taken.add(layer.name)
    return ""


def _may_bear(net: Net, ref: Ref) -> bool:
    """Whether the layer gives this output alone, and gives it first."""
    several = any(other.layer is ref.layer and other != ref for other in net.outputs)
    return not several and ref.call == 0 and ref.output == 0


def _free(wanted: str, taken: set[str]) -> str:
    plain = re.sub(r"[^-A-Za-z0-9._]", "_", wanted).lstrip("._-") or "layer"
    name, number = plain, 0
    while name in taken:
        number += 1
        name = f"{plain}_{number}"
    return name


def tell_layers(net: Net) -> str:
    """Which layers of the source bear another name now."""
    changed = [f"'{layer.wanted}' is '{layer.name}'" for layer in net.everything() if layer.name != layer.wanted]
    return f"names of layers that changed: {', '.join(changed)}" if changed else "all layers keep their names"
