"""Where what can be had again is kept."""

from __future__ import annotations

import os
import sys
from pathlib import Path

VARIABLE = "TENSORFERRY_CACHE"


def cache_folder() -> Path:
    """$TENSORFERRY_CACHE, else where the system keeps such things."""
    given = os.environ.get(VARIABLE)
    if given:
        return Path(given)
    if os.name == "nt":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "tensorferry"
    if sys.platform == "darwin" and not os.environ.get("XDG_CACHE_HOME"):
        return Path.home() / "Library" / "Caches" / "tensorferry"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tensorferry"
