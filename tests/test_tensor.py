import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tensorferry.tensor as tensors
from tensorferry.errors import GraphError, SourceError
from tensorferry.storage import SourceFile
from tensorferry.tensor import (
    ArrayTensor,
    CastTensor,
    DType,
    FileTensor,
    FilledTensor,
    ReshapedTensor,
    ScaledTensor,
    TransposedTensor,
)


@pytest.fixture(scope="module")
def numbers(tmp_path_factory):
    """A file of float32: 4 bytes of something else, then 0, 1, 2 ..."""
    path = tmp_path_factory.mktemp("weights") / "numbers"
    path.write_bytes(b"head" + np.arange(20000, dtype="<f4").tobytes())
    return SourceFile(path)


def streamed(tensor, limit=64):
    return b"".join(bytes(piece) for piece in tensor.chunks(limit))


def check(tensor, expected):
    """All three ways to the elements agree with the array."""
    assert tensor.shape == expected.shape
    assert tensor.array().dtype == expected.dtype
    np.testing.assert_array_equal(tensor.array(), expected)
    flat = expected.reshape(-1)
    for limit in (1, 64, 1 << 20):
        assert streamed(tensor, limit) == expected.tobytes()
    for start, stop in ((0, flat.size), (flat.size // 3, flat.size // 2), (0, 0)):
        np.testing.assert_array_equal(tensor.elements(start, stop), flat[start:stop])


def views(file):
    """(tensor, what it holds)."""
    base = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    whole = FileTensor(file, 4, DType.FLOAT32, (2, 3, 4))
    return {
        "array": (ArrayTensor(base), base),
        "file": (whole, base),
        "reshaped": (ReshapedTensor(whole, (6, 4)), base.reshape(6, 4)),
        "transposed": (TransposedTensor(whole, (2, 0, 1)), np.ascontiguousarray(base.transpose(2, 0, 1))),
        "transposed back": (TransposedTensor(TransposedTensor(whole, (2, 0, 1)), (1, 2, 0)), base),
        "cast": (CastTensor(whole, DType.INT64), base.astype(np.int64)),
        "cast of transposed": (CastTensor(TransposedTensor(whole, (1, 0, 2)), DType.FLOAT16), base.transpose(1, 0, 2).astype("f2")),
        "transposed cast": (TransposedTensor(CastTensor(whole, DType.FLOAT16), (2, 1, 0)), base.transpose(2, 1, 0).astype("f2")),
        "scaled": (ScaledTensor(whole, np.array([1, 2, 4.0]), 4), base * np.array([1, 2, 4], np.float32)[:, None]),
        "scaled by one": (ScaledTensor(whole, np.array([3.0])), base * 3),
        "transposed scaled": (
            TransposedTensor(ScaledTensor(whole, np.arange(4.0)), (2, 0, 1)),
            (base * np.arange(4, dtype="f4")).transpose(2, 0, 1),
        ),
        "filled": (FilledTensor(np.array([7], np.int32), DType.INT32, (3, 5)), np.full((3, 5), 7, np.int32)),
        "filled, three given": (
            FilledTensor(np.array([1, 2, 3], np.int32), DType.INT32, (2, 3)),
            np.array([[1, 2, 3], [3, 3, 3]], np.int32),
        ),
        "filled, nothing given": (FilledTensor(np.array([]), DType.FLOAT32, (2, 2)), np.zeros((2, 2), np.float32)),
        "complex": (ArrayTensor(np.array([[1 + 2j, 3]], np.complex64)), np.array([[1 + 2j, 3]], np.complex64)),
        "boolean": (ArrayTensor(np.array([True, False])), np.array([True, False])),
        "empty": (TransposedTensor(ArrayTensor(np.zeros((0, 3), np.float32)), (1, 0)), np.zeros((3, 0), np.float32)),
        "scalar": (ArrayTensor(np.float32(5)), np.array(5, np.float32)),
    }


@pytest.mark.parametrize("name", views(None))
def test_every_way_to_the_elements_agrees(name, numbers):
    tensor, expected = views(numbers)[name]
    check(tensor, np.array(expected, order="C"))


def test_bfloat16_becomes_float32():
    bits = np.array([0x3F80, 0xC000, 0x7F80, 0x0001], np.uint16)
    tensor = CastTensor(ArrayTensor(bits, DType.BFLOAT16), DType.FLOAT32)
    assert tensor.array().tolist() == [1.0, -2.0, float("inf"), 2.0**-133]
    assert streamed(tensor) == tensor.array().tobytes()


def test_infinite_weights_stay_infinite_when_scaled():
    tensor = ScaledTensor(ArrayTensor(np.array([np.inf, -np.inf, 3e38], np.float32)), np.array([1.0, 2.0, 10.0]))
    assert tensor.array().tolist() == [np.inf, -np.inf, np.inf]


def test_a_reshape_must_keep_the_count():
    with pytest.raises(GraphError, match=r"\[2, 3\].*\[4\]"):
        ReshapedTensor(ArrayTensor(np.zeros((2, 3))), (4,))


def test_an_array_given_to_a_tensor_can_no_longer_change_it():
    array = np.ones(3, np.float32)
    tensor = ArrayTensor(array)
    array[0] = 5
    assert tensor.array().tolist() == [1, 1, 1]
    with pytest.raises(ValueError, match="read-only"):
        tensor.array()[0] = 5


def test_a_file_that_ends_early_says_where(tmp_path):
    path = tmp_path / "short"
    path.write_bytes(bytes(10))
    tensor = FileTensor(SourceFile(path), 4, DType.FLOAT32, (3,))
    with pytest.raises(SourceError, match="ended early") as caught:
        streamed(tensor)
    assert caught.value.where == "byte 10 of 10"


# -- transposing in pieces -----------------------------------------------------------------------------------------


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_transposed_tensors_stream_what_numpy_transposes(data, numbers):
    shape = data.draw(st.lists(st.integers(0, 6) | st.just(1), min_size=1, max_size=5))
    permutation = data.draw(st.permutations(range(len(shape))))
    base = FileTensor(numbers, 4, DType.FLOAT32, shape)
    tensor = TransposedTensor(base, permutation)
    expected = np.ascontiguousarray(np.transpose(base.array(), permutation))
    with pytest.MonkeyPatch.context() as patch:  # small enough that boxes and bands are cut in every way
        patch.setattr(tensors, "TRANSPOSE_SCRATCH", data.draw(st.sampled_from([4, 48, 1000, 1 << 20])))
        patch.setattr(tensors, "CHUNK", data.draw(st.sampled_from([4, 64, 1 << 20])))
        assert streamed(tensor, data.draw(st.sampled_from([4, 100, 1 << 20]))) == expected.tobytes()


@pytest.mark.parametrize(
    ("shape", "permutation", "merged"),
    [
        ((3, 3, 16, 32), (3, 0, 1, 2), ((144, 32), (1, 0))),
        ((3, 3, 16, 32), (2, 0, 1, 3), ((9, 16, 32), (1, 0, 2))),
        ((3, 3, 16, 1), (3, 0, 1, 2), ((144,), (0,))),
        ((1, 1, 1), (2, 0, 1), ((), ())),
        ((5, 1, 7), (2, 1, 0), ((5, 7), (1, 0))),
    ],
)
def test_a_transposition_is_told_with_few_axes(shape, permutation, merged):
    assert tensors.merge_axes(shape, permutation) == merged


@pytest.mark.parametrize(
    ("shape", "permutation"),
    [((2048, 8192), (1, 0)), ((3, 3, 512, 3640), (3, 0, 1, 2)), ((4194304, 4), (1, 0)), ((4, 4194304), (1, 0))],
)
def test_memory_does_not_follow_the_size_of_a_transposed_file(shape, permutation, tmp_path):
    """64 MiB from file to file, with 4 MiB of scratch: the peak stays far below the size."""
    source = tmp_path / "weights"
    with source.open("wb") as file:
        file.truncate(4 * int(np.prod(shape)))
    program = f"""
        import resource
        import tensorferry.tensor as tensors
        from tensorferry.storage import SourceFile
        tensors.TRANSPOSE_SCRATCH = 4 << 20
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        base = tensors.FileTensor(SourceFile({str(source)!r}), 0, tensors.DType.FLOAT32, {shape})
        total = 0
        for piece in tensors.TransposedTensor(base, {permutation}).chunks():
            total += len(piece)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        print(total, grown * 1024)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True)
    total, grown = map(int, done.stdout.split())
    assert total == source.stat().st_size
    assert grown < 20 << 20


@pytest.mark.skipif(os.name == "nt", reason="a mapped file cannot be cut there")
@pytest.mark.parametrize("count", [4, 1 << 20])
def test_a_file_cut_after_it_was_opened_is_an_error_and_not_the_end_of_the_process(tmp_path, count):
    path = tmp_path / "cut"
    path.write_bytes(bytes(4 * count + 4))
    tensor = FileTensor(SourceFile(path), 4, DType.FLOAT32, (count,))
    assert tensor.array().shape == (count,)
    os.truncate(path, 8)
    with pytest.raises(SourceError, match="became shorter") as caught:
        tensor.array()
    assert caught.value.where == f"byte 8 of {4 * count + 4}"
