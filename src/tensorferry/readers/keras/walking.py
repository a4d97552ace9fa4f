"""A KerasModel to a Graph: each layer is called in the order in which its inputs become known."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from tensorferry import ops
from tensorferry.errors import FerryError, SourceError
from tensorferry.ir import Graph, Origin, Port, Value
from tensorferry.ops.spec import MISFITS
from tensorferry.readers.keras import registry
from tensorferry.readers.keras.building import Builder, is_half, policy_name, port_shape, port_type, values_in
from tensorferry.readers.keras.description import Call, KerasModel, Layer, Seen, TensorRef, Use, flatten, replace_leaves
from tensorferry.readers.keras.facts import describe_model
from tensorferry.readers.keras.slots import check_known
from tensorferry.tensor import DType

_MISFITS = (*MISFITS, TypeError, KeyError, AttributeError, OverflowError)
"""What a config that is not as Keras writes it may raise in a layer's function."""

_MOST_CALLS = 200_000

Key = tuple[str, int]
"""A call: the layer's name and the call's number."""


def build_graph(model: KerasModel) -> Graph:
    """The model as a Graph whose ports bear Keras' names. SourceError for layers that are not known, or do not fit together."""
    check_known(model)
    walk = _Walk(Graph(model.name))
    inputs = [walk.add_input(model.layer(ref.layer)) for ref in flatten(model.inputs)]
    outputs = walk.run_model(model, inputs, "", names=True)
    graph = walk.graph
    graph.inputs = [Port(value.name, value) for value in inputs]
    names = _output_names(model)
    graph.outputs = [Port(name, walk.named(value, name)) for name, value in zip(names, values_in(outputs), strict=True)]
    graph.signature = "serving_default"
    describe_model(graph.facts, model)
    graph.facts.tree = model
    return graph


def _output_names(model: KerasModel) -> list[str]:
    """The names of the layers that give the outputs, as Keras has them; a layer with several gets a number."""
    names: list[str] = []
    for ref in flatten(model.outputs):
        name, number = ref.layer, 0
        while name in names:
            number += 1
            name = f"{ref.layer}_{number}"
        names.append(name)
    return names


