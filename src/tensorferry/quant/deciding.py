"""Program and scheme -> plan, where weights alone are stored in fewer bits: dynamic, float16, weights4."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from tensorferry.ir import Quantization
from tensorferry.program import Program, ProgramOperator, ProgramTensor, Subgraph
from tensorferry.quant.maths import NonFiniteError, weight_grid
from tensorferry.quant.plan import Form, OperatorPlan, Plan
from tensorferry.quant.scales import shrink_to_fit
from tensorferry.quant.scheme import Mode, Scheme
from tensorferry.quant.spec import PICKED, WEIGHTS, WeightRule
from tensorferry.quant.steps import stepped_scales
from tensorferry.quant.weights import ChannelRanges, channel_ranges, fits_half, weight_quantization
from tensorferry.tensor import DType


def decide_weights(program: Program, scheme: Scheme) -> Plan:
    """Which weights are stored in fewer bits, for modes that compute in float."""
    deciding = _Weights(program, scheme)
    entries = tuple(deciding.entries())
    return Plan(scheme.mode.value, entries, notices=tuple(dict.fromkeys(deciding.notices)))


@dataclass(slots=True)
class Ranges:
    """Ranges of constants, each read once."""

    program: Program
    _known: dict[tuple[int, tuple[int, ...], int | None], ChannelRanges] = field(default_factory=dict)

    def of(self, tensor: ProgramTensor, axis: int | None) -> ChannelRanges:
        """NonFiniteError where there are NaN or infinities."""
        content = self.program.content(tensor)
        key = (tensor.buffer, content.shape, axis)
        if key not in self._known:
            self._known[key] = channel_ranges(content, axis)
            content.release()
        return self._known[key]

    def quantization(self, tensor: ProgramTensor, axis: int | None, dtype: DType) -> Quantization:
        """Symmetric parameters of a weight: the grid it lies on already, or the one that its largest elements ask for."""
        ranges, grid = self.of(tensor, axis), weight_grid(dtype)
        scales = stepped_scales(self.program.content(tensor), ranges, grid)
        if scales is None:
            return weight_quantization(ranges, dtype)
        return Quantization(tuple(map(float, scales)), (0,) * scales.size, axis)


@dataclass(slots=True)
class _Weights:
    """One decision for each operator that reads float constants."""

    program: Program
    scheme: Scheme
    notices: list[str] = field(default_factory=list)
    _ranges: Ranges = field(init=False)

    def __post_init__(self) -> None:
        self._ranges = Ranges(self.program)

    def entries(self) -> Iterator[OperatorPlan]:
        for number, subgraph in enumerate(self.program.subgraphs):
            for place, operator in enumerate(subgraph.operators):
                found = self._entry(subgraph, operator)
                if found is not None:
                    name = self.program.codes[operator.code].name
                    yield OperatorPlan(number, place, name, _name_of(subgraph, operator), *found)

    def _entry(
        self, subgraph: Subgraph, operator: ProgramOperator
    ) -> tuple[str, tuple[Form | None, ...], tuple[Form | None, ...]] | None:
        """Why, and the forms; None for an operator without weights."""
        code = self.program.codes[operator.code]
        weights = self._float_constants(subgraph, operator)
        if not weights or code.custom:
            return None
        nothing: tuple[Form | None, ...] = (None,) * len(operator.inputs)
        if why := self.scheme.why_float(code.name, _name_of(subgraph, operator)):
            return why, nothing, ()
        if self.scheme.mode is Mode.FLOAT16:
            forms = {slot: self._half(tensor) for slot, tensor in weights.items()}
            return ("float16 weights", tuple(map(forms.get, range(len(operator.inputs)))), ()) if any(forms.values()) else None
        if code.name in PICKED and 0 in weights:
            return self._picked(operator, weights[0])
        rule = WEIGHTS.get(code.name)
        if rule is None:
            return None
        return self._whole(operator, rule, weights)

    def _float_constants(self, subgraph: Subgraph, operator: ProgramOperator) -> dict[int, ProgramTensor]:
        tensors = ((slot, subgraph.tensors[number]) for slot, number in enumerate(operator.inputs) if number >= 0)
        return {slot: each for slot, each in tensors if each.buffer and each.dtype is DType.FLOAT32 and not each.variable}

    # -- float16 ---------------------------------------------------------------------------------------------------

    def _half(self, tensor: ProgramTensor) -> Form | None:
        """float16 where every number fits; single numbers stay, as they save nothing."""
        if self.program.content(tensor).size < 2 or not self._finite(tensor, "float16"):
            return None
        if not fits_half(self._ranges.of(tensor, None)):
            self.notices.append(f"'{tensor.name}' stays float32: it holds numbers beyond float16's 65504")
            return None
        return Form(DType.FLOAT16, unpacked=True)

    # -- whole numbers ---------------------------------------------------------------------------------------------

    def _whole(
        self, operator: ProgramOperator, rule: WeightRule, weights: dict[int, ProgramTensor]
    ) -> tuple[str, tuple[Form | None, ...], tuple[Form | None, ...]] | None:
        chosen = {slot: weights[slot] for slot in rule.slots if slot in weights}
        if not chosen:
            return None
        read = [slot for slot in rule.slots if slot < len(operator.inputs) and operator.inputs[slot] >= 0]
        if rule.together and len(chosen) < len(read):
            return "some of its weights are computed", (None,) * len(operator.inputs), ()
        nothing: tuple[Form | None, ...] = (None,) * len(operator.inputs)
        if sum(self.program.content(each).size for each in chosen.values()) < self.scheme.least:
            return f"fewer than {self.scheme.least} weights", nothing, ()
        dtype = DType.INT4 if rule.four_bits and self.scheme.mode is Mode.WEIGHTS4 else DType.INT8
        axis = rule.axis
        if self.scheme.per_tensor and self.program.codes[operator.code].name == "FULLY_CONNECTED" and dtype is DType.INT8:
            axis = None
        if not all(self._finite(each, "whole numbers", axis) for each in chosen.values()):
            return "weights that are no numbers", nothing, ()
        forms = {slot: self.weight_form(each, axis, dtype, unpacked=not rule.hybrid) for slot, each in chosen.items()}
        why = f"{dtype} weights" + ("" if rule.hybrid else ", made float when the file is loaded")
        return why, tuple(forms.get(slot) for slot in range(len(operator.inputs))), ()

    def weight_form(self, tensor: ProgramTensor, axis: int | None, dtype: DType, *, unpacked: bool = False) -> Form:
        quantization = self._ranges.quantization(tensor, axis, dtype)
        if dtype is DType.INT4 and axis == 0 and not self.scheme.full_range:
            quantization = shrink_to_fit(self.program.content(tensor), quantization, weight_grid(dtype))
        return Form(dtype, quantization, unpacked=unpacked, narrow=True)

    def _picked(
        self, operator: ProgramOperator, table: ProgramTensor
    ) -> tuple[str, tuple[Form | None, ...], tuple[Form | None, ...]]:
        nothing: tuple[Form | None, ...] = (None,) * len(operator.inputs)
        if self.program.content(table).size < self.scheme.least:
            return f"fewer than {self.scheme.least} weights", nothing, ()
        if not self._finite(table, "whole numbers"):
            return "weights that are no numbers", nothing, ()
        form = self.weight_form(table, None, DType.INT8)
        return "int8 table, rows made float", (form, *nothing[1:]), (form,)

    def _finite(self, tensor: ProgramTensor, what: str, axis: int | None = None) -> bool:
        try:
            self._ranges.of(tensor, axis)
        except NonFiniteError:
            self.notices.append(f"'{tensor.name}' stays float32: it holds values that are no numbers, which {what} cannot say")
            return False
        return True


def _name_of(subgraph: Subgraph, operator: ProgramOperator) -> str:
    """Of the first output."""
    return subgraph.tensors[operator.outputs[0]].name if operator.outputs else ""
