"""Which input and output of one file is which of the other, whose names another converter may have changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tensorferry.errors import OptionError
from tensorferry.readers.tflite.model import TensorRecord


def pair_ends(before: Mapping[str, TensorRecord], after: Mapping[str, TensorRecord], role: str) -> dict[str, str]:
    """Names in the second file by names in the first: the same name, else the only one left of a shape that fits.

    OptionError where that leaves any without a counterpart, or with several: such files are not forms of one model.
    """
    pairs = {name: name for name in before if name in after and _fits(before[name], after[name])}
    rest, others = [name for name in before if name not in pairs], [name for name in after if name not in pairs]
    for name in rest:
        fitting = [other for other in others if _fits(before[name], after[other])]
        if len(fitting) == 1 and sum(_fits(before[each], after[fitting[0]]) for each in rest) == 1:
            pairs[name] = fitting[0]
    if len(before) != len(after) or len(pairs) != len(before):
        raise OptionError(
            f"the two files do not have the same {role}s, so they cannot be compared",
            why=f"the first has {_list(before)}; the second {_list(after)}",
            remedy="name a float file and the quantised file that was made of it",
        )
    return pairs


def _fits(one: TensorRecord, other: TensorRecord) -> bool:
    mine, theirs = _sizes(one), _sizes(other)
    return len(mine) == len(theirs) and all(a == b or -1 in (a, b) for a, b in zip(mine, theirs, strict=True))


def _sizes(record: TensorRecord) -> Sequence[int]:
    return [dim if isinstance(dim, int) and dim >= 0 else -1 for dim in record.shape or ()]


def _list(ends: Mapping[str, TensorRecord]) -> str:
    shapes = {name: ", ".join("?" if size < 0 else str(size) for size in _sizes(record)) for name, record in ends.items()}
    return ", ".join(f"'{name}' [{shape}]" for name, shape in shapes.items()) or "none"
