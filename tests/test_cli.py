"""The command line as a user meets it: what it prints, its exit codes, and what is on disk afterwards."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner

from small_graphs import freeze, small_net, unsupported_net
from tensorferry import conversion, delivery
from tensorferry.cli import app
from tensorferry.errors import VerificationError

ENVIRONMENT = {**os.environ, "NO_COLOR": "1", "COLUMNS": "120"}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return freeze(tmp_path_factory.mktemp("source") / "net.pb", small_net)


def call(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def run(*words, **options):
    command = [sys.executable, "-m", "tensorferry", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, check=False, **options)


def test_convert_prints_a_report(source, tmp_path):
    result = run("convert", source, "-o", tmp_path / "net.tflite", "--inputs", "image", "--outputs", "scores,features")
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    for expected in ("TensorFlow Lite", "verified", "LiteRT", "scores", "features", "CONV_2D", "peak memory", "and later"):
        assert expected in result.stdout


def test_json_is_one_document(source, tmp_path):
    result = call("convert", source, "-o", tmp_path / "net.tflite", "--json")
    report = json.loads(result.output)
    assert report["targets"][0]["check"]["status"] == "verified"
    assert report["seconds"]["read"] >= 0


def test_quiet_prints_nothing(source, tmp_path):
    result = call("convert", source, "-o", tmp_path / "net.tflite", "--quiet")
    assert (result.exit_code, result.output) == (0, "")


def test_inspect_lists_nodes_for_other_programs(source):
    result = call("inspect", source, "--nodes")
    rows = [line.split("\t") for line in result.output.splitlines()]
    assert rows[0] == ["index", "node", "tensor", "shape", "dtype"]
    assert rows[1] == ["0", "image", "image:0", "1,16,16,3", "float32"]
    assert all(len(row) == 5 for row in rows)


def test_inspect_summary_and_json(source):
    summary = call("inspect", source, "--layers").output
    assert "multiply-accumulates" in summary
    assert "every op supported" in summary
    assert json.loads(call("inspect", source, "--json").output)["inputs"][0]["name"] == "image"


def test_verify_exit_codes(source, tmp_path):
    lite = tmp_path / "net.tflite"
    call("convert", source, "-o", lite, "--quiet", "--no-verify")
    good = call("verify", source, lite)
    assert (good.exit_code, "verified" in good.output) == (0, True)
    bad = call("verify", source, lite, "--tolerance", "1e-30")
    assert (bad.exit_code, "failed" in bad.output) == (1, True)


def test_an_error_is_one_block_with_exit_code_2(tmp_path):
    result = run("convert", tmp_path / "absent.pb", "-o", tmp_path / "net.tflite")
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.splitlines()[0] == f"error: '{tmp_path / 'absent.pb'}' does not exist"
    assert "Traceback" not in result.stderr


def test_an_error_as_json(tmp_path):
    path = freeze(tmp_path / "net.pb", unsupported_net)
    result = call("convert", path, "-o", tmp_path / "net.tflite", "--json")
    assert result.exit_code == 2
    assert [problem["node"] for problem in json.loads(result.output)["problems"]] == ["centres", "lower"]


@pytest.mark.parametrize(
    "words",
    [
        ("convert", "net.pb"),
        ("convert", "net.pb", "-o", "net.tflite", "--bogus"),
        ("convert", "net.pb", "-o", "net.tflite", "--seed", "x"),
        ("verify", "net.pb"),
        ("zoo", "nonesuch"),
        ("nonesuch",),
    ],
)
def test_a_wrong_command_line_as_json(words):
    result = call(*words, "--json")
    error = json.loads(result.stdout)
    assert (result.exit_code, result.stderr, error["error"]) == (2, "", "OptionError")
    assert error["what"]
    plain = call(*words)
    assert (plain.exit_code, plain.stdout) == (2, "")
    assert error["what"].splitlines()[0] in plain.stderr


def test_a_verification_without_its_runtime_is_no_success(source, tmp_path, monkeypatch):
    lite = tmp_path / "net.tflite"
    call("convert", source, "-o", lite, "--quiet", "--no-verify")
    monkeypatch.setattr("tensorferry.runtimes.litert.available", lambda: "LiteRT is not here")
    plain = call("verify", source, lite, "--quiet")
    assert (plain.exit_code, "not verified: LiteRT is not here" in plain.output) == (2, True)
    machine = call("verify", source, lite, "--json")
    assert (machine.exit_code, json.loads(machine.stdout)["verified"]) == (2, False)


def test_brackets_in_a_path_are_no_markup(source, tmp_path):
    folder = tmp_path / "[red]"
    folder.mkdir()
    assert "[red]" in call("convert", source, "-o", folder / ":smile:.tflite").output
    assert ":smile:" in call("verify", source, folder / ":smile:.tflite").output


@pytest.mark.parametrize("width", [60, 100])
def test_layers_keep_their_figures_on_narrow_terminals(source, width, monkeypatch):
    monkeypatch.setattr("tensorferry.console.PLAIN_WIDTH", width)
    output = call("inspect", source, "--layers").output
    assert "\u2026" not in output
    assert "[1, 8, 8, 8]" in output


def test_errors_keep_their_figures_on_narrow_terminals(source, tmp_path, monkeypatch):
    lite = tmp_path / "net.tflite"
    call("convert", source, "-o", lite, "--quiet", "--no-verify")
    monkeypatch.setattr("tensorferry.console.PLAIN_WIDTH", 60)
    output = call("verify", source, lite).output
    assert "\u2026" not in output
    assert re.search(r"scores +(\d\.\d\de-\d\d +){3}1\.0{9} +ok$", output, re.MULTILINE)


def test_a_failed_verification_is_exit_code_1(source, tmp_path, monkeypatch):
    def refuse(*_arguments):
        raise VerificationError("it does not compute what the source computes")

    monkeypatch.setattr(conversion.check, "raise_if_failed", refuse)
    assert call("convert", source, "-o", tmp_path / "net.tflite").exit_code == 1
    assert list(tmp_path.iterdir()) == []


def test_an_unexpected_error_is_no_traceback(source, tmp_path, monkeypatch):
    monkeypatch.setattr(delivery, "write_program", lambda *_arguments, **_options: 1 / 0)
    result = call("convert", source, "-o", tmp_path / "net.tflite")
    assert result.exit_code == 2
    assert "internal error: ZeroDivisionError" in result.output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "words",
    [
        ("--shape", "image"),
        ("--shape", "image=1,x"),
        ("--log-level", "loud"),
        ("--to", "onnx"),
        ("--tolerance", "2"),
        ("--reference", "torch"),
        ("--no-such-option",),
        ("--shard-size", "-1"),
    ],
)
def test_nonsense_is_exit_code_2(source, tmp_path, words):
    assert call("convert", source, "-o", tmp_path / "net.tflite", *words).exit_code == 2
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_nothing(source, tmp_path):
    target = tmp_path / "net.tflite"
    target.write_bytes(b"before")
    limit = source.stat().st_size // 2

    def limit_files():
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    result = run("convert", source, "-o", target, "--no-verify", preexec_fn=limit_files)
    assert result.returncode == 2
    assert "cannot be written" in result.stderr
    assert str(target) in result.stderr
    assert target.read_bytes() == b"before"
    assert [each.name for each in tmp_path.iterdir()] == ["net.tflite"]


def test_an_interrupt_is_exit_code_130_and_leaves_nothing(source, tmp_path):
    # The writer is replaced by one that waits: the command is surely still at work when the signal comes.
    script = (
        "import time, tensorferry.delivery as c; from tensorferry.cli import main\n"
        "def wait(*_, **__): print('waiting', flush=True); time.sleep(60)\n"
        "c.write_program = wait\nmain()"
    )
    command = [sys.executable, "-c", script, "convert", str(source), "-o", str(tmp_path / "net.tflite")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)
    assert process.stdout is not None
    assert process.stdout.readline() == "waiting\n"
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert errors == "interrupted; nothing was written\n"
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_as_json(source, tmp_path, monkeypatch):
    def interrupt(*_arguments, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr(delivery, "write_program", interrupt)
    result = call("convert", source, "-o", tmp_path / "net.tflite", "--json")
    assert (result.exit_code, json.loads(result.stdout)["error"], result.stderr) == (130, "Interrupted", "")


def test_a_closed_pipe_is_no_error(source):
    command = f"{sys.executable} -m tensorferry inspect {source} --json | head -c 10"
    result = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, env=ENVIRONMENT, check=False)
    assert result.stderr == ""
    assert result.returncode == 0


@pytest.mark.parametrize("command", ["inspect", "convert", "verify"])
def test_help_shows_an_example(command):
    result = call(command, "--help")
    assert result.exit_code == 0
    assert f"tensorferry {command}" in result.output


def test_version():
    assert call("--version").output.startswith("tensorferry ")


def test_a_file_gets_plain_lines(source, tmp_path):
    """No frame, no padding, no colour where nobody looks."""
    lines = run("convert", source, "-o", tmp_path / "net.tflite").stdout.splitlines()
    assert lines[0].startswith("source ")
    assert all(line == line.rstrip() for line in lines)
    assert "\x1b" not in "".join(lines)


def test_an_ascii_terminal_is_no_obstacle(source, tmp_path):
    environment = {**ENVIRONMENT, "PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    command = [sys.executable, "-m", "tensorferry", "convert", str(source), "-o", str(tmp_path / "net.tflite")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_name_that_the_terminal_lacks_is_no_obstacle(source, tmp_path):
    target = tmp_path / "F\u00e4hre.tflite"
    environment = {**ENVIRONMENT, "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "tensorferry", "convert", str(source), "-o", str(target)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "F\\xe4hre" in done.stdout
    assert target.is_file()


def test_a_model_cannot_steer_the_terminal(tmp_path):
    path = freeze(tmp_path / "net.pb", unsupported_net)
    path.write_bytes(path.read_bytes().replace(b"lower", b"l\x1b[2J"))
    for command in (["inspect", path, "--nodes"], ["convert", path, "-o", tmp_path / "net.tflite"]):
        result = call(*command)
        assert result.exit_code == 2
        assert "\x1b" not in result.output
        assert "unprintable name" in result.output


def test_a_truncated_file_is_named_with_the_byte(source, tmp_path):
    path = tmp_path / "short.pb"
    path.write_bytes(source.read_bytes()[:-100])
    result = call("convert", path, "-o", tmp_path / "net.tflite")
    assert result.exit_code == 2
    assert "truncated or corrupt" in result.output
    assert f"'{path}', byte" in result.output


def test_the_zoo_lists_and_builds(tmp_path):
    listed = json.loads(call("zoo", "list", "--json").output)
    assert {"posenet", "mobilenet_v1"} <= set(listed)
    size = ("--multiplier", "0.25", "--resolution", "33", "--weights", "random")
    result = call("zoo", "build", "mobilenet_v1", "-o", tmp_path / "net.pb", *size)
    assert result.exit_code == 0
    assert "random, seed 0" in result.output
    assert json.loads(call("inspect", tmp_path / "net.pb", "--json").output)["inputs"][0]["shape"] == [1, 33, 33, 3]
