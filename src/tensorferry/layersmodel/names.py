"""What the layers of a layers-model are called: inputs and outputs as in the source, all others as near to it as may be.

Weights are found by the name of their layer, whatever network the layer lies in, so no two layers may share one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from tensorferry.layersmodel.records import Net, Ref, WebLayer, call

_VALID = re.compile(r"[A-Za-z0-9][-A-Za-z0-9._]*")
"""What the name of a layer with weights has to look like."""

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
    impossible = [name for name in (*inputs, *outputs) if name in _OBJECT]
    if impossible:
        return f"'{impossible[0]}' means something else in JavaScript"
    if set(inputs) & set(outputs):
        return f"'{sorted(set(inputs) & set(outputs))[0]}' is both an input and an output"
    for layer, name in zip(net.inputs, inputs, strict=True):
        layer.name = name
    for index, (ref, name) in enumerate(zip(net.outputs, outputs, strict=True)):
        if ref.layer.name or not _may_bear(net, ref, name):
            net.outputs[index] = call(net.add(WebLayer("Activation", {"activation": "linear"}, name)), [ref])
        net.outputs[index].layer.name = name
    taken = {*inputs, *outputs, *_OBJECT}
    for layer in net.everything():
        if not layer.name:
            layer.name = _free(layer.wanted, taken)
            taken.add(layer.name)
    return ""


def _may_bear(net: Net, ref: Ref, name: str) -> bool:
    """Whether the layer gives this output alone, and its name would do for its weights."""
    several = any(other.layer is ref.layer and other != ref for other in net.outputs)
    return not several and ref.call == 0 and ref.output == 0 and (not ref.layer.weights or bool(_VALID.fullmatch(name)))


def _free(wanted: str, taken: set[str]) -> str:
    plain = re.sub(r"[^-A-Za-z0-9._]", "_", wanted).lstrip("._-") or "layer"
    name, number = plain, 0
    while name in taken:
        number += 1
        name = f"{plain}_{number}"
    return name
