"""Write src/tensorferry/wire/tensorflow.ops: what each op of TensorFlow takes and gives, gathered from an installed TensorFlow.

python scripts/make_op_signatures.py
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

FILE = Path(__file__).parent.parent / "src" / "tensorferry" / "wire" / "tensorflow.ops"

PASSED_OVER = re.compile(
    r"TPU|^Xla|^Experimental|Dataset|^Collective|^Nccl|^Boosted|BigQuery|Cudnn.*Backprop|^SdcaO|^Sdca|^Tensor(Forest|Tree|RT)|^Decision|"
    r"Optional|^SnapshotD|^Uniform.*Quantized|Iterator|^Load|^Retrieve|^Recv|^Send|Rpc|Queue|Barrier|Accumulator|Writer|^Mutex|^Stage|"
    r"^Unstage|^MapStage|^OrderedMap|^MapPeek|^MapUnstage|^MapClear|^MapSize|^MapIncomplete|^Checkpoint|^Distributed|^EagerPy|^PyFunc|"
    r"^Sparse(Apply|Matrix|Cross)|^Resource(Sparse)?Apply|^Apply|Reader|^Fused(Pad|Resize)|^Debug(Nan|Numeric)|^Quantized|^Risc|^Kmc|^WholeFile"
)
"""Families that no model for inference holds: training, input pipelines, clusters, other accelerators."""

UNLISTED = (
    "XlaDynamicSlice", "XlaDynamicUpdateSlice", "XlaEinsum", "XlaPad", "_FusedBatchNormEx", "_FusedConv2D",
    "_FusedDepthwiseConv2dNative", "_FusedMatMul",
)  # fmt: skip
"""Ops that tf.raw_ops does not show, and that graphs hold all the same."""

HEAD = """# TensorFlow's ops, one a line: what it takes, then what it gives (name and type of each output).
# A type is a fixed one or the name of the attribute that holds it; `*N`: as many as attribute N says; `**T`: as many as T lists.
# `Tidx=int32`: the attribute may be left out, and then means this.
"""


def _dtype(number: int) -> str:
    from tensorflow.core.framework import types_pb2  # noqa: PLC0415

    name = types_pb2.DataType.Name(number).removeprefix("DT_").lower()
    return {"float": "float32", "double": "float64", "half": "float16"}.get(name, name)


def _type(argument: Any, defaults: dict[str, int]) -> str:
    if argument.type_list_attr:
        return f"**{argument.type_list_attr}"
    name = argument.type_attr or _dtype(argument.type)
    many = f"*{argument.number_attr}" if argument.number_attr else ""
    return name + many + (f"={_dtype(defaults[name])}" if name in defaults else "")


def table() -> str:
    """The whole file."""
    import tensorflow  # noqa: PLC0415
    from tensorflow.python.framework import op_def_registry  # noqa: PLC0415

    lines = []
    listed = [each for each in dir(tensorflow.raw_ops) if not each.startswith("_") and not PASSED_OVER.search(each)]
    for name in sorted((*listed, *UNLISTED)):
        definition = op_def_registry.get(name)
        if definition is None:
            continue
        defaults = {each.name: each.default_value.type for each in definition.attr if each.default_value.HasField("type")}
        takes = "".join(f" {_type(each, defaults)}" for each in definition.input_arg)
        gives = "".join(f" {each.name}:{_type(each, defaults)}" for each in definition.output_arg)
        lines.append(f"{name}{takes} >{gives}\n")
    return HEAD + "".join(lines)


if __name__ == "__main__":
    FILE.write_text(table(), encoding="utf-8")
