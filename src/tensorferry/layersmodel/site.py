"""What a rule is given: one call of one layer of the source, and the ways to put layers into the target."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tensorferry.layersmodel.records import Lacking, Net, Ref, WebLayer, call
from tensorferry.readers.keras.description import Config, Layer, Seen, Use
from tensorferry.tensor import Tensor

Rule = Callable[["Site"], Ref | Sequence[Ref]]


@dataclass(slots=True)
class Site:
    """One call of a layer. `inputs` are all tensors it is given, in order; `args` the arguments as they stand.

    `made` is kept from one call to the next, so that a layer with several calls is one layer with one set of weights.
    """

    layer: Layer
    use: Use
    net: Net
    inputs: list[Ref]
    args: Sequence[Any] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    made: dict[str, WebLayer] = field(default_factory=dict)
    hold: Callable[[Layer], WebLayer] | None = None
    """Translates a layer that this one holds, as a layer that nobody has called."""

    @property
    def config(self) -> Config:
        return self.layer.config

    # -- layers ----------------------------------------------------------------------------------------------------

    def main(
        self,
        class_name: str,
        config: Mapping[str, Any],
        weights: Mapping[str, Tensor] | None = None,
        inputs: Sequence[Ref] | None = None,
    ) -> Ref:
        """A call of the layer that stands for the source's: the same one for all of its calls. `inputs`: instead of its own."""
        layer = self.made.get(class_name)
        if layer is None:
            kept = {"trainable": False} if not self.layer.trainable else {}
            layer = self.net.add(WebLayer(class_name, {**config, **kept}, self.layer.name, weights or {}))
            self.made[class_name] = layer
        return call(layer, list(self.inputs if inputs is None else inputs))

    def extra(self, class_name: str, inputs: Ref | Sequence[Ref], **config: Any) -> Ref:
        """A call of a layer of its own, which has no weights."""
        layer = self.net.add(WebLayer(class_name, config, f"{self.layer.name}_{class_name.lower()}"))
        return call(layer, [inputs] if isinstance(inputs, Ref) else list(inputs))

    def identity(self, value: Ref) -> Ref:
        return self.extra("Activation", value, activation="linear")

    def scaled(self, value: Ref, scale: float, offset: float = 0.0) -> Ref:
        """The value times a number, and a number added."""
        return self.extra("Rescaling", value, scale=scale, offset=offset)

    def reshaped(self, value: Ref, sizes: Sequence[int | str]) -> Ref:
        """Without the batch; at most one size may be open."""
        if sum(isinstance(size, str) for size in sizes) > 1:
            raise Lacking("several sizes of its input are open")
        return self.extra("Reshape", value, target_shape=[-1 if isinstance(size, str) else size for size in sizes])

    def permuted(self, value: Ref, order: Sequence[int]) -> Ref:
        """`order` counts the batch as 0 and leaves it in front."""
        return self.extra("Permute", value, dims=list(order[1:]))

    def held(self, layer: Layer) -> WebLayer:
        if self.hold is None:
            raise Lacking("it holds a layer where none can be held")
        return self.hold(layer)

    # -- what is known ---------------------------------------------------------------------------------------------

    def given(self, index: int = 0) -> Seen:
        if index >= len(self.use.inputs):
            raise Lacking("it is given too few tensors")
        return self.use.inputs[index]

    def shape(self, index: int = 0) -> tuple[int | str, ...]:
        """Of an input, the batch included."""
        return _known(self.given(index))

    def result(self) -> tuple[int | str, ...]:
        """The shape of the first output, the batch included."""
        return _known(self.use.outputs[0])

    def sizes(self, index: int = 0) -> list[int]:
        """The sizes behind the batch, all of which have to be numbers."""
        sizes = [size for size in self.shape(index)[1:] if isinstance(size, int)]
        if len(sizes) != len(self.shape(index)) - 1:
            raise Lacking("TensorFlow.js needs all sizes of its input, and some are open")
        return sizes

    def rank(self, index: int = 0) -> int:
        return len(self.shape(index))

    def weights(self, *names: str) -> dict[str, Tensor]:
        """Its own weights by their last name; those that it does not have are left out."""
        own = {role.rsplit("/", 1)[-1]: tensor for role, tensor in self.layer.weights.items()}
        return {name: own[name] for name in names if name in own}

    def refuse_channels_first(self) -> None:
        if self.config.get("data_format") == "channels_first":
            raise Lacking("channels come first in it (data_format)")


def _known(seen: Seen) -> tuple[int | str, ...]:
    if seen.shape is None:
        raise Lacking("the number of its axes is open")
    return seen.shape
