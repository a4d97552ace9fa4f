"""What lasts from one call to the next: variables, and tables, which the file's own subgraphs fill before the first call."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tensorferry.ir import Graph, Value
from tensorferry.readers.computing import compute_constant
from tensorferry.readers.tables import FIRST_NUMBER
from tensorferry.readers.tflite.building import Session, SubgraphReader
from tensorferry.readers.tflite.model import OperatorRecord, SubgraphRecord
from tensorferry.readers.tflite.steps import Rule, Step
from tensorferry.tensor import DType, FilledTensor, Tensor

_UNNAMED = "variable"


def find_first_values(session: Session) -> None:
    """Run what the file does once before all else, in the reader: it fills variables and tables with constants."""
    model = session.model
    once: set[int] = set()
    for record in model.subgraphs():
        once.update(each.options.number("init_subgraph_index") for each in record.operators if each.name == "CALL_ONCE")
    for record in model.subgraphs():
        if record.number not in once:
            session.assigned.update(_assigned(record))
    for number in sorted(once):
        with session.inside(number) as record:
            reader = SubgraphReader(session, record, Graph(record.name), initial=True)
            reader.add_inputs({})
            reader.run()


def _assigned(record: SubgraphRecord) -> set[str]:
    """The variables that a subgraph changes; "" for one that is handed to it."""
    handles = {each.outputs[0]: _shared_name(each) for each in record.operators if each.name == "VAR_HANDLE" and each.outputs}
    return {handles.get(each.inputs[0], "") for each in record.operators if each.name == "ASSIGN_VARIABLE" and each.inputs}


def _shared_name(operator: OperatorRecord) -> str:
    return operator.options.text("shared_name") or _UNNAMED


# -- variables -----------------------------------------------------------------------------------------------------


def _var_handle(step: Step) -> Value:
    reader, name = step.reader, _shared_name(step.record)
    if name not in reader.handles:
        first = reader.session.first_values.get(name)
        dtype = DType.UNKNOWN if first is None else first.dtype
        attrs = {"dtype": dtype, "shape": None if first is None else first.shape, "shared_name": name, "container": ""}
        node = step.make_node("VarHandleOp", **attrs)
        reader.graph.rename(node, reader.graph.unique_name(reader.node_name(name)))
        reader.handles[name] = node.outputs[0]
        if first is not None:
            reader.graph.variables[node.name] = first
    return reader.handles[name]


def _name_of(value: Value) -> str:
    """The variable that a handle is of; "" when it comes from outside."""
    return str(value.producer.get("shared_name") or "")


def _read_variable(step: Step) -> Value:
    session, handle, tensor = step.reader.session, step.input(0), step.output()
    name = _name_of(handle)
    fixed = name in session.first_values and not session.assigned & {name, ""}
    if name and fixed:
        return step.constant(session.first_values[name], name)
    if name and not step.reader.main:
        raise step.refusal(f"it reads the variable '{name}', which a run changes, inside of a branch or a loop")
    if handle.producer.op == "VarHandleOp" and handle.producer.attrs["dtype"] is DType.UNKNOWN:
        handle.producer.attrs["dtype"] = tensor.dtype
    return step.make("ReadVariableOp", handle, dtype=tensor.dtype)


def _assign_variable(step: Step) -> Sequence[Value]:
    session, handle, value = step.reader.session, step.input(0), step.stored(1)
    name = _name_of(handle)
    if step.reader.initial:
        constant = compute_constant(value)
        if not name or constant is None:
            raise step.refusal("the first value of a variable is computed in a way that is not followed")
        session.first_values[name] = constant
        return ()
    if not name or not step.reader.main:
        raise step.refusal("it changes a variable inside of a branch or a loop")
    if handle.producer.attrs["dtype"] is DType.UNKNOWN:
        handle.producer.attrs["dtype"] = value.dtype
    step.reader.effects.append(step.make_node("AssignVariableOp", handle, value, dtype=value.dtype).name)
    return ()


# -- state of an operator ------------------------------------------------------------------------------------------


def read_state(step: Step, index: int) -> Value:
    """What an operator kept in a tensor of its own the last time; zeros at first."""
    tensor = step.tensor(index)
    reader = step.reader
    if not tensor.variable or reader.is_known(tensor.number):
        return step.input(index)
    if not reader.main:
        raise step.refusal("it keeps a state inside of a branch or a loop")
    shape = [size for size in tensor.shape or () if isinstance(size, int)]
    if len(shape) != len(tensor.shape or ()):
        raise step.refusal("the size of its state is not known")
    name = reader.node_name(tensor.name)
    first: Tensor = FilledTensor(np.zeros(1), DType.FLOAT32, shape)
    attrs = {"dtype": DType.FLOAT32, "shape": tuple(shape), "shared_name": name, "container": ""}
    node = step.make_node("VarHandleOp", **attrs)
    reader.graph.rename(node, reader.graph.unique_name(name))
    reader.graph.variables[node.name] = first
    reader.handles[name] = node.outputs[0]
    return step.make("ReadVariableOp", node.outputs[0], dtype=DType.FLOAT32)


def write_state(step: Step, index: int, value: Value) -> None:
    """Keep a value for the next call, if the tensor lasts."""
    tensor = step.tensor(index)
    handle = step.reader.handles.get(step.reader.node_name(tensor.name))
    if tensor.variable and handle is not None:
        rounded = step.rounded(value, tensor.quantization, tensor.dtype)
        step.reader.effects.append(step.make_node("AssignVariableOp", handle, rounded, dtype=DType.FLOAT32).name)


# -- tables --------------------------------------------------------------------------------------------------------


def _hashtable(step: Step) -> Value:
    options = step.options
    kinds = {f"{role}_dtype": DType(options.member(f"{role}_dtype").lower()) for role in ("key", "value")}
    return step.make("HashTableV2", shared_name=f"table_{options.number('table_id')}", number=options.number("table_id"), **kinds)


def _number_of(step: Step) -> int:
    number = step.input(0).producer.get("number")
    if not isinstance(number, int):
        raise step.refusal("its table comes from outside of its subgraph")
    return number


def _import(step: Step) -> Sequence[Value]:
    contents = [compute_constant(step.input(index)) for index in (1, 2)]
    keys, values = contents
    if keys is None or values is None:
        raise step.refusal("the table is filled with what is computed while the model runs")
    step.reader.session.tables.setdefault(_number_of(step), (keys, values))
    return ()


def _contents(step: Step) -> tuple[Tensor, Tensor]:
    found = step.reader.session.tables.get(_number_of(step))
    if found is None:
        raise step.refusal("its table is empty: nothing in the file fills it")
    return found


def _find(step: Step) -> Value:
    keys, values = (step.constant(part, role) for part, role in zip(_contents(step), ("table_keys", "table_values"), strict=True))
    number = FIRST_NUMBER + 2 * (_number_of(step) % FIRST_NUMBER)
    return step.make("TableLookup", step.input(1), step.input(2), keys, values, table=number)


def _size(step: Step) -> Value:
    return step.constant(np.asarray([_contents(step)[0].size], np.int64), "size")


RULES: dict[str, Rule] = {
    "VAR_HANDLE": _var_handle,
    "READ_VARIABLE": _read_variable,
    "ASSIGN_VARIABLE": _assign_variable,
    "HASHTABLE": _hashtable,
    "HASHTABLE_IMPORT": _import,
    "HASHTABLE_FIND": _find,
    "HASHTABLE_SIZE": _size,
}
