"""docs/ops.md says what the code does."""

from __future__ import annotations

import importlib.util
import sys
from fnmatch import fnmatch
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parent.parent / "scripts" / "make_op_table.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_op_table", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["make_op_table"] = module
    spec.loader.exec_module(module)
    return module


def test_the_table_is_current(script: ModuleType) -> None:
    assert script.PAGE.read_text(encoding="utf-8") == script.table(), "run python scripts/make_op_table.py"


def test_the_table_tells_operators_expansions_types_and_limits(script: ModuleType) -> None:
    page = script.table()
    lines = {line.split("`")[1]: line for line in page.splitlines() if line.startswith("| `")}
    assert "direct `MAXIMUM`, `RELU`: float32, " in lines["Relu"]
    assert lines["Softsign"].count("rewritten as `Abs`, `AddV2`, `RealDiv`") == 2
    assert "rewritten as `Abs`" in lines["Abs"] and "int8" in lines["Abs"]
    assert "| `Add` |" in lines["AddV2"]
    assert "**no**" in lines["Assert"]
    assert "## Known limits" in page


@pytest.mark.parametrize("target", ["tflite", "tfjs"])
def test_every_operator_of_a_target_is_met_or_explained(script: ModuleType, target: str) -> None:
    patterns = [name for names, _ in script.explained(target) for name in names]
    missing = script.KNOWN[target]() - script.reached(target)
    unexplained = sorted(name for name in missing if not any(fnmatch(name, pattern) for pattern in patterns))
    idle = sorted(pattern for pattern in patterns if not any(fnmatch(name, pattern) for name in missing))
    assert not unexplained, "say why in scripts/unreached.txt"
    assert not idle, "these are met, or no operators: take them out of scripts/unreached.txt"


def test_a_stale_page_is_told(script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "ops.md"
    monkeypatch.setattr(script, "PAGE", page)
    monkeypatch.setattr(sys, "argv", ["make_op_table.py", "--check"])
    assert script.main() == 1
    monkeypatch.setattr(sys, "argv", ["make_op_table.py"])
    assert script.main() == 0
    monkeypatch.setattr(sys, "argv", ["make_op_table.py", "--check"])
    assert script.main() == 0
