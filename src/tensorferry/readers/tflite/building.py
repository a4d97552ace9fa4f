"""Subgraphs to Graphs: values by the number of their tensor, each operator by the rule of its kind.

A quantised tensor is float32 in the graph. What is computed is brought onto the tensor's grid by FakeQuantWithMinMaxVars, as the
file's own kernels would round it; constants are dequantised as they are read from the file. The model's inputs and outputs
stay as the file has them.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from tensorferry.ir import Graph, Node, Origin, Quantization, Typed, Value
from tensorferry.ops.spec import MISFITS
from tensorferry.readers.tflite.constants import DequantizedTensor, read_constant
from tensorferry.readers.tflite.model import LiteModel, OperatorRecord, SubgraphRecord, TensorRecord
from tensorferry.readers.tflite.steps import Rule, Step
from tensorferry.readers.typing import add_tolerantly, name_dims
from tensorferry.tensor import Array, DType, FilledTensor, Tensor
from tensorferry.wire.protobuf import malformed

log = logging.getLogger(__name__)

MOST_NODES = 1 << 16
"""Operators read while subgraphs are put in the place of their calls: more is a few calling each other again and again."""

MOST_DEPTH = 32

_LIMITS = {DType.INT8: (-128, 127), DType.UINT8: (0, 255), DType.INT16: (-32768, 32767), DType.INT4: (-8, 7)}
"""Of the types whose whole numbers stand for real ones wherever a scale is given."""

MOVES = frozenset(
    {
        *("RESHAPE", "TRANSPOSE", "SQUEEZE", "EXPAND_DIMS", "SLICE", "STRIDED_SLICE", "GATHER", "GATHER_ND", "SPLIT", "SPLIT_V"),
        *("UNPACK", "TILE", "REVERSE_V2", "REVERSE_SEQUENCE", "SPACE_TO_DEPTH", "DEPTH_TO_SPACE", "BATCH_TO_SPACE_ND"),
        *("SPACE_TO_BATCH_ND", "BROADCAST_TO", "MAX_POOL_2D", "REDUCE_MAX", "REDUCE_MIN", "PAD", "MIRROR_PAD", "TOPK_V2"),
        *("RESIZE_NEAREST_NEIGHBOR", "DYNAMIC_UPDATE_SLICE", "SCATTER_ND", "WHILE", "IF", "CALL", "READ_VARIABLE"),
    }
)
"""Operators whose results are elements of their first input, or zero."""

_CLAMPING = frozenset(
    {"ADD", "SUB", "MUL", "DIV", "CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "CONV_3D", "FULLY_CONNECTED", "BATCH_MATMUL"}
)
"""Operators that an activation may stand behind."""

_NAME = re.compile(r"[^A-Za-z0-9_.\\/>-]")


@dataclass(slots=True)
class Session:
    """What all subgraphs of one file share while it is read."""

    model: LiteModel
    rules: Mapping[str, Rule]
    custom: Callable[[Step], Value | Sequence[Value]]
    first_values: dict[str, Tensor] = field(default_factory=dict)
    """Variables by name, as the file's own subgraphs of the first call fill them."""
    tables: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)
    assigned: set[str] = field(default_factory=set)
    """Variables that a run changes."""
    notices: list[str] = field(default_factory=list)
    plain: bool = False
    """Nothing is rounded to the steps of quantised tensors, and quantised inputs and outputs are real numbers."""
    open: list[int] = field(default_factory=list)
    operators: int = 0

    @contextmanager
    def inside(self, number: int) -> Iterator[SubgraphRecord]:
        """A subgraph is being read; SourceError when it is so already: it would never end."""
        if number in self.open or len(self.open) > MOST_DEPTH:
            raise malformed(f"subgraph {number} calls itself", self.model.view.position)
        self.open.append(number)
        try:
            yield self.model.subgraph(number)
        finally:
            self.open.pop()

    def tell(self, notice: str) -> None:
        if notice not in self.notices:
            self.notices.append(notice)


