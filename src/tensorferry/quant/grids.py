"""Which computed tensors of a subgraph are stored whole, and on which grid: seen, bound together or fixed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from tensorferry.program import Program, ProgramOperator, Subgraph
from tensorferry.quant.maths import asymmetric_parameters, grid_of, symmetric_scales, weight_grid
from tensorferry.quant.plan import Form
from tensorferry.tensor import DType

NARROWEST, WIDEST = 1e-9, 1e9
"""Widths of ranges that can be stored whole. What a kernel makes of steps beyond these is anybody's guess: some end the process."""

_STEPS_OF_NOTHING = {DType.INT8: 1 / 128, DType.INT16: 1 / 32768}
"""Scale of numbers that are all zero: any is right, but a large one beside small ones is more than kernels convert."""


def usable(low: float, high: float) -> bool:
    """Whether a grid can be laid over this range."""
    width = max(high, 0.0) - min(low, 0.0)
    return width == 0 or NARROWEST <= width <= WIDEST


def form_of_range(low: float, high: float, dtype: DType) -> Form:
    """int8 with a zero point; int16 symmetric, as its kernels want it."""
    if low == high == 0:
        return Form.of(dtype, _STEPS_OF_NOTHING[dtype], 0)
    if dtype is DType.INT16:
        scale = symmetric_scales(max(abs(low), abs(high)), weight_grid(dtype))
        return Form.of(dtype, float(scale), 0)
    scales, zero_points = asymmetric_parameters(low, high, grid_of(dtype))
    return Form.of(dtype, float(scales), int(zero_points))


def form_of_fake_quant(low: float, high: float, bits: int) -> Form:
    """The int8 grid on which a FAKE_QUANT of 8 bits rounds: its kernel moves the range so that zero is a step, in float32."""
    steps = np.float32((1 << bits) - 1)
    scale = (np.float32(high) - np.float32(low)) / steps
    zero = np.clip(np.floor(np.float32(0.5) - np.float32(low) / scale), 0, steps)
    return Form.of(DType.INT8, float(scale), int(zero) - 128)


@dataclass(slots=True)
class Grids:
    """Forms of the float tensors of one subgraph, by number. `ranges`: by name, for those that were seen."""

    program: Program
    subgraph: Subgraph
    dtype: DType
    ranges: Mapping[str, tuple[float, float]]
    whole: set[int] = field(default_factory=set)
    """Tensors that an operator computes as whole numbers."""
    makers: dict[int, int] = field(init=False)
    readers: dict[int, list[int]] = field(init=False)
    _fixed: dict[int, Form] = field(default_factory=dict)
    _links: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.makers, self.readers = {}, {}
        for place, operator in enumerate(self.subgraph.operators):
            self.makers.update(dict.fromkeys(operator.outputs, place))
            for number in set(operator.inputs):
                self.readers.setdefault(number, []).append(place)

    def fix(self, number: int, form: Form) -> None:
        """The tensor has this grid, whatever was seen."""
        self._fixed[number] = form
        self._links.pop(number, None)

    def link(self, number: int, other: int) -> None:
        """The tensor has the grid of the other one."""
        if number != other:
            self._links[number] = other

    def promise(self, number: int, other: int) -> None:
        """Give a tensor the grid of what is made of it alone, before anything is decided about its maker."""
        if self.readers.get(number) == [self.makers.get(other)] and number not in self.subgraph.outputs:
            self.link(number, other)

    def root(self, number: int) -> int:
        """The tensor whose range or fixed grid decides."""
        while number in self._links:
            number = self._links[number]
        return number

    def knows(self, number: int) -> bool:
        """Whether a form can be given."""
        root = self.root(number)
        return root in self._fixed or (self._name(root) in self.ranges and usable(*self.ranges[self._name(root)]))

    def form(self, number: int) -> Form:
        root = self.root(number)
        if root in self._fixed:
            return self._fixed[root]
        return form_of_range(*self.ranges[self._name(root)], self.dtype)

    def join(self, number: int, other: int, place: int) -> bool:
        """Give a computed tensor the grid of another, which only the operator at `place` asks for; False if others want its own.

        The whole chain of tensors that share the grid must have no other reader, and no grid that its kernel takes for given.
        """
        chain = self._chain(number)
        root = chain[-1]
        maker = self.makers.get(root)
        if root in self._fixed or maker is None or root not in self.whole or root == self.root(other):
            return root == self.root(other)
        allowed = {place, *(self.makers[each] for each in chain[:-1])}
        if any(each in self.subgraph.outputs or not allowed.issuperset(self.readers.get(each, ())) for each in chain):
            return False
        if len(self.subgraph.operators[maker].outputs) != 1 or any(
            self.root(each) == root for each in self._links if each not in chain
        ):
            return False
        if self.form(other).scale < self.form(root).scale * 0.999:  # finer steps than what was judged
            return False
        self.link(root, other)
        return True

    def _chain(self, number: int) -> list[int]:
        chain = [number]
        while chain[-1] in self._links:
            chain.append(self._links[chain[-1]])
        return chain

    def is_constant(self, number: int) -> bool:
        return bool(self.subgraph.tensors[number].buffer)

    def is_float(self, number: int) -> bool:
        """A tensor of numbers that could be stored otherwise."""
        tensor = self.subgraph.tensors[number]
        return tensor.dtype is DType.FLOAT32 and not tensor.variable

    def operator(self, place: int) -> ProgramOperator:
        return self.subgraph.operators[place]

    def _name(self, number: int) -> str:
        return self.subgraph.tensors[number].name
