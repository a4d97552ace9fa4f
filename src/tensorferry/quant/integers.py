"""Program, scheme and ranges -> plan, where what is computed is whole, too: int8 and int16x8."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from tensorferry.errors import OptionError
from tensorferry.ir import Quantization
from tensorferry.program import Code, Program, ProgramOperator, ProgramTensor
from tensorferry.quant.deciding import Ranges
from tensorferry.quant.grids import Grids, form_of_fake_quant, form_of_range, usable
from tensorferry.quant.maths import NonFiniteError, grid_of, widen_for_bias
from tensorferry.quant.plan import Form, OperatorPlan, Plan
from tensorferry.quant.scheme import Mode, Scheme
from tensorferry.quant.spec import COMPARISONS, RULES, Bond, Role, Rule
from tensorferry.tensor import DType

_FAKE_QUANT = "FAKE_QUANT"

_EDGE = 1 / 512
"""Half a step of 8 bits, as part of the range."""


def decide_integers(program: Program, scheme: Scheme, ranges: Mapping[str, tuple[float, float]]) -> Plan:
    """Which operators compute with whole numbers, on which grids. `ranges` are by names of the first subgraph's tensors.

    Branches and bodies stay float: nothing was observed inside of them.
    """
    deciding = _Integers(program, scheme, Grids(program, program.subgraphs[0], scheme.mode.activation, ranges))
    entries = deciding.run()
    inputs, outputs = deciding.ends()
    return Plan(
        scheme.mode.value,
        tuple(entries),
        inputs={0: inputs},
        outputs={0: outputs},
        notices=tuple(dict.fromkeys(deciding.notices)),
    )


def missing_ranges(program: Program, scheme: Scheme, ranges: Mapping[str, tuple[float, float]]) -> list[str]:
    """Names of the tensors without which operators would have to stay float: FAKE_QUANT gives the ranges of the others."""
    grids = Grids(program, program.subgraphs[0], scheme.mode.activation, ranges)
    deciding = _Integers(program, scheme, grids)
    deciding.run()
    return sorted(deciding.missing)


MOST_PRODUCT = 256.0
"""XNNPACK refuses to multiply a sum of products by more than this."""

MOST_SUM = {DType.INT8: float(1 << 20), DType.INT16: float(1 << 15)}
"""LiteRT's kernels of sums end the process from here on."""


