"""The command line with its streams closed or full, and told to stop: short answers, and nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from small_graphs import freeze, small_net

TOOL = f"{sys.executable} -m tensorferry"
pytestmark = pytest.mark.skipif(os.name == "nt", reason="a POSIX shell is needed")


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return freeze(tmp_path_factory.mktemp("source") / "net.pb", small_net)


def shell(command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("closed", [">&-", "<&- >&- 2>&-"])
def test_closed_streams_do_not_keep_a_model_from_being_converted(source, tmp_path, closed):
    target = tmp_path / "net.tflite"
    result = shell(f"{TOOL} convert {source} -o {target} {closed}")
    assert (result.returncode, result.stderr) == (0, "")
    assert target.read_bytes()[4:8] == b"TFL3"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_output_that_cannot_be_written_is_an_error_of_one_line(source):
    result = shell(f"{TOOL} inspect {source} > /dev/full")
    assert result.returncode == 2
    assert result.stderr == "error: the output cannot be written\n  why: No space left on device\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_end_leaves_nothing_however_often_it_comes(source, tmp_path, number):
    # The signal comes again while what was written is being removed.
    script = (
        "import os, time, tensorferry.delivery as c; from tensorferry.cli import main\n"
        "from tensorferry.writers.atomic import StagedFile\n"
        "discard = StagedFile.discard\n"
        f"def again(stage): os.kill(os.getpid(), {int(number)}); time.sleep(0.01); discard(stage)\n"
        "StagedFile.discard = again\n"
        f"def wait(*_, **__): os.kill(os.getpid(), {int(number)}); time.sleep(60)\n"
        "c.write_program = wait\nmain()"
    )
    command = [sys.executable, "-c", script, "convert", str(source), "-o", str(tmp_path / "net.tflite")]
    assert subprocess.run(command, check=False, timeout=60).returncode == 128 + number
    assert list(tmp_path.iterdir()) == []


def test_a_source_whose_name_is_no_text_is_converted(source, tmp_path):
    strange = os.fsencode(tmp_path) + b"/n\xff.pb"
    with open(strange, "wb") as file:
        file.write(source.read_bytes())
    command = [*TOOL.split(), "convert", strange, "-o", tmp_path / "net.tflite", "-o", tmp_path / "web"]
    result = subprocess.run(command, capture_output=True, check=False, text=True)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "net.tflite").stat().st_size > 0
