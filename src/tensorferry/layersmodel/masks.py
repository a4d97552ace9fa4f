"""Masks of Keras 3, which are tensors of the model: computed beside a Masking or Embedding layer, and handed to each layer.

In TensorFlow.js, as in Keras 2, a mask comes along with the tensor that it belongs to. So where a call is given the very mask that
comes with its tensor, that argument is left out, and the operations that compute it with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from tensorferry.layersmodel.records import Lacking, Ref, WebLayer, call
from tensorferry.layersmodel.site import Site


@dataclass(slots=True)
class Masks:
    """`origins`: tensor -> whose steps its mask was made of, and by comparing with what; `tests`: the same of masks as tensors."""

    origins: dict[Ref, tuple[Ref, float]] = field(default_factory=dict)
    tests: dict[Ref, tuple[Ref, float]] = field(default_factory=dict)

    def test(self, site: Site) -> Ref | None:
        """What stands for a mask that is computed as Keras does: `any(x != value, -1)`. None for any other call."""
        given = [*site.args, *site.kwargs.values()]
        if site.layer.kind == "ops.NotEqual" and len(given) == 2 and isinstance(given[0], Ref) and _is_number(given[1]):
            return self._stand_in((given[0], float(given[1])))
        if site.layer.kind == "ops.Any" and site.inputs and site.inputs[0] in self.tests:
            axis = site.kwargs.get("axis", site.config.get("axis"))
            if axis in (-1, [-1]) and not site.config.get("keepdims"):
                return self._stand_in(self.tests[site.inputs[0]])
        if any(each in self.tests for each in site.inputs):
            raise Lacking("it computes with a mask")
        return None

    def _stand_in(self, tested: tuple[Ref, float]) -> Ref:
        ref = call(WebLayer("", {}, ""), [])
        self.tests[ref] = tested
        return ref

    def drop_own(self, site: Site) -> None:
        """Take the mask that comes with the first tensor out of the call's arguments."""
        mask = site.kwargs.get("mask")
        if not isinstance(mask, Ref) or not site.inputs or mask not in self.tests:
            return
        if self.origins.get(site.inputs[0]) == self.tests[mask]:
            place = site.inputs.index(mask)
            site.inputs = [*site.inputs[:place], *site.inputs[place + 1 :]]
            site.use = replace(site.use, inputs=(*site.use.inputs[:place], *site.use.inputs[place + 1 :]))
            site.kwargs = {key: each for key, each in site.kwargs.items() if key != "mask"}

    def follow(self, site: Site, found: Sequence[Ref]) -> None:
        """Where the mask of what a layer gives comes from."""
        origin = None
        if site.layer.class_name == "Masking":
            origin = site.inputs[0], site.config.number("mask_value", 0.0)
        elif site.layer.class_name == "Embedding":
            origin = site.inputs[0], 0.0
        elif site.inputs:
            origin = self.origins.get(site.inputs[0])
        for ref, seen in zip(found, site.use.outputs, strict=True):
            if origin is not None and seen.masked:
                self.origins[ref] = origin


def _is_number(given: object) -> bool:
    return isinstance(given, int | float) and not isinstance(given, bool)
