"""Plan -> program: each operator reads and writes tensors in the forms of the plan, with conversions where forms meet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tensorferry.errors import GraphError
from tensorferry.ir import Shape
from tensorferry.program import Code, Program, ProgramOperator, ProgramTensor, Subgraph
from tensorferry.quant.maths import grid_of
from tensorferry.quant.plan import Form, OperatorPlan, Plan
from tensorferry.quant.spec import ASYMMETRIC_INPUTS, WEIGHTS, Kinds, dequantize_version, quantize_version, version_of
from tensorferry.quant.weights import HalfTensor, QuantizedTensor
from tensorferry.tensor import DType, Tensor
from tensorferry.wire import tflite_schema


def apply_plan(program: Program, plan: Plan) -> Program:
    """A new program; the given one stays as it is. Weights are recipes over those of the given one."""
    made = Program(entries=list(program.entries), buffers=list(program.buffers))
    pool = _Pool(program, made)
    by_place = {(each.subgraph, each.place): each for each in plan.operators}
    for number, subgraph in enumerate(program.subgraphs):
        planned = {place: each for (owner, place), each in by_place.items() if owner == number}
        ends = plan.inputs.get(number, ()), plan.outputs.get(number, ())
        made.subgraphs.append(_Rewriting(pool, subgraph, planned).run(*ends))
    drop_unused(made)
    for subgraph in made.subgraphs:
        _take_free_names(subgraph)
    return made


def _take_free_names(subgraph: Subgraph) -> None:
    """A constant that is nowhere float any more has its own name."""
    taken = {tensor.name for tensor in subgraph.tensors}
    for tensor in subgraph.tensors:
        name = tensor.name.rpartition(f"/{tensor.dtype}")[0]
        if tensor.buffer and tensor.quantization is not None and name and name not in taken:
            taken.add(name)
            tensor.name = name


class _Pool:
    """Buffers and codes that the subgraphs share."""

    def __init__(self, program: Program, made: Program) -> None:
        self.program = program
        self.made = made
        self._codes: dict[Code, int] = {}
        self._stored: dict[tuple[int, Shape, Form], int] = {}

    def code(self, code: Code) -> int:
        if code not in self._codes:
            self._codes[code] = len(self.made.codes)
            self.made.codes.append(code)
        return self._codes[code]

    def stored(self, tensor: ProgramTensor, form: Form) -> int:
        """The buffer with a constant's elements in another form."""
        key = (tensor.buffer, tensor.shape, form)
        if key not in self._stored:
            self._stored[key] = len(self.made.buffers)
            self.made.buffers.append(_store(self.program.content(tensor), tensor, form))
        return self._stored[key]


def _store(content: Tensor, tensor: ProgramTensor, form: Form) -> Tensor:
    if form.dtype is DType.FLOAT16:
        return HalfTensor(content)
    if form.quantization is None:
        raise GraphError(f"the constant '{tensor.name}' is to be {form.dtype} without a scale")
    return QuantizedTensor(content, form.quantization, grid_of(form.dtype, narrow=form.narrow))


