"""Build hook: a wheel, and an installation from a checkout, contain the bundled JavaScript side of the TensorFlow.js runtime."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


def _load_builder(root: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location("build_js", Path(root) / "scripts" / "build_js.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class JavaScriptHook(BuildHookInterface):  # type: ignore[type-arg]
    """Bundles before packing. Node's wheel is asked for only where the bundle is to be made and no npm is on the PATH."""

    def dependencies(self) -> list[str]:
        builder = _load_builder(self.root)
        return [] if builder.is_current() or builder.find_tools() else [builder.NODE_WHEEL]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        del version, build_data
        builder = _load_builder(self.root)
        try:
            builder.build()
        except builder.BuildError as error:
            raise SystemExit(f"error: {error}") from None
