"""Models among the files of a folder, told from their content."""

from __future__ import annotations

from pathlib import Path

from tensorferry.errors import SourceError
from tensorferry.readers.detect import is_model

_FOLDERS = ("saved_model.pb", "saved_model.pbtxt")


def find_models(folder: Path) -> list[Path]:
    """Folders and files that can be read as models, sorted; a SavedModel's folder counts once, shards of weights not at all.

    Links are not followed.
    """
    found: list[Path] = []
    waiting = [folder]
    while waiting:
        place = waiting.pop()
        if any((place / name).is_file() for name in _FOLDERS):
            found.append(place)
            continue
        for each in place.iterdir():
            if each.is_symlink():
                continue
            if each.is_dir():
                waiting.append(each)
            elif _is_model(each):
                found.append(each)
    return sorted(found)


def _is_model(path: Path) -> bool:
    try:
        return is_model(path)
    except SourceError:
        return False
