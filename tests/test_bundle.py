"""Checkpoints, compared with TensorFlow's own reader; damaged ones end in one clear error."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tensorferry.errors import FerryError, SourceError
from tensorferry.readers.checkpoint import find_prefix
from tensorferry.tensor import DType
from tensorferry.wire.bundle import Bundle
from tensorferry.wire.ordered import slice_key
from tensorferry.wire.snappy import decompress
from tensorferry.wire.table import masked_crc, read_table

tf = pytest.importorskip("tensorflow", reason="TensorFlow, which writes the checkpoints, is not installed")
v1 = tf.compat.v1

MODELS = Path(__file__).parent.parent.parent / "shared" / "models"


def write(prefix: Path, tensors: dict[str, object], pieces: dict[str, str] | None = None) -> Path:
    """A checkpoint by TensorFlow's SaveV2; `pieces` give the slice specification of a name."""
    names = list(tensors)
    slices = [(pieces or {}).get(name, "") for name in names]
    tf.raw_ops.SaveV2(
        prefix=str(prefix),
        tensor_names=[name.split("@")[0] for name in names],
        shape_and_slices=slices,
        tensors=[tf.constant(each) for each in tensors.values()],
    )
    return prefix


VALUES: dict[str, object] = {
    "a/float": np.arange(12, dtype=np.float32).reshape(3, 4),
    "a/half": np.array([1.5, -2], np.float16),
    "double": np.array(3.25),
    "int8": np.array([[-128, 127]], np.int8),
    "uint64": np.array([2**63], np.uint64),
    "bool": np.array([True, False, True]),
    "complex": np.array([1 + 2j], np.complex64),
    "empty": np.zeros((0, 3), np.float32),
    "größe": np.array([7], np.int32),
}


def test_every_type_is_read_as_it_was_written(tmp_path: Path) -> None:
    bundle = Bundle(write(tmp_path / "model.ckpt", VALUES))
    assert bundle.names == sorted(VALUES, key=str.encode)
    for name, value in VALUES.items():
        tensor = bundle.tensor(name)
        expected = np.asarray(value)
        assert (tensor.dtype, tensor.shape) == (DType.of(expected), expected.shape)
        np.testing.assert_array_equal(tensor.array(), expected)
        assert b"".join(tensor.chunks(8)) == expected.tobytes()


def test_strings(tmp_path: Path) -> None:
    words = np.array([[b"", b"ferry"], [b"\xff\0", b"x" * 300]], object)
    bundle = Bundle(write(tmp_path / "words", {"words": words}))
    assert bundle.tensor("words").array().tolist() == words.tolist()


def test_bfloat16_keeps_its_bits(tmp_path: Path) -> None:
    bundle = Bundle(write(tmp_path / "b", {"b": tf.constant([1.0, -2.5], tf.bfloat16)}))
    assert bundle.tensor("b").dtype is DType.BFLOAT16
    assert bundle.tensor("b").array().tolist() == [0x3F80, 0xC020]


def test_slices_of_a_variable_are_joined(tmp_path: Path) -> None:
    full = np.arange(600, dtype=np.float32).reshape(100, 6)
    parts = {"v@0": full[:70], "v@1": full[70:]}
    prefix = write(tmp_path / "sliced", parts, {"v@0": "100 6 0,70:-", "v@1": "100 6 70,30:-"})
    bundle = Bundle(prefix)
    assert bundle.names == ["v"]
    np.testing.assert_array_equal(bundle.tensor("v").array(), full)
    assert b"".join(bundle.tensor("v").chunks()) == full.tobytes()


def test_several_shards(tmp_path: Path) -> None:
    for number, name in enumerate(("one", "two")):
        write(tmp_path / f"part{number}", {name: np.full(3, number, np.int32)})
    tf.raw_ops.MergeV2Checkpoints(
        checkpoint_prefixes=[str(tmp_path / "part0"), str(tmp_path / "part1")], destination_prefix=str(tmp_path / "whole")
    )
    bundle = Bundle(tmp_path / "whole")
    assert [bundle.tensor(name).array().tolist() for name in ("one", "two")] == [[0, 0, 0], [1, 1, 1]]
    (tmp_path / "whole.data-00001-of-00002").unlink()
    with pytest.raises(SourceError, match="does not exist"):
        Bundle(tmp_path / "whole").tensor("two")


def test_many_names_fill_several_blocks(tmp_path: Path) -> None:
    values = {f"layer_{number:04d}/kernel": np.float32(number) for number in range(3000)}
    bundle = Bundle(write(tmp_path / "many", values))
    assert len(bundle.names) == 3000
    assert bundle.tensor("layer_2999/kernel").array() == 2999