@dataclass(slots=True)
class _Integers:
    """Two walks through the main subgraph: what can be whole, then in which forms."""

    program: Program
    scheme: Scheme
    grids: Grids
    notices: list[str] = field(default_factory=list)
    missing: set[str] = field(default_factory=set)
    _rules: dict[int, Rule] = field(default_factory=dict)
    """Of the operators that compute with whole numbers, by place."""
    _float: dict[int, str] = field(default_factory=dict)
    """Of those that could not: why."""
    _given: set[int] = field(default_factory=set)
    """Tensors whose range is from training."""
    _constants: Ranges = field(init=False)

    def __post_init__(self) -> None:
        self._constants = Ranges(self.program)

    def run(self) -> list[OperatorPlan]:
        operators = self.grids.subgraph.operators
        for operator in operators:
            if self.program.codes[operator.code] == Code(_FAKE_QUANT, self.program.codes[operator.code].version):
                self._take_given_range(operator)
        for place, operator in enumerate(operators):
            self._judge(place, operator)
        return [self._entry(place) for place in sorted({*self._rules, *self._float})]

    def ends(self) -> tuple[tuple[Form | None, ...], tuple[Form | None, ...]]:
        """Forms of the inputs and outputs."""
        if self.scheme.io_dtype is DType.FLOAT32:
            return (None,) * len(self.grids.subgraph.inputs), (None,) * len(self.grids.subgraph.outputs)
        return (
            tuple(self._end(number) for number in self.grids.subgraph.inputs),
            tuple(self._end(number) for number in self.grids.subgraph.outputs),
        )

    def _end(self, number: int) -> Form | None:
        if not self.grids.is_float(number):
            return None
        name = self.grids.subgraph.tensors[number].name
        if not self.grids.knows(number):
            raise OptionError(
                f"'{name}' cannot be {self.scheme.io_dtype}: no range of it is known", remedy="calibrate on more samples"
            )
        form = self.grids.form(number)
        if self.scheme.io_dtype is DType.UINT8:
            assert form.quantization is not None
            return Form.of(DType.UINT8, form.scale, form.quantization.zero_points[0] + 128)
        return form

    # -- what can be whole -----------------------------------------------------------------------------------------

    def _judge(self, place: int, operator: ProgramOperator) -> None:
        """Decide about one operator; those before it are decided."""
        code = self.program.codes[operator.code]
        numbers = [number for number in (*operator.inputs, *operator.outputs) if number >= 0]
        if not any(self.grids.is_float(number) for number in numbers):
            return
        if code.name == _FAKE_QUANT and operator.outputs[0] in self._given:
            self.grids.whole.add(operator.outputs[0])
            self._rules[place] = _THROUGH
            return
        rule = None if code.custom else RULES.get(code.name)
        why = self._why_float(operator, rule)
        if why or rule is None:
            self._float[place] = why
            return
        self._rules[place] = rule
        self._bind(place, operator, rule)

    def _why_float(self, operator: ProgramOperator, rule: Rule | None) -> str:
        """The reason, or nothing."""
        name = self.program.codes[operator.code].name
        if why := self.scheme.why_float(name, *(self._name(number) for number in operator.outputs)):
            return why
        if rule is None:
            return "LiteRT has no integer kernel for it"
        if self.scheme.mode is Mode.INT16X8 and not rule.wide:
            return "LiteRT has no kernel for int16"
        by_role = {slot: (rule.role(slot), number) for slot, number in enumerate(operator.inputs) if number >= 0}
        data = [number for role, number in by_role.values() if role is Role.DATA]
        if not all(self.grids.is_float(number) for number in data):
            return "it reads other types, too"
        for role, number in by_role.values():
            if role in (Role.WEIGHT, Role.BIAS) and not self.grids.is_constant(number):
                return f"its {role} is computed"
            if role is not Role.PLAIN and self.grids.is_constant(number) and (why := self._why_not_finite(number, role)):
                return why
        if rule.fixed and self._ends_the_model(operator):
            return "it gives an output, of which the kernel's own grid would leave 256 values"
        computed = [number for number in data if not self.grids.is_constant(number)]
        moves = rule.bond is not Bond.NONE or rule.whole_outputs
        if (
            moves
            and computed
            and not any(number in self.grids.whole or number in self.grids.subgraph.inputs for number in computed)
        ):
            return "it reads what is computed in float, and computes nothing new"
        if not rule.whole_outputs and not all(self.grids.is_float(number) for number in operator.outputs):
            return "it sets a state"
        outputs = [] if rule.whole_outputs or rule.fixed or rule.bond is Bond.FORWARD else list(operator.outputs)
        return self._why_no_range([*computed, *outputs]) or self._why_scales(operator, rule)

    def _why_scales(self, operator: ProgramOperator, rule: Rule) -> str:
        """Steps between which the kernels cannot convert: LiteRT ends the process, or XNNPACK refuses the file."""
        name = self.program.codes[operator.code].name
        by_role: dict[Role, list[Form]] = {}
        for slot, number in enumerate(operator.inputs):
            if number >= 0 and rule.role(slot) is Role.DATA:
                constant = self.grids.is_constant(number) and not self.grids.knows(number)
                by_role.setdefault(Role.DATA, []).append(self._constant_form(number) if constant else self.grids.form(number))
            elif number >= 0 and rule.role(slot) is Role.WEIGHT:
                by_role[Role.WEIGHT] = [self._weight_form(operator, number, rule)]
        data = [form.scale for form in by_role.get(Role.DATA, [])]
        if name in COMPARISONS:
            return "its numbers reach beyond what LiteRT compares" if max(data) >= 1 else ""
        if rule.fixed and (why := self._why_not_fixed(operator, rule)):
            return why
        if rule.whole_outputs or rule.fixed or rule.bond is Bond.FORWARD:
            return ""
        result = self.grids.form(operator.outputs[0]).scale
        if rule.bond is Bond.ALL:
            factor, most = max(data, default=0.0) / result, MOST_PRODUCT
        elif name in ("ADD", "SUB", "SQUARED_DIFFERENCE"):
            factor, most = 2 * max(data) / result, MOST_SUM[self.grids.dtype]
        else:
            weight = by_role.get(Role.WEIGHT)
            quantization = None if weight is None else weight[0].quantization
            largest = 1.0 if quantization is None else max(quantization.scales, default=1.0)
            factor, most = float(np.prod([*data[:2], largest])) / result, MOST_PRODUCT
        return "its results are far smaller than its steps" if factor >= most else ""

    def _why_not_fixed(self, operator: ProgramOperator, rule: Rule) -> str:
        """Results that were seen beyond the grid that the kernel takes for given would be cut off."""
        assert rule.fixed is not None
        scale, zero_point = rule.fixed[self.grids.dtype]
        ends = grid_of(self.grids.dtype)
        seen = self.grids.ranges.get(self._name(operator.outputs[0]))
        low, high = ((end - zero_point) * scale for end in (ends.low, ends.high))
        beyond = seen is not None and (seen[0] < low - 2 * scale or seen[1] > high + 2 * scale)
        return "its results reach beyond the grid of LiteRT's kernel" if beyond else ""

    def _ends_the_model(self, operator: ProgramOperator) -> bool:
        """Whether its result leaves the file as float, unread: probabilities tie in int8 where they do not in float."""
        main = self.grids.subgraph
        leaves = self.scheme.mode is Mode.INT8 and self.scheme.io_dtype is DType.FLOAT32
        read = any(number in each.inputs for each in main.operators for number in operator.outputs)
        return leaves and not read and all(number in main.outputs for number in operator.outputs)

    def _why_not_finite(self, number: int, role: Role) -> str:
        try:
            ranges = self._constants.of(self.grids.subgraph.tensors[number], None)
        except NonFiniteError:
            return f"'{self._name(number)}' holds values that are no numbers"
        fits = role is not Role.DATA or usable(float(ranges.low[0]), float(ranges.high[0]))
        return "" if fits else f"'{self._name(number)}' holds numbers too large or too small for a grid"

    def _why_no_range(self, numbers: list[int]) -> str:
        unknown = [self._name(number) for number in numbers if not self.grids.knows(number)]
        self.missing.update(unknown)
        return f"no usable range of '{unknown[0]}' is known" if unknown else ""

    def _take_given_range(self, operator: ProgramOperator) -> None:
        """A range from training is a grid, and the operator falls away; where it is none, it computes as it is, in float."""
        low, high = float(operator.options["min"]), float(operator.options["max"])
        bits = int(operator.options.get("num_bits", 8))
        result, source = operator.outputs[0], operator.inputs[0]
        if self.grids.is_constant(source) or not low < high:
            return
        if self.scheme.mode is Mode.INT16X8:
            seen = self.grids.ranges.get(self._name(source))
            if seen is None or seen[0] < low - _EDGE * (high - low) or seen[1] > high + _EDGE * (high - low):
                return  # its clipping is felt, and a symmetric grid does not clip there
            self.grids.fix(result, form_of_range(low, high, DType.INT16))
        elif bits == 8:
            self.grids.fix(result, form_of_fake_quant(low, high, bits))
        else:
            return
        self._given.add(result)
        self.grids.promise(source, result)

    def _bind(self, place: int, operator: ProgramOperator, rule: Rule) -> None:
        """Tie grids together as the kernels want them."""
        first = operator.outputs[0]
        if not rule.whole_outputs:
            self.grids.whole.update(operator.outputs)
        if rule.fixed:
            self.grids.fix(first, Form.of(self.grids.dtype, *rule.fixed[self.grids.dtype]))
        if rule.bond is Bond.FORWARD:
            source = next(number for slot, number in enumerate(operator.inputs) if number >= 0 and rule.role(slot) is Role.DATA)
            if self.grids.is_constant(source):
                self.grids.fix(source, self._constant_form(source))
            for number in operator.outputs:
                self.grids.link(number, source)
        if rule.bond is Bond.ALL:
            for slot, number in enumerate(operator.inputs):
                if number >= 0 and rule.role(slot) is Role.DATA and not self.grids.is_constant(number):
                    self.grids.join(number, first, place)

    # -- forms -----------------------------------------------------------------------------------------------------

    def _entry(self, place: int) -> OperatorPlan:
        operator = self.grids.operator(place)
        name = self.program.codes[operator.code].name
        known_as = self._name(operator.outputs[0]) if operator.outputs else ""
        if place in self._float:
            return OperatorPlan(0, place, name, known_as, self._float[place])
        rule = self._rules[place]
        outputs = (None if rule.whole_outputs else self.grids.form(number) for number in operator.outputs)
        inputs = tuple(self._inputs(operator, rule))
        return OperatorPlan(0, place, name, known_as, self._why(rule), inputs, tuple(outputs), removed=rule is _THROUGH)

    def _why(self, rule: Rule) -> str:
        if rule is _THROUGH:
            return "its range is the grid"
        if rule.fixed:
            return "the kernel's own grid"
        return "as observed" if rule.bond is Bond.NONE else "one grid for all it moves"

    def _inputs(self, operator: ProgramOperator, rule: Rule) -> list[Form | None]:
        forms: dict[int, Form | None] = {}
        for slot, number in enumerate(operator.inputs):
            role = rule.role(slot)
            if number < 0 or role is Role.PLAIN or role is Role.BIAS:
                forms[slot] = None
            elif role is Role.WEIGHT:
                forms[slot] = self._weight_form(operator, number, rule)
            elif rule.bond is Bond.ALL or rule is _THROUGH:
                forms[slot] = self.grids.form(operator.outputs[0])
            elif self.grids.is_constant(number) and not self.grids.knows(number):
                forms[slot] = self._compared_form(operator, number) or self._constant_form(number)
            else:
                forms[slot] = self.grids.form(number)
        self._add_bias(operator, rule, forms)
        return [forms[slot] for slot in range(len(operator.inputs))]

    def _compared_form(self, operator: ProgramOperator, number: int) -> Form | None:
        """A constant that is compared with numbers whose range it lies in has their grid: equal ones stay equal."""
        others = [each for each in operator.inputs if each != number]
        if self.program.codes[operator.code].name not in COMPARISONS or not others or not self.grids.knows(others[0]):
            return None
        own, form = self._constants.of(self.grids.subgraph.tensors[number], None), self.grids.form(others[0])
        ends = grid_of(self.grids.dtype)
        assert form.quantization is not None
        low, high = ((end - form.quantization.zero_points[0]) * form.scale for end in (ends.low, ends.high))
        return form if low <= own.low[0] and own.high[0] <= high else None

    def _constant_form(self, number: int) -> Form:
        ranges = self._constants.of(self.grids.subgraph.tensors[number], None)
        return form_of_range(float(ranges.low[0]), float(ranges.high[0]), self.grids.dtype)

    def _weight_form(self, operator: ProgramOperator, number: int, rule: Rule) -> Form:
        dense = self.program.codes[operator.code].name == "FULLY_CONNECTED"
        axis = None if dense and self.scheme.per_tensor else rule.axis
        quantization = self._constants.quantization(self.grids.subgraph.tensors[number], axis, DType.INT8)
        return Form(DType.INT8, quantization, narrow=True)

    def _add_bias(self, operator: ProgramOperator, rule: Rule, forms: dict[int, Form | None]) -> None:
        """The bias has the scale of the products; where it would not fit into 32 bits, the weights' steps are made larger."""
        slots = {rule.role(slot): slot for slot, number in enumerate(operator.inputs) if number >= 0}
        if Role.BIAS not in slots:
            return
        data, weight = forms[slots[Role.DATA]], forms[slots[Role.WEIGHT]]
        assert data is not None and weight is not None and weight.quantization is not None
        bias = self.grids.subgraph.tensors[operator.inputs[slots[Role.BIAS]]]
        dtype = DType.INT64 if self.scheme.mode is Mode.INT16X8 else DType.INT32
        scales = np.asarray(weight.quantization.scales, np.float32)
        if dtype is DType.INT32:
            scales = self._widened(scales, bias, data.scale)
            points, axis = weight.quantization.zero_points, weight.quantization.axis
            forms[slots[Role.WEIGHT]] = Form(DType.INT8, Quantization(tuple(map(float, scales)), points, axis), narrow=True)
        products = np.asarray(scales * np.float32(data.scale), np.float32)
        axis = None if weight.quantization.axis is None else 0
        forms[slots[Role.BIAS]] = Form(dtype, Quantization(tuple(map(float, products)), (0,) * products.size, axis))

    def _widened(self, scales: np.ndarray, bias: ProgramTensor, data_scale: float) -> np.ndarray:
        numbers = self.program.content(bias).array().reshape(-1)
        if scales.size == 1:
            numbers = np.max(np.abs(numbers), keepdims=True, initial=0.0)
        return widen_for_bias(scales, numbers, data_scale, grid_of(DType.INT32))

    def _name(self, number: int) -> str:
        return self.grids.subgraph.tensors[number].name


_THROUGH = Rule((Role.DATA,), wide=True)
"""Of an operator that falls away."""
