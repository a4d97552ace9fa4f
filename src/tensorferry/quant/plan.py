"""The plan: which tensor of which operator is stored how, and why. Plain data between deciding and applying; JSON outside."""

from __future__ import annotations

from dataclasses import dataclass, field

from tensorferry.ir import Quantization
from tensorferry.tensor import DType


@dataclass(frozen=True, slots=True)
class Form:
    """How a tensor is stored. float16 and what is `unpacked` is made float32 before the operator reads it.

    `narrow`: the lowest code of the type is not used, as in symmetric weights.
    """

    dtype: DType
    quantization: Quantization | None = None
    unpacked: bool = False
    narrow: bool = False

    @classmethod
    def of(cls, dtype: DType, scale: float, zero_point: int) -> Form:
        """One scale for all."""
        return cls(dtype, Quantization((float(scale),), (int(zero_point),)))

    @property
    def scale(self) -> float:
        """Of a form with one scale."""
        assert self.quantization is not None
        return self.quantization.scales[0]


@dataclass(frozen=True, slots=True)
class OperatorPlan:
    """What becomes of one operator: number `place` of a subgraph. None among the forms: as the tensor is in the float program.

    `inputs` and `outputs` are as long as the operator's. `changed` tells whether the operator is quantised at all.
    """

    subgraph: int
    place: int
    operator: str
    name: str
    """Of its first output, under which people know it."""
    why: str
    inputs: tuple[Form | None, ...] = ()
    outputs: tuple[Form | None, ...] = ()
    removed: bool = False
    """It falls away; who read its output reads its first input."""

    @property
    def changed(self) -> bool:
        return any(form is not None for form in (*self.inputs, *self.outputs))

    @property
    def computes_whole(self) -> bool:
        """Whether it computes with whole numbers from end to end."""
        return any(form is not None for form in self.outputs)


@dataclass(frozen=True, slots=True)
class Plan:
    """One entry for each operator that is quantised or could not be; what inputs and outputs of a signature are stored as."""

    mode: str
    operators: tuple[OperatorPlan, ...]
    inputs: dict[int, tuple[Form | None, ...]] = field(default_factory=dict)
    """By subgraph; None: float as in the program."""
    outputs: dict[int, tuple[Form | None, ...]] = field(default_factory=dict)
    notices: tuple[str, ...] = ()
    corrections: tuple[str, ...] = ()
    """What was done to the constants before they were stored; it follows samples, and so does doing it again."""
