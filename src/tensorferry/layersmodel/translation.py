"""A KerasModel as a network of layers that tfjs-layers has. All layers that it cannot express are found before any is refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tensorferry.errors import SourceError
from tensorferry.layersmodel import registry
from tensorferry.layersmodel.masks import Masks
from tensorferry.layersmodel.records import Lacking, Net, Ref, WebLayer, call
from tensorferry.layersmodel.site import Site
from tensorferry.ops.spec import MISFITS, Declined
from tensorferry.readers.keras.building import port_shape, port_type
from tensorferry.readers.keras.description import KerasModel, Layer, TensorRef, flatten, replace_leaves
from tensorferry.readers.keras.walking import order_calls
from tensorferry.tensor import DType
from tensorferry.writers.tfjs_weights import narrow


@dataclass(frozen=True, slots=True)
class Obstacle:
    """A layer that tfjs-layers cannot express: its path, its class, and why."""

    path: str
    kind: str
    why: str


@dataclass(slots=True)
class Translation:
    """The work on one model; `obstacles` is empty where all of it could be done."""

    obstacles: list[Obstacle] = field(default_factory=list)
    masks: Masks = field(default_factory=Masks)

    def network(self, model: KerasModel, path: str = "") -> Net:
        """The model, and whatever lies in it."""
        net = Net(model.name, sequential=model.sequential)
        refs: dict[TensorRef, Ref] = {}
        starts = flatten(model.inputs)
        for ref in starts:
            net.inputs.append(net.add(self._input(model.layer(ref.layer), path)))
            refs[ref] = call(net.inputs[-1], [])
        turn: Counter[str] = Counter()
        kept: dict[str, dict[str, WebLayer]] = {}
        for name, number in order_calls(model, {ref.layer for ref in starts}):
            layer = model.layer(name)
            use = layer.uses[turn[name]]
            turn[name] += 1
            given = layer.calls[number]
            args, kwargs = replace_leaves((given.args, dict(given.kwargs)), TensorRef, lambda ref: refs[ref])
            site = Site(layer, use, net, flatten((args, kwargs), Ref), args, kwargs, kept.setdefault(name, {}), self._hold)
            self.masks.drop_own(site)
            for index, found in enumerate(self._translate(site, f"{path}{name}")):
                refs[TensorRef(name, number, index)] = found
        net.outputs = [refs[ref] for ref in flatten(model.outputs)]
        if any(ref in self.masks.tests for ref in net.outputs):
            self.obstacles.append(Obstacle(path or model.name, "Functional", "it gives a mask"))
        return net

    def _input(self, layer: Layer, path: str) -> WebLayer:
        config: dict[str, Any] = {"sparse": False}
        try:
            dtype = narrow(port_type(layer.config))
            if dtype is DType.STRING:
                raise Lacking("it reads text")
            shape = port_shape(layer.config, layer.name)
            config |= {"batch_input_shape": [None if isinstance(size, str) else size for size in shape or ()], "dtype": dtype.value}
        except (Lacking, Declined) as error:
            self.obstacles.append(Obstacle(f"{path}{layer.name}", "InputLayer", str(error)))
        return WebLayer("InputLayer", config, layer.name)

    def _translate(self, site: Site, path: str) -> Sequence[Ref]:
        """The tensors that a call gives. After an obstacle they stand for what would be there, so that others are found too."""
        try:
            found = self._nested(site, path) if site.layer.model is not None else self._plain(site)
            found = [found] if isinstance(found, Ref) else found
        except (Lacking, SourceError, *MISFITS) as error:
            odd = not isinstance(error, Lacking | SourceError)
            obstacle = Obstacle(path, site.layer.class_name, "its config is not as Keras writes it" if odd else str(error))
            if obstacle not in self.obstacles:
                self.obstacles.append(obstacle)
            stand_in = WebLayer("", {}, "")
            found = [Ref(stand_in, 0, index) for index in range(len(site.use.outputs))]
        self.masks.follow(site, found)
        return found

    def _nested(self, site: Site, path: str) -> Sequence[Ref]:
        if any(seen.masked for seen in site.use.inputs) or len({use.inputs for use in site.layer.uses}) > 1:
            raise Lacking("it is a model that is given masks, or tensors of several shapes")
        layer = site.made.get("")
        if layer is None:
            layer = site.made[""] = site.net.add(self._model(site.layer, path))
        first = call(layer, site.inputs)
        return [Ref(layer, first.call, index) for index in range(len(site.use.outputs))]

    def _model(self, layer: Layer, path: str) -> WebLayer:
        assert layer.model is not None
        return WebLayer("Functional", {}, layer.name, net=self.network(layer.model, f"{path}/"))

    def _plain(self, site: Site) -> Ref | Sequence[Ref]:
        test = self.masks.test(site)
        if test is not None:
            return test
        entry = registry.find(site.layer.kind)
        if entry is None:
            raise Lacking("TensorFlow.js has no such layer")
        operation = site.layer.kind.startswith(("ops.", "tf."))
        if not operation:
            _check_arguments(site)
        if not entry.masks and any(seen.masked for seen in site.use.inputs):
            raise Lacking("it is given a mask, which TensorFlow.js uses in another way")
        if operation and not all(seen.dtype.is_float for seen in site.use.inputs):
            raise Lacking("it computes with whole numbers, which TensorFlow.js does in float32")
        if not entry.integers:
            site.inputs = [
                value if seen.dtype.is_float else _as_float(site, value, seen.dtype)
                for value, seen in zip(site.inputs, site.use.inputs, strict=True)
            ]
        return entry.build(site)

    def _hold(self, layer: Layer) -> WebLayer:
        """A layer inside of a wrapper, without calls."""
        if not layer.uses:
            raise Lacking("the layer that it holds is never called")
        scratch = Net("")
        use = layer.uses[0]
        placeholder = WebLayer("InputLayer", {}, "")
        site = Site(layer, use, scratch, [Ref(placeholder, 0, index) for index in range(len(use.inputs))], hold=self._hold)
        found = self._plain(site)
        if len(scratch.layers) != 1 or not isinstance(found, Ref | list):
            raise Lacking(f"it holds a {layer.class_name}, which TensorFlow.js has only as several layers")
        scratch.layers[0].calls.clear()
        return scratch.layers[0]


def _as_float(site: Site, value: Ref, dtype: DType) -> Ref:
    if dtype is DType.STRING:
        raise Lacking("it reads text")
    return site.scaled(value, 1.0)


def _check_arguments(site: Site) -> None:
    """Layers are given tensors, recurrent ones states as well; nothing else may be asked of a call."""
    for key, given in site.kwargs.items():
        refs = flatten(given, Ref)
        if refs and key not in ("initial_state", "inputs", "x"):
            raise Lacking(f"it is called with a tensor as '{key}'")
        if not refs and given not in (None, False, []) and key != "training":
            raise Lacking(f"it is called with {key}={given!r}"[:80])
    if len(flatten(site.args, (Ref, int, float, str))) != len(flatten(site.args, Ref)):
        raise Lacking("it is called with something else than tensors")


def translate(model: KerasModel) -> tuple[Net, Sequence[Obstacle]]:
    """The network, and what stands in its way."""
    work = Translation()
    return work.network(model), work.obstacles


def acts_in_training(model: KerasModel) -> bool:
    """Whether some layer has a regulariser or a constraint."""
    return any(
        given is not None and key.endswith(("_regularizer", "_constraint"))
        for _path, layer in model.everything()
        for key, given in layer.config.items()
    )


def tell_obstacles(obstacles: Sequence[Obstacle], most: int = 6) -> str:
    """What the layers are and why, by reason."""
    groups: dict[tuple[str, str], list[str]] = {}
    for each in obstacles:
        groups.setdefault((each.kind, each.why), []).append(f"'{each.path}'")
    told = []
    for (kind, why), paths in groups.items():
        more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
        told.append(f"{', '.join(paths[:3])}{more} ({kind}): {why}")
    return "; ".join(told[:most]) + (f"; and {len(told) - most} other reasons" if len(told) > most else "")