@pytest.mark.skipif(not MODELS.is_dir(), reason="the shared models are not there")
@pytest.mark.parametrize("index", sorted(MODELS.rglob("*.index")), ids=lambda path: str(path.relative_to(MODELS)))
def test_real_checkpoints(index: Path) -> None:
    prefix = find_prefix(index)
    reader, bundle = tf.train.load_checkpoint(str(prefix)), Bundle(prefix)
    assert set(bundle.names) == set(reader.get_variable_to_shape_map())
    for name in bundle.names:
        expected = reader.get_tensor(name)
        actual = bundle.tensor(name).array()
        assert actual.item() == expected if isinstance(expected, bytes) else np.array_equal(actual, expected)


# -- the encodings -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "block",
    [
        (b"\x05\x10hello", b"hello"),
        (b"\x0a\x04ab\x1e\x02\x00", b"ab" * 5),  # a copy that overlaps what it writes, 16-bit distance
        (b"\x08\x04ab\x09\x02", b"ab" * 4),  # 11-bit distance
        (b"\x06\x04ab\x0f\x02\x00\x00\x00", b"ab" * 3),  # 32-bit distance
        (b"\x46\xf0\x45" + b"z" * 70, b"z" * 70),  # a length behind the tag
        (b"\x00", b""),
    ],
)
def test_snappy(block: tuple[bytes, bytes]) -> None:
    packed, plain = block
    assert decompress(memoryview(packed)) == plain


@pytest.mark.parametrize(
    "packed", [b"", b"\x05\x10he", b"\x05\x01\x01", b"\x01\x10hello", b"\x80\x80\x80\x80\x7f", b"\x05\xf4\x01"]
)
def test_damaged_snappy(packed: bytes) -> None:
    with pytest.raises(SourceError):
        decompress(memoryview(packed))


def test_checksums_are_those_of_the_standard() -> None:
    unmasked = 0xE3069283  # RFC 3720: CRC-32C of "123456789"
    masked = ((unmasked >> 15 | unmasked << 17) + 0xA282EAD8) & 0xFFFFFFFF
    assert masked_crc([b"1234", memoryview(b"56789")]) == masked


def test_keys_of_slices_sort_as_their_numbers() -> None:
    starts = [-(1 << 62), -(1 << 20), -65, -64, -1, 0, 1, 63, 64, 8191, 8192, 1 << 20, (1 << 62) - 1, 1 << 62]
    keys = [slice_key(b"v", [(start, 1)]) for start in starts]
    assert keys == sorted(keys)


# -- damage --------------------------------------------------------------------------------------------------------


def test_damaged_values_are_found(tmp_path: Path) -> None:
    prefix = write(tmp_path / "model", {"v": np.arange(100, dtype=np.float32)})
    shard = tmp_path / "model.data-00000-of-00001"
    data = bytearray(shard.read_bytes())
    data[40] ^= 1
    shard.write_bytes(data)
    tensor = Bundle(prefix).tensor("v")
    for use in (tensor.array, lambda: list(tensor.chunks()), lambda: tensor.elements(0, 1)):
        with pytest.raises(SourceError, match="checksum does not match") as caught:
            use()
        assert "model.data-00000" in caught.value.where
    shard.write_bytes(data[:100])
    with pytest.raises(SourceError, match="should lie at byte 0, 400 bytes long"):
        Bundle(prefix).tensor("v")


def test_a_damaged_index_is_found(tmp_path: Path) -> None:
    prefix = write(tmp_path / "model", {"v": np.arange(100, dtype=np.float32)})
    index = tmp_path / "model.index"
    data = bytearray(index.read_bytes())
    data[3] ^= 1
    index.write_bytes(data)
    with pytest.raises(SourceError, match="checksum of a block"):
        Bundle(prefix)


@pytest.fixture(scope="module")
def index_bytes(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("seed")
    write(folder / "seed", VALUES)
    return (folder / "seed.index").read_bytes()


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_change_of_an_index_is_an_error_or_the_same(index_bytes: bytes, data: st.DataObject) -> None:
    changed = bytearray(index_bytes)
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    del changed[data.draw(st.integers(0, len(changed))) :]
    with contextlib.suppress(FerryError):
        list(read_table(memoryview(bytes(changed))))


def test_what_a_user_may_name(tmp_path: Path) -> None:
    write(tmp_path / "model-1", {"v": np.float32(1)})
    for name in ("model-1", "model-1.index", "model-1.meta", "model-1.data-00000-of-00001", ""):
        assert find_prefix(tmp_path / name).name == "model-1"
    write(tmp_path / "model-2", {"v": np.float32(2)})
    with pytest.raises(SourceError, match="several checkpoints") as caught:
        find_prefix(tmp_path)
    assert "model-1, model-2" in caught.value.remedy
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "/elsewhere/model-2"\n')
    assert find_prefix(tmp_path).name == "model-2"
    with pytest.raises(SourceError, match="there is no checkpoint") as caught:
        find_prefix(tmp_path / "model-3")
    assert "model-1" in caught.value.remedy
