"""What a target declines, collected over a whole graph and told at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tensorferry import ops
from tensorferry.errors import Problem, UnsupportedError
from tensorferry.ir import Graph, Node, format_shape
from tensorferry.ops.spec import MISFITS, Declined
from tensorferry.targets import LITE_OPTIONS
from tensorferry.tensor import Tensor
from tensorferry.text import format_attribute

_LONGEST = 200
"""Characters of attributes shown of one node."""


NOT_EXPANDED = "_not_expanded"
"""Attribute of a node that could not be written in simpler ops: why, and what to do."""


def explained(node: Node, refusal: Declined, target: str) -> Declined:
    """The refusal and, where the op has a form in simpler ones, what stood in the way of that: as far as known, open sizes."""
    hindrance, remedy = node.get(NOT_EXPANDED) or ("", "")
    if not hindrance:
        spec = ops.find(node.op)
        open_input = next((value for value in node.inputs if value.static_shape is None), None)
        if refusal.remedy or open_input is None or spec is None or spec.expand is None or target not in spec.expands_for:
            return refusal
        hindrance = f"not all sizes of '{open_input.name}' are known ({format_shape(open_input.shape)})"
        remedy = "fix the sizes of the model's inputs with --shape"
    if hindrance in refusal.why:
        return refusal
    why = f"{refusal.why}, and to rewrite it: {hindrance}"
    return Declined(why, remedy=refusal.remedy or remedy, attributes=refusal.attributes)


class Refusals:
    """The nodes one target declines. `target` is its name for people, `lowering` the OpSpec field that serves it."""

    def __init__(self, target: str, lowering: str) -> None:
        self._target = target
        self._lowering = lowering
        self._problems: dict[Node, Problem] = {}

    def __bool__(self) -> bool:
        return bool(self._problems)

    @contextmanager
    def collecting(self, node: Node) -> Iterator[None]:
        """Note what is declined within the block; go on with the next node."""
        try:
            yield
        except Declined as refusal:
            self.note(node, refusal)
        except MISFITS as error:
            self.note(node, Declined(f"its inputs or attributes do not fit the op ({error})"))

    def note(self, node: Node, refusal: Declined) -> None:
        """Note one refusal; of several for one node the first is kept."""
        refusal = explained(node, refusal, self._lowering.removeprefix("to_"))
        names = node.origin.names
        known_to_user = node.name if node.name in names or not names else names[0]
        attributes = refusal.attributes or _format_attributes(node)
        self._problems.setdefault(node, Problem(known_to_user, node.op, refusal.why, refusal.remedy, attributes))

    def raise_if_any(self) -> None:
        """UnsupportedError with every cause. A node that is declined only because nothing is known of what it reads is counted."""
        if self._problems:
            behind = _reached_from(self._problems)
            causes = [problem for node, problem in self._problems.items() if node not in behind or not self._is_known(node)]
            raise UnsupportedError(causes, self._target, following=len(self._problems) - len(causes))

    def _is_known(self, node: Node) -> bool:
        spec = ops.find(node.op)
        return spec is not None and getattr(spec, self._lowering) is not None


def _reached_from(nodes: dict[Node, Problem]) -> set[Node]:
    """All nodes that read, directly or not, what these make."""
    waiting = list(nodes)
    reached: set[Node] = set()
    while waiting:
        for value in waiting.pop().outputs:
            for user in value.users:
                if user not in reached:
                    reached.add(user)
                    waiting.append(user)
    return reached


def _format_attributes(node: Node) -> str:
    """The node's attributes in a line; weights and nested graphs are left out."""
    shown = sorted((key, value) for key, value in node.attrs.items() if key not in (LITE_OPTIONS, NOT_EXPANDED))
    plain = {key: value for key, value in shown if not isinstance(value, Graph | Tensor)}
    text = ", ".join(f"{key}={format_attribute(value)}" for key, value in plain.items())
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."