class SubgraphReader:
    """Reads one subgraph into a graph. `main`: it is the model itself and not a branch or body."""

    def __init__(
        self,
        session: Session,
        record: SubgraphRecord,
        graph: Graph,
        prefix: str = "",
        *,
        main: bool = False,
        initial: bool = False,
        called_by: SubgraphReader | None = None,
    ) -> None:
        self.session = session
        self.record = record
        self.graph = graph
        self.prefix = prefix
        self.whole = main
        """Its inputs and outputs are the model's."""
        self.main: bool = main or (called_by is not None and called_by.main)
        """Its operators run exactly once in a call of the model."""
        self.initial = initial
        self.effects: list[str] = [] if called_by is None else called_by.effects
        """Nodes that the outputs have to wait for."""
        self.handles: dict[str, Value] = {} if called_by is None else called_by.handles
        """Of variables, by name."""
        self._values: dict[int, Value] = {}
        self._grids: dict[Value, tuple[Quantization, DType]] = {}
        self._stored: dict[int, Value] = {}

    # -- inputs and outputs ----------------------------------------------------------------------------------------

    def add_inputs(self, names: Mapping[int, str]) -> list[Value]:
        """Placeholders for the inputs, as the file has them; what operators read of a quantised one are real numbers."""
        ranked = any(tensor.has_rank for tensor in self.record.tensors)
        made = []
        for number in self.record.inputs:
            tensor = self.record.tensors[number]
            name = self.node_name(names.get(number) or tensor.name)
            shape = None if ranked and not tensor.has_rank and not tensor.shape else name_dims(tensor.shape, name)
            as_kept = (self.whole and not self.session.plain) or tensor.dtype not in _LIMITS or not tensor.quantized
            dtype = tensor.dtype if as_kept else DType.FLOAT32
            attrs = {"dtype": dtype, "shape": shape}
            value = self.graph.add("Placeholder", (), attrs, typed=[Typed(dtype, shape)], name=name).output
            made.append(value)
            self.bind(number, value)
        return made

    def bind(self, number: int, value: Value) -> None:
        """Let a tensor be this value; whole numbers of a quantised tensor are made real."""
        tensor = self.record.tensors[number]
        quantization = tensor.quantization
        if quantization is not None and tensor.dtype in _LIMITS and value.dtype is tensor.dtype:
            self._stored[number] = value
            value.quantization = quantization
            value = self._dequantized(value, quantization, tensor)
        self._values[number] = value
        if quantization is not None and tensor.dtype in _LIMITS:
            self._grids[value] = (quantization, tensor.dtype)

    def results(self) -> list[Value]:
        """The outputs: as the file has them when this is the model itself, else real numbers."""
        return [
            self.stored(number) if self.whole and not self.session.plain else self.value(number) for number in self.record.outputs
        ]

    # -- values ----------------------------------------------------------------------------------------------------

    def value(self, number: int) -> Value:
        """A tensor's value, float32 where it is quantised."""
        if number not in self._values:
            tensor = self.record.tensors[number]
            constant = self._constant(tensor)
            if tensor.quantization is not None and tensor.dtype.is_integer:
                real = tensor.dtype in _LIMITS
                constant = DequantizedTensor(constant, tensor.quantization) if real else constant
            self._values[number] = self.graph.constant(constant, self.node_name(tensor.name))
        return self._values[number]

    def stored(self, number: int) -> Value:
        """A tensor's value as the file stores it."""
        tensor = self.record.tensors[number]
        if not tensor.quantized or tensor.dtype not in _LIMITS:
            return self.value(number)
        if number not in self._stored:
            if number in self._values:
                value = self._values[number]
                self._stored[number] = value if value.dtype is tensor.dtype else self._quantized(value, tensor)
                self._stored[number].quantization = tensor.quantization
            else:
                self._stored[number] = self.graph.constant(self._constant(tensor), self.node_name(f"{tensor.name}/stored"))
        return self._stored[number]

    def real_constant(self, number: int) -> Value:
        """A tensor's value where whole numbers of any width with a scale are meant as real ones: biases."""
        tensor = self.record.tensors[number]
        if tensor.quantized and tensor.dtype not in _LIMITS and number not in self._values and tensor.quantization is not None:
            constant = DequantizedTensor(self._constant(tensor), tensor.quantization)
            return self.graph.constant(constant, self.node_name(f"{tensor.name}/real"))
        return self.value(number)

    def is_known(self, number: int) -> bool:
        """Whether something has given or computed the tensor."""
        return number in self._values

    def is_read_after(self, operator: OperatorRecord, number: int) -> bool:
        """Whether an operator behind this one, or an output, reads the tensor."""
        place = next(index for index, each in enumerate(self.record.operators) if each is operator)
        return number in self.record.outputs or any(number in each.inputs for each in self.record.operators[place + 1 :])

    def scalar(self, value: Value) -> Value:
        """The one element of a value."""
        shape = self.graph.constant(np.zeros(0, np.int32), "scalar")
        return self._make("Reshape", "condition", value, shape)

    def _constant(self, tensor: TensorRecord) -> Tensor:
        shape = [size for size in tensor.shape or () if isinstance(size, int)]
        if tensor.variable and tensor.content is None and len(shape) == len(tensor.shape or ()):
            self.session.tell(
                f"'{tensor.name}' lasts from call to call in LiteRT, unless a program resets it; here each call begins with zeros"
            )
            return FilledTensor(np.zeros(1), tensor.dtype, shape)
        if tensor.content is None and 0 not in (tensor.shape or (1,)):
            raise malformed(
                f"tensor {tensor.number} '{tensor.name}' is read before anything has computed it", self.session.model.view.position
            )
        if tensor.content is None:
            return FilledTensor(np.zeros(0), tensor.dtype, shape)
        return read_constant(self.session.model.file, tensor, tensor.content)

    # -- real and whole numbers ------------------------------------------------------------------------------------

    def _make(self, op: str, name: str, *inputs: Value, **attrs: object) -> Value:
        origin = Origin((name,), op)
        return add_tolerantly(self.graph, op, inputs, attrs, self.graph.unique_name(name), origin).outputs[0]

    def _number(self, value: Array | np.generic | float, name: str) -> Value:
        return self.graph.constant(np.asarray(value, np.float32), self.graph.unique_name(name))

    def _pair(self, quantization: Quantization, tensor: TensorRecord) -> tuple[Value, Value]:
        """Scale and zero point, shaped to stretch over the tensor."""
        shape = [1] * len(tensor.shape or ())
        if quantization.axis is not None:
            shape[quantization.axis] = -1
        shape = shape if quantization.axis is not None else []
        name = self.node_name(tensor.name)
        scale, zero = (np.asarray(each, np.float32).reshape(shape) for each in (quantization.scales, quantization.zero_points))
        return self._number(scale, f"{name}/scale"), self._number(zero, f"{name}/zero_point")

    def _dequantized(self, value: Value, quantization: Quantization, tensor: TensorRecord) -> Value:
        name = self.node_name(tensor.name)
        scale, zero = self._pair(quantization, tensor)
        number = self._make("Cast", f"{name}/number", value, SrcT=value.dtype, DstT=DType.FLOAT32)
        if any(quantization.zero_points):
            number = self._make("Sub", f"{name}/from_zero", number, zero)
        return self._make("Mul", f"{name}/real", number, scale)

    def _quantized(self, value: Value, tensor: TensorRecord) -> Value:
        """round(x / scale) + zero_point within the type's limits."""
        quantization = tensor.quantization
        assert quantization is not None
        name = self.node_name(tensor.name)
        scale, zero = self._pair(quantization, tensor)
        low, high = _LIMITS[tensor.dtype]
        steps = self._make("Round", f"{name}/steps", self._make("RealDiv", f"{name}/scaled", value, scale))
        if any(quantization.zero_points):
            steps = self._make("AddV2", f"{name}/shifted", steps, zero)
        least = self._make("Maximum", f"{name}/least", steps, self._number(low, f"{name}/low"))
        kept = self._make("Minimum", f"{name}/kept", least, self._number(high, f"{name}/high"))
        return self._make("Cast", f"{name}/quantized", kept, SrcT=DType.FLOAT32, DstT=tensor.dtype)

    def on_grid(self, value: Value, quantization: Quantization | None, dtype: DType, name: str, origin: Origin) -> Value:
        """A real value rounded to what a quantised tensor can hold."""
        if quantization is None or dtype not in _LIMITS or value.dtype is not DType.FLOAT32 or self.session.plain:
            return value
        if self._grids.get(value) == (quantization, dtype):
            return value
        low, high = _LIMITS[dtype]
        bits = {DType.INT16: 16, DType.INT4: 4}.get(dtype, 8)
        scale, zero = np.float32(quantization.scales[0]), quantization.zero_points[0]
        if quantization.axis is not None or not low <= zero <= high or not np.isfinite(scale) or scale <= 0:
            self.session.tell(f"'{name}' is quantised in a way that is left unrounded")
            return value
        ends = [
            self._number(np.float32(end - zero) * scale, f"{name}/{role}") for end, role in ((low, "lowest"), (high, "highest"))
        ]
        attrs = {"num_bits": bits, "narrow_range": False}
        node = add_tolerantly(
            self.graph, "FakeQuantWithMinMaxVars", [value, *ends], attrs, self.graph.unique_name(f"{name}/rounded"), origin
        )
        self._grids[node.outputs[0]] = (quantization, dtype)
        return node.outputs[0]

    # -- operators -------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Read all operators, in order."""
        for operator in self.record.operators:
            self.session.operators += 1
            if self.session.operators > MOST_NODES:
                raise malformed("its subgraphs call each other too often", self.session.model.view.position)
            self._read(operator)

    def _read(self, operator: OperatorRecord) -> None:
        outputs = [number for number in operator.outputs if number >= 0]
        label = self.record.tensors[outputs[0]].name if outputs else operator.name
        step = Step(self, operator, self.graph.unique_name(self.node_name(label)))
        rule = self.session.rules.get(operator.name) if operator.name != "CUSTOM" else self.session.custom
        if rule is None:
            raise step.refusal("this operator is not supported", "choose --outputs that do not need it, if there are such")
        before = len(self.graph.nodes)
        try:
            found = rule(step)
        except MISFITS as error:
            raise step.refusal(f"its inputs or options do not fit it ({error})") from error
        results = [found] if isinstance(found, Value) else list(found)
        if len(results) < len(operator.outputs):
            raise step.refusal(f"it has {len(operator.outputs)} outputs, {len(results)} were expected")
        fresh = set(self.graph.nodes[before:])
        for number, value in zip(operator.outputs, results, strict=False):
            if number >= 0:
                self._settle(operator, step, number, value)
        if outputs:
            self._name(results[0].producer, step.name, fresh)

    def _settle(self, operator: OperatorRecord, step: Step, number: int, value: Value) -> None:
        """Note what a tensor has become, rounded to its grid."""
        tensor = self.record.tensors[number]
        quantization = tensor.quantization
        if value.dtype is DType.UNKNOWN:
            value.retype(Typed(tensor.dtype, value.shape if value.shape is not None else tensor.shape))
        if quantization is not None and tensor.dtype in _LIMITS:
            if value.dtype is tensor.dtype:
                self.bind(number, value)
                return
            if operator.name in MOVES and step.has(0) and _same_grid(step.tensor(0), tensor):
                self._grids[value] = (quantization, tensor.dtype)
            if self.session.plain and operator.name in _CLAMPING:
                value = self._above_zero(value, quantization, tensor.dtype, step)
            value = self.on_grid(value, quantization, tensor.dtype, step.name, step.origin)
        self._values[number] = value
        self._stored.pop(number, None)

    def _above_zero(self, value: Value, quantization: Quantization, dtype: DType, step: Step) -> Value:
        """The activation that a range stands for: converters leave it out where whole numbers are cut off by themselves."""
        low, high = _LIMITS[dtype]
        if any(zero != low for zero in quantization.zero_points) or value.producer.op in ("Relu", "Relu6"):
            return value
        scale = quantization.scales[0]
        six = len(quantization.scales) == 1 and abs((high - low) * scale - 6) <= scale
        node = add_tolerantly(
            self.graph, "Relu6" if six else "Relu", [value], {}, self.graph.unique_name(f"{step.name}/activation"), step.origin
        )
        return node.outputs[0]

    def _name(self, node: Node, name: str, fresh: set[Node]) -> None:
        """The node that gives an operator's result bears the tensor's name."""
        if node in fresh and name not in self.graph:
            self.graph.rename(node, name)

    def node_name(self, name: str) -> str:
        """A tensor's name as that of a node: the last of those that were fused into it, without the number of an output."""
        short = name.split(";", maxsplit=1)[0].removesuffix(":0")
        clean = _NAME.sub("_", short)
        if not clean or not (clean[0].isalnum() or clean[0] == "."):
            clean = f"t{clean}"
        return f"{self.prefix}{clean}"


def _same_grid(one: TensorRecord, other: TensorRecord) -> bool:
    return one.quantization == other.quantization and one.dtype is other.dtype