class _Walk:
    """The graph as far as it is built, and what is known of its values."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.masks: dict[Value, Value] = {}
        self.memo: dict[str, Value] = {}
        self.calls = 0

    def add_input(self, layer: Layer) -> Value:
        if layer.config.get("ragged") or layer.config.get("sparse"):
            kind = "ragged" if layer.config.get("ragged") else "sparse"
            raise SourceError(f"the input '{layer.name}' is {kind}", remedy="export a model with dense inputs")
        dtype, shape = port_type(layer.config), port_shape(layer.config, layer.name)
        attrs = {"dtype": dtype, "shape": shape}
        origin = Origin((layer.name,), "InputLayer")
        return ops.add(self.graph, "Placeholder", (), attrs, name=layer.name, origin=origin).output

    def named(self, value: Value, name: str) -> Value:
        """The value under a node of that name, so that it can be asked for."""
        if value.producer.name == name:
            return value
        return ops.add(self.graph, "Identity", (value,), name=name, origin=value.producer.origin).output

    def run_model(self, model: KerasModel, inputs: Sequence[Any], scope: str, names: bool = False) -> Any:
        """The outputs of a network for these inputs, in the structure in which the model gives them."""
        layers = {layer.name: layer for layer in model.layers}
        results: dict[TensorRef, Any] = {}
        starts = flatten(model.inputs)
        given = values_in(inputs)
        if len(given) != len(starts):
            raise SourceError(f"the model '{model.name}' reads {len(starts)} tensors and is given {len(given)}")
        for ref, value in zip(starts, given, strict=True):
            results[ref] = self._fit_input(layers[ref.layer], value, scope)
        for name, number in order_calls(model, {ref.layer for ref in starts}):
            layer = layers[name]
            path = f"{scope}{name}_{number}" if number else f"{scope}{name}"
            outputs = self._call(layer, layer.calls[number], path, results)
            for index, value in enumerate(values_in(outputs)):
                results[TensorRef(name, number, index)] = value
            if len(values_in(outputs)) == 1 and (names or layer.model is None):
                results[TensorRef(name, number, 0)] = self._name_output(values_in(outputs)[0], path)
        missing = [ref for ref in flatten(model.outputs) if ref not in results]
        if missing:
            raise SourceError(
                f"the model '{model.name}' gives an output {missing[0].output} of '{missing[0].layer}', which has none"
            )
        return replace_leaves(model.outputs, TensorRef, lambda ref: results[ref])

    def _fit_input(self, layer: Layer, value: Value, scope: str) -> Value:
        """A nested model casts what it is given to the type of its own input."""
        dtype = port_type(layer.config)
        if not scope or value.dtype is dtype or not (dtype.is_float and value.dtype.is_float):
            return value
        if dtype in (DType.FLOAT16, DType.BFLOAT16):
            return value
        return ops.add(self.graph, "Cast", (value,), {"SrcT": value.dtype, "DstT": dtype}, name=f"{scope}{layer.name}").output

    def _name_output(self, value: Value, path: str) -> Value:
        """Let the last node of a layer bear the layer's own name."""
        node = value.producer
        if path in self.graph:
            return value
        if node.name.startswith(f"{path}/") and len(node.outputs) == 1:
            self.graph.rename(node, path)
            return value
        named = self.named(value, path)
        if value in self.masks:
            self.masks[named] = self.masks[value]
        return named

    def _call(self, layer: Layer, call: Call, path: str, results: Mapping[TensorRef, Any]) -> Any:
        def find(ref: TensorRef) -> Any:
            if ref not in results:
                raise SourceError(f"the layer '{layer.name}' reads output {ref.output} of '{ref.layer}', which has none")
            return results[ref]

        args, kwargs = replace_leaves((call.args, dict(call.kwargs)), TensorRef, find)
        builder = Builder(self.graph, layer, path, self.masks, self.run_layer, self.memo)
        return self.run_layer(layer, builder, args, kwargs)

    def run_layer(self, layer: Layer, builder: Builder, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Call one layer; what it cannot make of its config becomes an error that names it."""
        self.calls += 1
        if self.calls > _MOST_CALLS:
            raise SourceError(f"the model calls layers more than {_MOST_CALLS} times")
        if layer.model is not None:
            results = self.run_model(layer.model, args, f"{builder.scope}/")
            self._note_use(layer, args, results)
            return results
        rule = registry.find(layer.kind)
        if rule is None:
            raise builder.unsupported("its class is not known")
        self._tell_policy(layer, builder)
        builder.args = self._autocast(builder, args)
        builder.kwargs = self._autocast(builder, kwargs)
        try:
            outputs = rule.build(builder, layer.config, builder.inputs)
        except SourceError:
            raise
        except FerryError as error:
            raise SourceError(f"the layer '{layer.name}' ({layer.class_name}) cannot be read", why=_reason(error)) from error
        except _MISFITS as error:
            raise SourceError(
                f"the config of layer '{layer.name}' ({layer.class_name}) is not as Keras writes it", why=f"{error!r}"[:120]
            ) from error
        if rule.keeps_mask:
            self._keep_mask(values_in(args), outputs)
        self._note_use(layer, (args, kwargs), outputs)
        return outputs

    def _note_use(self, layer: Layer, given: Any, outputs: Any) -> None:
        sides = (
            tuple(Seen(value.shape, value.dtype, value in self.masks) for value in values_in(side)) for side in (given, outputs)
        )
        layer.uses.append(Use(*sides))

    def _autocast(self, builder: Builder, structure: Any) -> Any:
        """Floating inputs in the type that the layer computes in, as Keras does."""
        if builder.layer.kind.startswith(("ops.", "tf.", "TensorFlowOp")) or builder.layer.config.get("autocast") is False:
            return structure

        def cast(value: Value) -> Value:
            if not value.dtype.is_float or value.dtype is builder.dtype:
                return value
            made = builder.cast(value, builder.dtype)
            if value in self.masks:
                self.masks[made] = self.masks[value]
            return made

        return replace_leaves(structure, Value, cast)

    def _keep_mask(self, inputs: Sequence[Value], outputs: Any) -> None:
        mask = self.masks.get(inputs[0]) if inputs else None
        if mask is not None:
            for value in values_in(outputs):
                self.masks.setdefault(value, mask)

    def _tell_policy(self, layer: Layer, builder: Builder) -> None:
        if is_half(layer.config):
            builder.notice(
                f"layers with the policy {policy_name(layer.config)} are computed in float32, at least as exactly as Keras"
            )


def _reason(error: FerryError) -> str:
    return error.why or error.what


def order_calls(model: KerasModel, starts: set[str]) -> list[Key]:
    """The calls that the outputs need, each behind those that it reads. SourceError for a circle, or a call that is not there."""
    layers = {layer.name: layer for layer in model.layers}
    needed: dict[Key, set[Key]] = {}
    waiting = [(ref.layer, ref.call) for ref in flatten(model.outputs)]
    while waiting:
        key = waiting.pop()
        name, number = key
        if key in needed or name in starts:
            continue
        if number >= len(layers[name].calls):
            raise SourceError(
                f"the model '{model.name}' reads call {number} of '{name}', which is called {len(layers[name].calls)} times"
            )
        call = layers[name].calls[number]
        needed[key] = {(ref.layer, ref.call) for ref in flatten((call.args, call.kwargs)) if ref.layer not in starts}
        waiting.extend(needed[key])
    return _sort(model, needed)


def _sort(model: KerasModel, needed: Mapping[Key, set[Key]]) -> list[Key]:
    readers: dict[Key, list[Key]] = defaultdict(list)
    left = {key: len(reads) for key, reads in needed.items()}
    for key, reads in needed.items():
        for each in reads:
            readers[each].append(key)
    position = {layer.name: index for index, layer in enumerate(model.layers)}
    ready = sorted((key for key, count in left.items() if not count), key=lambda key: (position[key[0]], key[1]), reverse=True)
    ordered = []
    while ready:
        key = ready.pop()
        ordered.append(key)
        for reader in readers[key]:
            left[reader] -= 1
            if not left[reader]:
                ready.append(reader)
    if len(ordered) != len(needed):
        circle = sorted(key[0] for key, count in left.items() if count)
        raise SourceError(f"layers of the model '{model.name}' wait for each other in a circle: {', '.join(circle[:5])}")
    return ordered