class _Rewriting:
    """One subgraph. Tensors keep their numbers, new ones follow; what nobody reads any more is dropped in the end."""

    def __init__(self, pool: _Pool, old: Subgraph, planned: Mapping[int, OperatorPlan]) -> None:
        self._pool = pool
        self._old = old
        self._planned = planned
        self._new = Subgraph(old.name, [replace(tensor) for tensor in old.tensors])
        self._forms: dict[int, Form] = {}  # of what is computed or fed, where it is not float
        self._instead: dict[int, int] = {}  # of the outputs of operators that fall away: what is read in their place
        self._converted: dict[tuple[int, Form | None], int] = {}
        self._names = {tensor.name for tensor in old.tensors}

    def run(self, inputs: Sequence[Form | None], outputs: Sequence[Form | None]) -> Subgraph:
        self._new.inputs = self._old.inputs
        for number, form in zip(self._old.inputs, inputs, strict=False):
            if form is not None:
                self._store_as(number, form)
        for place, operator in enumerate(self._old.operators):
            self._rewrite(operator, self._planned.get(place))
        wanted = list(outputs) or [None] * len(self._old.outputs)
        self._new.outputs = tuple(self._output(number, form) for number, form in zip(self._old.outputs, wanted, strict=True))
        return self._new

    def _rewrite(self, operator: ProgramOperator, plan: OperatorPlan | None) -> None:
        if plan is not None and plan.removed:
            self._instead[operator.outputs[0]] = self._want(operator.inputs[0], plan.inputs[0])
            return
        forms = plan.inputs if plan is not None and plan.inputs else (None,) * len(operator.inputs)
        made = plan.outputs if plan is not None and plan.outputs else (None,) * len(operator.outputs)
        read = tuple(self._want(number, form) for number, form in zip(operator.inputs, forms, strict=True))
        for number, form in zip(operator.outputs, made, strict=True):
            if form is not None:
                self._store_as(number, form)
        code = self._pool.program.codes[operator.code]
        options = dict(operator.options)
        if not code.custom and operator.outputs:  # what gives nothing (ASSIGN_VARIABLE, CALL_ONCE) has one version
            tensors = self._new.tensors
            signature = _Signature(code.name, [tensors[each] if each >= 0 else None for each in read], tensors[operator.outputs[0]])
            code = code._replace(version=max(code.version, signature.version))
            options |= signature.options
        self._new.operators.append(replace(operator, code=self._pool.code(code), inputs=read, options=options))

    def _read(self, number: int) -> int:
        return self._instead.get(number, number)

    def _store_as(self, number: int, form: Form) -> None:
        tensor = self._new.tensors[number]
        if tensor.dtype is not DType.FLOAT32:
            raise GraphError(f"'{tensor.name}' is {tensor.dtype}, and cannot be stored as {form.dtype}")
        tensor.dtype, tensor.quantization = form.dtype, form.quantization
        self._forms[number] = form

    def _want(self, number: int, form: Form | None) -> int:
        """The tensor, in this form."""
        if number < 0:
            return number
        number = self._read(number)
        if number < len(self._old.tensors) and self._old.tensors[number].buffer:
            return number if form is None else self._constant(number, form)
        have = self._forms.get(number)
        if _same(have, form):
            return number
        key = (number, form)
        if key not in self._converted:
            self._converted[key] = self._add(number, form)
            source = DType.FLOAT32 if have is None else have.dtype
            self._convert(number, self._converted[key], source, form)
            if form is not None:
                self._forms[self._converted[key]] = form
        return self._converted[key]

    def _constant(self, number: int, form: Form) -> int:
        """A constant in another form; where it is unpacked, the float numbers that come of it."""
        key = (number, form)
        if key not in self._converted:
            tensor = self._old.tensors[number]
            stored = self._add(number, form)
            self._new.tensors[stored].buffer = self._pool.stored(tensor, form)
            if form.unpacked:
                unpacked = self._add(number, None)
                self._convert(stored, unpacked, form.dtype, None)
                stored = unpacked
            self._converted[key] = stored
        return self._converted[key]

    def _convert(self, source: int, result: int, before: DType, after: Form | None) -> None:
        if after is None:
            quantization = self._new.tensors[source].quantization
            per_channel = quantization is not None and quantization.axis is not None
            code = Code("DEQUANTIZE", dequantize_version(before, per_channel=per_channel))
        else:
            code = Code("QUANTIZE", quantize_version(before, after.dtype))
        table = tflite_schema.operator(code.name).options
        self._new.operators.append(ProgramOperator(self._pool.code(code), (source,), (result,), table, {}))

    def _add(self, number: int, form: Form | None) -> int:
        """A new tensor of the same shape."""
        like = self._new.tensors[number]
        dtype, quantization = (DType.FLOAT32, None) if form is None else (form.dtype, form.quantization)
        self._new.tensors.append(ProgramTensor(self._unique(f"{like.name}/{dtype}"), dtype, like.shape, 0, quantization))
        return len(self._new.tensors) - 1

    def _unique(self, name: str) -> str:
        unique, count = name, 0
        while unique in self._names:
            count += 1
            unique = f"{name}_{count}"
        self._names.add(unique)
        return unique

    def _output(self, number: int, form: Form | None) -> int:
        """The tensor of an output; a conversion takes over its name."""
        result = self._want(number, form)
        if result != number and result not in self._old.inputs:
            tensors = self._new.tensors
            tensors[number].name, tensors[result].name = tensors[result].name, tensors[number].name
        return result


