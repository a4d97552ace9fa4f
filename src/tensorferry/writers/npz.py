"""Weights as a NumPy archive: a plain zip of `.npy` members, stored uncompressed and written in a stream."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from typing import BinaryIO, cast

import numpy as np

from tensorferry.errors import TargetError
from tensorferry.tensor import CastTensor, DType, Tensor

_SUFFIX = ".npy"


def write_npz(weights: Mapping[str, Tensor], file: BinaryIO) -> list[str]:
    """Write all weights under their names, which `numpy.load` gives back; notices of what has another type there."""
    notices = []
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(weights):
            tensor = stored_as(name, weights[name])
            if tensor.dtype is not weights[name].dtype:
                notices.append(f"'{name}' is stored as {tensor.dtype}, which holds every value of {weights[name].dtype}")
            with archive.open(zipfile.ZipInfo(f"{name}{_SUFFIX}"), "w", force_zip64=True) as member:
                described = {"descr": tensor.dtype.numpy.str, "fortran_order": False, "shape": tensor.shape}
                np.lib.format.write_array_header_1_0(cast(BinaryIO, member), described)
                for chunk in tensor.chunks():
                    member.write(chunk)
                tensor.release()
    return notices


def stored_as(name: str, tensor: Tensor) -> Tensor:
    """The tensor in a type that numpy has by itself."""
    if tensor.dtype in (DType.STRING, DType.RESOURCE, DType.VARIANT, DType.UNKNOWN):
        raise TargetError(f"the weight '{name}' of type {tensor.dtype} cannot be written to a NumPy archive")
    wider = {DType.BFLOAT16: DType.FLOAT32, DType.INT4: DType.INT8}.get(tensor.dtype)
    return tensor if wider is None else CastTensor(tensor, wider)
