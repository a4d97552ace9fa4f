"""What a stranger relies on: one version, pages that say what exists, no trace of the machines it was written on."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

import tensorferry

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

MACHINE_TRACES = re.compile(
    "|".join(
        ("/wo" + "rk/", "/ro" + "ot/", "/ho" + r"me/\w", "bash" + "_jobs", "python" + "hosted", "npm" + r"js\.", r"py" + r"pi\.org")
    )
)
"""Written in pieces, so that this file does not find itself."""


def tracked_files() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_no_tracked_file_names_a_machine_path_or_a_registry() -> None:
    traces = []
    for path in tracked_files():
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            continue
        traces += [f"{path.relative_to(ROOT)}:{number}" for number, line in enumerate(lines, 1) if MACHINE_TRACES.search(line)]
    assert traces == []


def test_the_pattern_finds_what_it_is_for() -> None:
    assert MACHINE_TRACES.search("cd /wo" + "rk/main")
    assert not MACHINE_TRACES.search("../shared/models and https://storage.googleapis.com/tfjs-models")


def test_no_tracked_file_is_large() -> None:
    assert [str(path) for path in tracked_files() if path.stat().st_size > 1_500_000] == []


def test_the_version_is_the_same_everywhere() -> None:
    assert tensorferry.__version__ == PROJECT["version"]
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(r"^## \[?(\d+\.\d+\.\d+)", changelog, re.MULTILINE).group(1) == PROJECT["version"]


def test_pages_link_to_pages_that_exist() -> None:
    broken = []
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
        for link in re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", page.read_text(encoding="utf-8")):
            if not (page.parent / link).exists():
                broken.append(f"{page.relative_to(ROOT)}: {link}")
    assert broken == []


def test_the_readme_names_each_command_and_make_target() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for command in ("tensorferry inspect", "tensorferry convert", "tensorferry verify", "make demo"):
        assert command in readme
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    contributing = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    targets = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE).group(1).split()
    assert [target for target in targets if target != "help" and f"make {target}" not in contributing] == []


def test_every_room_stands_in_the_architecture_page() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rooms = {path.stem for path in (ROOT / "src" / "tensorferry").iterdir() if not path.name.startswith("_")}
    assert sorted(room for room in rooms if room not in page) == []
