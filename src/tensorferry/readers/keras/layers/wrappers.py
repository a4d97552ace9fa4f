"""Layers around a layer: Bidirectional, TimeDistributed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tensorferry.errors import SourceError
from tensorferry.ir import Value
from tensorferry.readers.keras.building import Builder, values_in
from tensorferry.readers.keras.description import Config, Layer
from tensorferry.readers.keras.layers.held import held_layer
from tensorferry.readers.keras.registry import layer

# -- both ways -----------------------------------------------------------------------------------------------------


def _both_ways(layer: Layer) -> dict[str, Layer]:
    given = layer.config.get("layer")
    forward = held_layer(layer, given)
    other = layer.config.get("backward_layer")
    if other is None and isinstance(given, Mapping):
        config = given.get("config")
        config = dict(config) if isinstance(config, Mapping) else {}
        other = {**given, "config": {**config, "go_backwards": not config.get("go_backwards"), "name": f"backward_{forward.name}"}}
    return {"forward_layer": forward, "backward_layer": held_layer(layer, other)}


@layer("Bidirectional", children=_both_ways)
def bidirectional(build: Builder, config: Config, inputs: Sequence[Value]) -> Value | list[Value]:
    """The sequence from its beginning and from its end."""
    mode = config.get("merge_mode")
    if mode not in ("concat", "sum", "mul", "ave", None):
        raise config.wrong("merge_mode", "concat, sum, mul, ave or nothing")
    children = [build.layer.children[role] for role in ("forward_layer", "backward_layer")]
    x, first = inputs[0], list(inputs[1:]) + values_in(build.kwargs.get("initial_state"))
    half = len(first) // 2
    mask = {"mask": build.kwargs["mask"]} if isinstance(build.kwargs.get("mask"), Value) else {}
    results = [
        values_in(build.run(child, (x,), {**mask, **({"initial_state": states} if states else {})}))
        for child, states in zip(children, (first[:half], first[half:]), strict=True)
    ]
    (forward, *states), (backward, *more) = results
    if children[0].config.flag("return_sequences"):
        axis = 0 if children[0].config.flag("time_major") else 1
        backward = build.add("ReverseV2", (backward, build.constant([axis], name="axis")))
    merged = _merged(build, forward, backward, mode)
    if children[0].config.flag("return_sequences"):
        for value in merged:
            build.set_mask(value, build.mask(x))
    found = [*merged, *states, *more]
    return found if len(found) > 1 else found[0]


def _merged(build: Builder, forward: Value, backward: Value, mode: str | None) -> list[Value]:
    if mode is None:
        return [forward, backward]
    if mode == "concat":
        return [build.concat([forward, backward], build.rank(forward) - 1)]
    if mode == "mul":
        return [build.add("Mul", (forward, backward))]
    total = build.add("AddV2", (forward, backward))
    return [build.add("Mul", (total, build.number(0.5, total))) if mode == "ave" else total]


# -- each step -----------------------------------------------------------------------------------------------------


def _wrapped(layer: Layer) -> dict[str, Layer]:
    return {"layer": held_layer(layer, layer.config.get("layer"))}


@layer("Wrapper", "QuantizeAnnotate", children=_wrapped)
def wrapper(build: Builder, _config: Config, _inputs: Sequence[Value]) -> Any:
    """Nothing but what it wraps."""
    return build.run(build.layer.children["layer"], build.args, build.kwargs)


@layer("TimeDistributed", children=_wrapped, keeps_mask=True)
def time_distributed(build: Builder, _config: Config, inputs: Sequence[Value]) -> Any:
    """The steps are handed to the layer as if they were more examples."""
    child = build.layer.children["layer"]
    x = inputs[0]
    if build.rank(x) < 2:
        raise build.unsupported("its input has no axis of time")
    sizes = build.sizes(x)
    joined = build.reshape(x, [-1, *(build.size(x, axis) for axis in range(2, build.rank(x)))])
    mask = build.mask(x)
    if mask is not None and build.rank(mask) > 2:
        raise SourceError(f"the layer '{build.layer.name}' hands a mask of {build.rank(mask)} axes to each step")
    results = [_apart(build, value, sizes[:2]) for value in values_in(build.run(child, (joined,)))]
    return results if len(results) > 1 else results[0]


def _apart(build: Builder, value: Value, leading: Sequence[Any]) -> Value:
    return build.reshape(value, [*leading, *build.sizes(value)[1:]])
