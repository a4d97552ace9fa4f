"""Layers that make one tensor of several, and the arithmetic that users write between layers.

That is operations of Keras 3 (`ops.`), or functions of TensorFlow in models of Keras 2 (`tf.`).
"""

from __future__ import annotations

from collections.abc import Sequence

from tensorferry.layersmodel.records import Lacking, Ref
from tensorferry.layersmodel.registry import rule
from tensorferry.layersmodel.site import Site


@rule("Add", "Multiply", "Average", "Maximum", "Minimum")
def merge(site: Site) -> Ref:
    _check_ranks(site)
    return site.main(site.layer.class_name, {})


@rule("Subtract")
def subtract(site: Site) -> Ref:
    """The first plus the negated second, which is the same number."""
    _check_ranks(site)
    first, second = site.inputs
    return site.main("Add", {}, inputs=[first, site.scaled(second, -1.0)])


def _check_ranks(site: Site) -> None:
    if len(site.inputs) < 2:
        raise Lacking("it is given a single tensor")
    if len({site.rank(index) for index in range(len(site.inputs))}) > 1:
        raise Lacking("its inputs have different numbers of axes")


@rule("ops.Maximum", "ops.Minimum", *(f"tf.{each}" for each in ("maximum", "minimum", "math.maximum", "math.minimum")))
def extreme(site: Site) -> Ref:
    if not all(isinstance(each, Ref) for each in _operands(site)):
        raise Lacking("it compares with a number")
    return site.main(site.layer.kind.rsplit(".", 1)[-1].title(), {})


@rule("Concatenate", integers=True)
def concatenate(site: Site) -> Ref:
    """TensorFlow.js wants all other sizes to be equal as it knows them."""
    shapes = [site.shape(index) for index in range(len(site.inputs))]
    axis = site.config.integer("axis", -1) % len(shapes[0])
    others = {tuple("" if isinstance(size, str) else size for place, size in enumerate(each) if place != axis) for each in shapes}
    if len(shapes) < 2 or axis == 0 or len(others) > 1:
        raise Lacking("it joins along the batch, or tensors of which some sizes are open")
    if len({seen.dtype for seen in site.use.inputs}) > 1:
        raise Lacking("it joins different element types")
    return site.main("Concatenate", {"axis": axis})


@rule("Dot")
def dot(site: Site) -> Ref:
    if max(site.rank(0), site.rank(1)) > 3:
        raise Lacking("its inputs have more than 3 axes")
    axes = site.config.get("axes")
    given = axes if isinstance(axes, int) else list(site.config.integers("axes", 2))
    return site.main("Dot", {"axes": given, "normalize": site.config.flag("normalize")})


# -- arithmetic ----------------------------------------------------------------------------------------------------


def _operands(site: Site) -> tuple[Ref | float, Ref | float]:
    given = [*site.args, *(each for key, each in site.kwargs.items() if key != "name" and each is not None)]
    if len(given) != 2 or any(isinstance(each, bool) or not isinstance(each, Ref | int | float) for each in given):
        raise Lacking("it computes with something else than tensors and numbers")
    first, second = given
    if isinstance(first, Ref) and isinstance(second, Ref):
        _check_ranks(site)
    return first, second


@rule("ops.Add", "tf.__operators__.add", "tf.math.add", "tf.add")
def plus(site: Site) -> Ref:
    return _added(site, _operands(site))


@rule("ops.Subtract", "tf.math.subtract", "tf.subtract")
def minus(site: Site) -> Ref:
    first, second = _operands(site)
    if isinstance(second, Ref):
        return _added(site, (first, site.scaled(second, -1.0)))
    return _added(site, (first, -second))


def _added(site: Site, operands: Sequence[Ref | float]) -> Ref:
    first, second = operands
    if isinstance(first, Ref):
        return site.extra("Add", [first, second]) if isinstance(second, Ref) else site.scaled(first, 1.0, second)
    if isinstance(second, Ref):
        return site.scaled(second, 1.0, first)
    raise Lacking("it computes with numbers alone")


@rule("ops.Multiply", "tf.math.multiply", "tf.multiply")
def times(site: Site) -> Ref:
    first, second = _operands(site)
    if isinstance(first, Ref):
        return site.extra("Multiply", [first, second]) if isinstance(second, Ref) else site.scaled(first, second)
    if isinstance(second, Ref):
        return site.scaled(second, first)
    raise Lacking("it computes with numbers alone")


@rule("ops.Divide", "ops.TrueDivide", "tf.math.divide", "tf.math.truediv", "tf.divide", "tf.truediv")
def divided(site: Site) -> Ref:
    first, second = _operands(site)
    if isinstance(second, Ref) or not isinstance(first, Ref) or second == 0:
        raise Lacking("it divides by a tensor")
    return site.scaled(first, 1 / second)


@rule("ops.Negative", "tf.math.negative", "tf.negative")
def negated(site: Site) -> Ref:
    return site.scaled(site.inputs[0], -1.0)