def _same(one: Form | None, other: Form | None) -> bool:
    if one is None or other is None:
        return one is other
    return one.dtype is other.dtype and one.quantization == other.quantization


@dataclass(frozen=True, slots=True)
class _Signature:
    """An operator with its tensors: what its version and its options follow from."""

    name: str
    inputs: Sequence[ProgramTensor | None]
    output: ProgramTensor
    options: dict[str, Any] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        if self.name in ASYMMETRIC_INPUTS and self._hybrid:
            self.options["asymmetric_quantize_inputs"] = True
        if self.name in ("ADD", "SUB") and self._data.dtype is DType.INT16 and self._data.quantization:
            self.options["pot_scale_int16"] = False

    @property
    def _data(self) -> ProgramTensor:
        """The tensor whose type tells how the operator computes: not a constant's, if there is another."""
        weights = WEIGHTS[self.name].slots if self.name in WEIGHTS else ()
        data = [each for place, each in enumerate(self.inputs) if each is not None and place not in weights]
        quantised = [each for each in data if each.quantization is not None]
        floats = [each for each in data if each.dtype is DType.FLOAT32]
        return next(iter(quantised or floats or data), self.output)

    @property
    def _weight(self) -> ProgramTensor | None:
        slots = WEIGHTS[self.name].slots if self.name in WEIGHTS else ()
        found = (self.inputs[slot] for slot in slots if slot < len(self.inputs))
        return next((each for each in found if each is not None and each.quantization is not None), None)

    @property
    def _hybrid(self) -> bool:
        return self._weight is not None and self._data.dtype is DType.FLOAT32

    @property
    def version(self) -> int:
        data, weight = self._data, self._weight
        if data.dtype is not DType.FLOAT32 and data.quantization is None:
            return 1  # numbers that are whole by themselves, of which the program knows
        several = weight is not None and weight.quantization is not None and weight.quantization.axis is not None
        return version_of(self.name, Kinds(data.dtype, None if weight is None else weight.dtype, several, self._enlarges))

    @property
    def _enlarges(self) -> bool:
        scales = [_scale(each) for each in (*self.inputs, self.output) if each is not None]
        return self.name == "MUL" and all(scales) and scales[0] * scales[1] >= scales[2]


def _scale(tensor: ProgramTensor) -> float:
    return 0.0 if tensor.quantization is None else tensor.quantization.scales[0]


# -- tidying -------------------------------------------------------------------------------------------------------


def drop_unused(program: Program) -> None:
    """Take out tensors that no operator and no end of a subgraph names, and buffers and codes that nothing refers to."""
    for subgraph in program.subgraphs:
        used = {*subgraph.inputs, *subgraph.outputs}
        used.update(number for each in subgraph.operators for number in (*each.inputs, *each.outputs) if number >= 0)
        numbers = {old: new for new, old in enumerate(sorted(used))} | {-1: -1}
        subgraph.tensors = [subgraph.tensors[old] for old in sorted(used)]
        subgraph.inputs, subgraph.outputs = (tuple(numbers[each] for each in ends) for ends in (subgraph.inputs, subgraph.outputs))
        for each in subgraph.operators:
            each.inputs, each.outputs = (tuple(numbers[number] for number in ends) for ends in (each.inputs, each.outputs))
    kept = sorted({0, *(tensor.buffer for subgraph in program.subgraphs for tensor in subgraph.tensors)})
    places = {old: new for new, old in enumerate(kept)}
    program.buffers = [program.buffers[old] for old in kept]
    for subgraph in program.subgraphs:
        for tensor in subgraph.tensors:
            tensor.buffer = places[tensor.buffer]
