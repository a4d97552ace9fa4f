"""What the README says to type works as it stands there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import tensorferry
from tensorferry.cli import app
from tensorferry.runtimes import tfjs
from tensorferry.zoo.catalog import Wanted, build

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")

pytestmark = pytest.mark.skipif(tfjs.available() is not None, reason=str(tfjs.available()))


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a small `posenet.pb`, and one with pictures in it."""
    monkeypatch.chdir(tmp_path)
    Path("photographs").mkdir()
    for seed in range(2):
        pixels = np.random.default_rng(seed).integers(0, 256, (40, 60, 3), np.uint8)
        Image.fromarray(pixels).save(f"photographs/{seed}.png")
    build("posenet", "posenet.pb", Wanted(multiplier=0.25, resolution=65, weights="random"))


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def commands() -> list[list[str]]:
    lines = "\n".join(blocks("")).replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("tensorferry ")]


def test_the_commands_and_scripts_work_in_the_order_given(here, capsys):
    found = commands()
    assert {words[0] for words in found} == {"bench", "check", "convert", "diff", "freeze", "inspect", "pose", "quality", "verify"}
    for words in found:
        result = CliRunner().invoke(app, words)
        assert result.exit_code in ((0, 1) if words[0] == "diff" else (0,)), (words, result.output)  # 1: the ops differ
    using, converting = blocks("python")
    known: dict[str, object] = {}
    exec(compile(using, "README.md", "exec"), known)
    assert known["heatmap"].shape == (1, 5, 5, 17)
    exec(compile(converting, "README.md", "exec"), {})
    assert capsys.readouterr().out.startswith("True ")


def test_the_notices_are_those_of_the_source():
    """The words between `...` and numbers stand in the code that gives the notice."""
    source = Path(tensorferry.__file__).parent
    code = "".join(path.read_text(encoding="utf-8") for path in sorted(source.rglob("*.py")))
    table = README.partition("| notice |")[2].partition("\n\n")[0]
    notices = re.findall(r"^\| (?!-)([^|]*) \|", table, re.MULTILINE)
    assert len(notices) > 5
    for notice in notices:
        pieces = re.split(r"'?\.\.\.'?|not verified: |\bint\d+|outputs|[\d.]+ GiB", notice)
        assert [piece for piece in pieces if piece.strip() and piece.strip(" :") not in code] == []


def test_every_option_of_the_table_exists():
    table = re.findall(r"^\| `(--[^|]*)` \|", README, re.MULTILINE)
    named = {option for row in table for option in re.findall(r"--[a-z-]+", row)}
    known = {option for parameter in app.commands["convert"].params for option in (*parameter.opts, *parameter.secondary_opts)}
    assert named
    assert named <= known
