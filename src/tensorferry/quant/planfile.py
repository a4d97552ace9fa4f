"""A plan as JSON, and whether a plan that was read fits a program: what is not checked here would be LiteRT's to stumble over."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from tensorferry.errors import OptionError
from tensorferry.ir import Quantization
from tensorferry.program import Program, ProgramOperator, ProgramTensor
from tensorferry.quant.correcting import Correction
from tensorferry.quant.maths import grid_of
from tensorferry.quant.plan import Form, OperatorPlan, Plan
from tensorferry.quant.scheme import Mode
from tensorferry.quant.spec import PICKED, RULES, WEIGHTS, Bond
from tensorferry.tensor import DType

FORMAT = "tensorferry quantisation plan"
VERSION = 1
MOST_BYTES = 256 << 20
_STORED = frozenset({DType.FLOAT16, DType.INT4, DType.INT8, DType.UINT8, DType.INT16, DType.INT32, DType.INT64})


# -- writing -------------------------------------------------------------------------------------------------------


def plan_json(plan: Plan, program: Program) -> str:
    """The plan for this program, one line for each operator: what it is, why, and the tensors that are not as they were."""
    head = {
        "format": FORMAT,
        "version": VERSION,
        "mode": plan.mode,
        "corrections": list(plan.corrections),
        "notices": list(plan.notices),
        "counts": [len(subgraph.operators) for subgraph in program.subgraphs],
        "inputs": {str(number): [_form(form, None) for form in forms] for number, forms in plan.inputs.items()},
        "outputs": {str(number): [_form(form, None) for form in forms] for number, forms in plan.outputs.items()},
    }
    lines = ",\n  ".join(json.dumps(_entry(each, program), allow_nan=False) for each in plan.operators)
    start = json.dumps(head, indent=1, allow_nan=False).removesuffix("\n}")
    return start + ',\n "operators": [\n  ' + lines + "\n ]\n}\n"


def _entry(each: OperatorPlan, program: Program) -> dict[str, Any]:
    subgraph = program.subgraphs[each.subgraph]
    operator = subgraph.operators[each.place]
    entry: dict[str, Any] = {"subgraph": each.subgraph, "place": each.place, "operator": each.operator, "name": each.name}
    entry["why"] = each.why
    for role, numbers, forms in (("inputs", operator.inputs, each.inputs), ("outputs", operator.outputs, each.outputs)):
        if any(form is not None for form in forms):
            names = [subgraph.tensors[number].name if number >= 0 else None for number in numbers]
            entry[role] = [_form(form, name) for form, name in zip(forms, names, strict=True)]
    if each.removed:
        entry["removed"] = True
    return entry


def _form(form: Form | None, tensor: str | None) -> dict[str, Any] | None:
    if form is None:
        return None
    found: dict[str, Any] = {} if tensor is None else {"tensor": tensor}
    found["dtype"] = form.dtype.value
    if form.quantization is not None:
        found["scale"] = list(form.quantization.scales)
        points = form.quantization.zero_points
        found["zero_point"] = points[0] if len(set(points)) == 1 else list(points)
        if form.quantization.axis is not None:
            found["axis"] = form.quantization.axis
    return found | {name: True for name in ("unpacked", "narrow") if getattr(form, name)}


# -- reading -------------------------------------------------------------------------------------------------------


def read_plan(path: Path, program: Program) -> Plan:
    """The plan in a file, checked against the program; OptionError for a file that is none, or a plan for another model."""
    try:
        if path.stat().st_size > MOST_BYTES:
            _refuse(path, f"it is larger than {MOST_BYTES >> 20} MiB")
        content = json.loads(path.read_bytes(), parse_constant=lambda name: _refuse(path, f"JSON has no {name}"))
    except OSError as error:
        raise OptionError(f"the plan '{path}' cannot be read", why=error.strerror or str(error)) from error
    except (ValueError, RecursionError) as error:
        raise OptionError(f"'{path}' is no plan", why=str(error)[:200], remedy="give what --plan-out has written") from error
    return _Reading(path, program).read(content)


def _refuse(path: Path, why: str) -> NoReturn:
    raise OptionError(
        f"'{path}' is no plan that can be followed", why=why, remedy="give what --plan-out has written for this model"
    )


class _Reading:
    """Turns checked JSON into a plan."""

    def __init__(self, path: Path, program: Program) -> None:
        self._path = path
        self._program = program

    def read(self, content: Any) -> Plan:
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            self._fail("it does not say that it is one")
        if content.get("version") != VERSION:
            self._fail(f"it is of version {content.get('version')!r}, and {VERSION} is what is read")
        mode = content.get("mode")
        if mode not in [each.value for each in Mode]:
            self._fail(f"its mode is {mode!r}")
        counts = [len(subgraph.operators) for subgraph in self._program.subgraphs]
        if content.get("counts") != counts:
            self._fail(f"it is for a model of {content.get('counts')!r} operators; this one has {counts}")
        corrections = self._texts(content.get("corrections", []), "corrections")
        if not set(corrections) <= {each.value for each in Correction}:
            self._fail(f"it names the corrections {', '.join(corrections)}")
        operators = content.get("operators")
        if not isinstance(operators, list):
            self._fail("it lists no operators")
        entries = tuple(self._entry(each, number) for number, each in enumerate(operators))
        if len({(each.subgraph, each.place) for each in entries}) != len(entries):
            self._fail("it names an operator twice")
        ends = [self._ends(content.get(role, {}), role) for role in ("inputs", "outputs")]
        return Plan(mode, entries, ends[0], ends[1], tuple(self._texts(content.get("notices", []), "notices")), tuple(corrections))

    def _entry(self, entry: Any, number: int) -> OperatorPlan:
        where = f"operator {number + 1} of the plan"
        if not isinstance(entry, dict):
            self._fail(f"{where} is no record")
        owner, place = self._number(entry.get("subgraph")), self._number(entry.get("place"))
        if not self._has(owner, place):
            self._fail(f"{where} stands at {owner}, {place}, where the model has none")
        subgraph = self._program.subgraphs[owner]
        operator = subgraph.operators[place]
        kind = self._program.codes[operator.code].name
        name = subgraph.tensors[operator.outputs[0]].name if operator.outputs else ""
        if (entry.get("operator"), entry.get("name")) != (kind, name):
            self._fail(f"{where} is {entry.get('operator')} '{entry.get('name')}'; the model has {kind} '{name}' there")
        removed = entry.get("removed", False) is True
        inputs = self._forms(entry.get("inputs"), [self._tensor(owner, each) for each in operator.inputs], where)
        outputs = self._forms(entry.get("outputs"), [self._tensor(owner, each) for each in operator.outputs], where)
        why = entry.get("why", "")
        made = OperatorPlan(owner, place, kind, name, why if isinstance(why, str) else "", inputs, outputs, removed)
        self._check(made, operator, where)
        return made

    def _number(self, given: Any) -> int:
        """A number of the file; -1 for what is none."""
        return given if type(given) is int else -1

    def _has(self, subgraph: int, place: int) -> bool:
        if min(subgraph, place) < 0:
            return False
        return subgraph < len(self._program.subgraphs) and place < len(self._program.subgraphs[subgraph].operators)

    def _tensor(self, subgraph: int, number: int) -> ProgramTensor | None:
        return self._program.subgraphs[subgraph].tensors[number] if number >= 0 else None

    def _forms(self, given: Any, tensors: Sequence[ProgramTensor | None], where: str) -> tuple[Form | None, ...]:
        if given is None:
            return ()
        if not isinstance(given, list) or len(given) != len(tensors):
            self._fail(f"{where} does not have {len(tensors)} tensors")
        return tuple(self._form(each, tensor, where) for each, tensor in zip(given, tensors, strict=True))

    def _form(self, given: Any, tensor: ProgramTensor | None, where: str) -> Form | None:
        if given is None:
            return None
        if not isinstance(given, dict) or given.get("dtype") not in [each.value for each in _STORED]:
            self._fail(f"{where} stores a tensor as {given.get('dtype')!r}" if isinstance(given, dict) else f"{where} has no forms")
        if tensor is None or tensor.dtype is not DType.FLOAT32 or tensor.variable:
            self._fail(f"{where} stores a tensor anew that is not float")
        if "tensor" in given and given["tensor"] != tensor.name:
            self._fail(f"{where} reads or gives '{given['tensor']}'; in the model it is '{tensor.name}'")
        dtype, constant = DType(given["dtype"]), bool(tensor.buffer)
        unpacked, narrow = (given.get(name, False) is True for name in ("unpacked", "narrow"))
        if not constant and (unpacked or dtype in (DType.FLOAT16, DType.INT4)):
            self._fail(f"{where} stores '{tensor.name}', which is computed, as {dtype}")
        if dtype is DType.FLOAT16:
            return Form(dtype, unpacked=True)
        return Form(dtype, self._quantization(given, tensor, dtype, where), unpacked, narrow)

    def _quantization(self, given: Mapping[str, Any], tensor: ProgramTensor, dtype: DType, where: str) -> Quantization:
        scales, points, axis = given.get("scale"), given.get("zero_point", 0), given.get("axis")
        numbers = isinstance(scales, list) and all(type(each) in (int, float) for each in scales)
        if not numbers or not scales or not all(math.isfinite(each) and 0 < each < 3e38 for each in scales):
            self._fail(f"{where} has no scale for '{tensor.name}'")
        points = points if isinstance(points, list) else [points] * len(scales)
        grid = grid_of(dtype)
        if len(points) != len(scales) or not all(type(each) is int and grid.low <= each <= grid.high for each in points):
            self._fail(f"{where} has a zero point for '{tensor.name}' that {dtype} does not have")
        shape = tensor.shape or ()
        if axis is None and len(scales) == 1:
            return Quantization((float(scales[0]),), (points[0],))
        along = type(axis) is int and 0 <= axis < len(shape) and shape[axis] == len(scales)
        if not along or not tensor.buffer or any(points):
            self._fail(f"{where} has {len(scales)} scales for '{tensor.name}' along axis {axis}")
        return Quantization(tuple(map(float, scales)), tuple(points), axis)

    def _check(self, made: OperatorPlan, operator: ProgramOperator, where: str) -> None:
        """Only what the kernels take: grids that they share or take for given, operators that compute with whole numbers."""
        if made.removed:
            if made.operator != "FAKE_QUANT" or len(made.inputs) != 1 or made.inputs != made.outputs or made.inputs[0] is None:
                self._fail(f"{where} falls away, and is no FAKE_QUANT on a grid")
            return
        rule = RULES.get(made.operator)
        if made.computes_whole and rule is None:
            self._fail(f"{where}: {made.operator} has no integer kernel")
        for slot, form in enumerate(made.inputs):
            known = form is None or form.unpacked or made.computes_whole or (rule is not None and rule.whole_outputs)
            if not known and not (made.operator in PICKED or (made.operator in WEIGHTS and slot in WEIGHTS[made.operator].slots)):
                self._fail(
                    f"{where}: {made.operator} does not read {form.dtype if form else ''} numbers while it computes in float"
                )
        if rule is None or not made.computes_whole:
            return
        if len(made.outputs) != len(operator.outputs) or any(form is None for form in made.outputs):
            self._fail(f"{where} gives some numbers whole and others not")
        grids = {(form.dtype, form.quantization) for form in made.outputs if form is not None}
        if rule.bond is not Bond.NONE:
            data = [form for slot, form in enumerate(made.inputs) if rule.role(slot) == "data" and operator.inputs[slot] >= 0]
            grids |= {(form.dtype, form.quantization) if form is not None else (DType.FLOAT32, None) for form in data}
            if len(grids) != 1:
                self._fail(f"{where}: what {made.operator} reads and gives is on one grid")
        fixed = rule.fixed or {}
        for dtype, quantization in grids:
            if dtype in fixed and quantization != Quantization((fixed[dtype][0],), (fixed[dtype][1],)):
                self._fail(
                    f"{where}: the results of {made.operator} have the scale {fixed[dtype][0]} and zero point {fixed[dtype][1]}"
                )

    def _ends(self, given: Any, role: str) -> dict[int, tuple[Form | None, ...]]:
        if not isinstance(given, dict):
            self._fail(f"its {role} are no record")
        found = {}
        for key, forms in given.items():
            number = int(key) if key.isascii() and key.isdigit() and len(key) < 6 else -1
            if not 0 <= number < len(self._program.subgraphs):
                self._fail(f"its {role} are of a subgraph '{key}', which is not there")
            numbers = getattr(self._program.subgraphs[number], role)
            found[number] = self._forms(forms, [self._tensor(number, each) for each in numbers], f"its {role}") if forms else ()
        return found

    def _texts(self, given: Any, what: str) -> list[str]:
        if not isinstance(given, list) or not all(isinstance(each, str) for each in given):
            self._fail(f"its {what} are no list of texts")
        return given

    def _fail(self, why: str) -> NoReturn:
        _refuse(self._path, why)
