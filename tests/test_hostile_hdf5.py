"""HDF5 files made to do harm, as Keras models: links out of the file and in circles, claims, and what inflates."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest

import tensorferry
from tensorferry.conversion import freeze, inspect
from tensorferry.errors import FerryError

CONFIG = {
    "class_name": "Sequential",
    "config": {
        "name": "net",
        "layers": [
            {"class_name": "InputLayer", "config": {"batch_input_shape": [None, 3], "dtype": "float32", "name": "x"}},
            {"class_name": "Dense", "config": {"name": "dense", "units": 4, "activation": "linear", "use_bias": False}},
        ],
    },
}
SECRET = np.arange(12, dtype=np.float32) + 4711


@pytest.fixture(autouse=True)
def in_time() -> Iterator[None]:
    start = time.monotonic()
    yield
    assert time.monotonic() - start < 20


def keras(path: Path, fill: Callable[[h5py.Group], None], config: object = CONFIG) -> Path:
    """A Keras 2 file with one layer, whose weights `fill` writes."""
    with h5py.File(path, "w") as file:
        file.attrs["keras_version"] = "2.15.0"
        file.attrs["backend"] = "tensorflow"
        file.attrs["model_config"] = json.dumps(config)
        weights = file.create_group("model_weights")
        weights.attrs["layer_names"] = np.array([b"dense"])
        weights.attrs["backend"] = "tensorflow"
        group = weights.create_group("dense")
        group.attrs["weight_names"] = np.array([b"dense/kernel:0"])
        fill(group)
    return path


def test_the_file_without_harm_is_read(tmp_path: Path) -> None:
    path = keras(tmp_path / "net.h5", lambda group: group.create_dataset("dense/kernel:0", data=SECRET.reshape(3, 4)))
    assert [port.name for port in inspect(path).outputs] == ["dense"]
    freeze(path, tmp_path / "net.pb")
    assert SECRET.tobytes() in (tmp_path / "net.pb").read_bytes()


def external_link(group: h5py.Group, folder: Path) -> None:
    group["dense/kernel:0"] = h5py.ExternalLink(str(folder / "secret.h5"), "/secret")


def external_values(group: h5py.Group, folder: Path) -> None:
    group.create_dataset("dense/kernel:0", (3, 4), np.float32, external=[(str(folder / "secret.bin"), 0, 48)])


def virtual_values(group: h5py.Group, folder: Path) -> None:
    layout = h5py.VirtualLayout((3, 4), np.float32)
    layout[:] = h5py.VirtualSource(str(folder / "secret.h5"), "secret", (3, 4))
    group.create_virtual_dataset("dense/kernel:0", layout)


@pytest.mark.parametrize("way", [external_link, external_values, virtual_values])
def test_no_way_leads_out_of_the_file(
    tmp_path: Path, way: Callable[[h5py.Group, Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["secret"] = SECRET.reshape(3, 4)
    (tmp_path / "secret.bin").write_bytes(SECRET.tobytes())
    path = keras(tmp_path / "net.h5", lambda group: way(group, tmp_path))
    with pytest.raises(FerryError):
        freeze(path, tmp_path / "net.pb")
    assert not (tmp_path / "net.pb").exists()


def hard_circle(group: h5py.Group) -> None:
    group["dense"] = group


def soft_circle(group: h5py.Group) -> None:
    group["dense"] = h5py.SoftLink("/model_weights/dense/dense")


def two_soft_circle(group: h5py.Group) -> None:
    group["dense"] = h5py.SoftLink("/model_weights/other")
    group.parent["other"] = h5py.SoftLink("/model_weights/dense/dense")


def dangling(group: h5py.Group) -> None:
    group["dense"] = h5py.SoftLink("/nowhere")


def deep(group: h5py.Group) -> None:
    for _ in range(2000):
        group = group.create_group("d")


@pytest.mark.parametrize("fill", [hard_circle, soft_circle, two_soft_circle, dangling, deep])
def test_groups_in_circles_and_depths(tmp_path: Path, fill: Callable[[h5py.Group], None]) -> None:
    with pytest.raises(FerryError):
        inspect(keras(tmp_path / "net.h5", fill))


LIMIT = 1 << 30


def run_limited(path: Path, target: Path) -> str:
    """Freeze in a process that may take little more memory than it starts with. What it says."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))

    command = [sys.executable, "-m", "tensorferry", "freeze", str(path), "-o", str(target)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, preexec_fn=limit)
    assert done.returncode in (0, 2), done.stderr
    assert "internal error" not in done.stderr
    return done.stderr


@pytest.mark.parametrize("shape", [(2**40,), (2**31, 2**31), (3, 2**34)])
def test_datasets_that_claim_more_than_the_file_has(tmp_path: Path, shape: tuple[int, ...]) -> None:
    """No byte of such a dataset need exist: what is not there counts as its fill value."""
    path = keras(
        tmp_path / "net.h5", lambda group: group.create_dataset("dense/kernel:0", shape, np.float32, chunks=(1,) * len(shape))
    )
    with pytest.raises(FerryError):
        inspect(path)
    assert "error" in run_limited(path, tmp_path / "net.pb")
    assert not (tmp_path / "net.pb").exists()


def test_chunks_that_inflate(tmp_path: Path) -> None:
    """Two gigabytes of zeros in two megabytes, in one chunk and in many."""
    for chunks in ((1, 1 << 26), (8, 1 << 20)):
        config = json.loads(json.dumps(CONFIG))
        config["config"]["layers"][0]["config"]["batch_input_shape"] = [None, 8]
        config["config"]["layers"][1]["config"]["units"] = 1 << 26

        def fill(group: h5py.Group, chunks: tuple[int, int] = chunks) -> None:
            made = group.create_dataset("dense/kernel:0", (8, 1 << 26), np.float32, chunks=chunks, compression="gzip")
            made[0, : 1 << 20] = 0

        path = keras(tmp_path / "net.h5", fill, config)
        run_limited(path, tmp_path / "net.pb")


def test_attributes_that_are_no_text(tmp_path: Path) -> None:
    for name, value in (("model_config", 5), ("model_config", np.zeros(3)), ("model_config", b"\xff\xfe{"), ("keras_version", 2.0)):
        path = keras(tmp_path / "net.h5", lambda group: group.create_dataset("dense/kernel:0", data=SECRET.reshape(3, 4)))
        with h5py.File(path, "r+") as file:
            del file.attrs[name]
            file.attrs[name] = value
        try:
            tensorferry.load(path)
        except FerryError as error:
            assert str(error)
