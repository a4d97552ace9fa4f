"""Targets appear whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path

import pytest

from tensorferry.errors import TargetError
from tensorferry.writers.atomic import StagedFile, StagedFolder, atomic_file, commit_all


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def stage_model(target: Path, shards: dict[str, bytes], mark: str) -> StagedFolder:
    stage = StagedFolder(target)
    manifest = {"mark": mark, "weightsManifest": [{"paths": list(shards), "weights": []}]}
    (stage.path / "model.json").write_text(json.dumps(manifest))
    for name, content in shards.items():
        (stage.path / name).write_bytes(content)
    return stage


def test_file_appears_with_ordinary_permissions(tmp_path: Path) -> None:
    with atomic_file(tmp_path / "model.tflite") as file:
        file.write(b"weights")
        assert "model.tflite" not in names(tmp_path)
    assert (tmp_path / "model.tflite").read_bytes() == b"weights"
    assert names(tmp_path) == ["model.tflite"]
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE((tmp_path / "model.tflite").stat().st_mode) == 0o666 & ~umask


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, MemoryError])
def test_failure_leaves_the_old_target_and_nothing_else(tmp_path: Path, error: type[BaseException]) -> None:
    target = tmp_path / "model.tflite"
    target.write_bytes(b"old")
    with pytest.raises(error), atomic_file(target) as file:
        file.write(b"half of the new")
        raise error
    assert target.read_bytes() == b"old"
    assert names(tmp_path) == ["model.tflite"]


def test_full_disk_is_explained(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="the disk is full") as caught, atomic_file(tmp_path / "model.tflite"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert "free some space" in caught.value.remedy
    assert names(tmp_path) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_real_full_device_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = StagedFile(tmp_path / "model.tflite")
    temporary, stage.path = stage.path, Path("/dev/full")
    with pytest.raises(TargetError, match="the disk is full"), stage.open() as file:
        file.write(bytes(1 << 20))
    stage.path = temporary
    stage.discard()
    assert names(tmp_path) == []


def test_existing_mode_is_kept(tmp_path: Path) -> None:
    target = tmp_path / "model.tflite"
    target.write_bytes(b"old")
    target.chmod(0o640)
    with atomic_file(target) as file:
        file.write(b"new")
    assert stat.S_IMODE(target.stat().st_mode) == 0o640


def test_symbolic_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real.tflite").write_bytes(b"old")
    (tmp_path / "link.tflite").symlink_to("real.tflite")
    with atomic_file(tmp_path / "link.tflite") as file:
        file.write(b"new")
    assert (tmp_path / "link.tflite").is_symlink()
    assert (tmp_path / "real.tflite").read_bytes() == b"new"


def test_target_equal_to_source_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "model.pb"
    source.write_bytes(b"source")
    (tmp_path / "other.pb").hardlink_to(source)
    for target in (source, tmp_path / "." / "model.pb", tmp_path / "other.pb"):
        with pytest.raises(TargetError, match="is the source itself"):
            StagedFile(target, [source])
    folder = tmp_path / "web"
    folder.mkdir()
    (folder / "model.json").write_text("{}")
    with pytest.raises(TargetError, match="is the source itself"):
        StagedFolder(folder, [folder / "model.json"])
    assert names(tmp_path) == ["model.pb", "other.pb", "web"]


def test_shard_that_is_the_source_is_refused_at_the_end(tmp_path: Path) -> None:
    folder = tmp_path / "web"
    folder.mkdir()
    source = folder / "a.bin"
    source.write_bytes(b"source")
    with StagedFolder(folder, [source]) as stage:
        (stage.path / "a.bin").write_bytes(b"new")
        with pytest.raises(TargetError, match="is the source itself"):
            stage.commit()
    assert source.read_bytes() == b"source"
    assert names(tmp_path) == ["web"]


def test_missing_parent_and_folder_in_the_way(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match=r"nowhere' does not exist") as caught:
        StagedFile(tmp_path / "nowhere" / "model.tflite")
    assert "create the folder" in caught.value.remedy
    with pytest.raises(TargetError, match="it is a folder"):
        StagedFile(tmp_path)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(TargetError, match="not a folder"):
        StagedFolder(tmp_path / "file")
    with pytest.raises(TargetError, match="the name is too long"), atomic_file(tmp_path / ("x" * 300)):
        pass
    assert names(tmp_path) == ["file"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_read_only_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    try:
        with pytest.raises(TargetError, match="permission denied"):
            StagedFile(tmp_path / "model.tflite")
    finally:
        tmp_path.chmod(0o755)


def test_permission_denied_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(TargetError, match="permission denied"):
        StagedFile(tmp_path / "model.tflite")


def test_new_folder(tmp_path: Path) -> None:
    with stage_model(tmp_path / "web", {"group1-shard1of1.bin": b"w"}, "new") as stage:
        assert names(tmp_path) == [stage.path.name]
        stage.commit()
    assert names(tmp_path) == ["web"]
    assert names(tmp_path / "web") == ["group1-shard1of1.bin", "model.json"]


def test_folder_loses_stale_shards_only(tmp_path: Path) -> None:
    web = tmp_path / "web"
    with stage_model(web, {"a.bin": b"1", "b.bin": b"2"}, "old") as stage:
        stage.commit()
    (web / "index.html").write_text("page")
    (web / "c.bin").write_bytes(b"somebody else's")
    with stage_model(web, {"a.bin": b"3"}, "new") as stage:
        stage.commit()
    assert names(web) == ["a.bin", "c.bin", "index.html", "model.json"]
    assert (web / "a.bin").read_bytes() == b"3"
    assert names(tmp_path) == ["web"]


@pytest.mark.parametrize(
    "manifest",
    [
        '{"weightsManifest": [{"paths": ["../precious", "/etc/hostname", "..", "", 3, "sub/x"]}]}',
        '{"weightsManifest": 7}',
        "not json",
        "[" * 100_000,
    ],
)
def test_hostile_old_manifest_deletes_nothing_outside(tmp_path: Path, manifest: str) -> None:
    web = tmp_path / "web"
    web.mkdir()
    (tmp_path / "precious").write_text("keep")
    (web / "model.json").write_text(manifest)
    with stage_model(web, {"a.bin": b"1"}, "new") as stage:
        stage.commit()
    assert names(tmp_path) == ["precious", "web"]
    assert names(web) == ["a.bin", "model.json"]


def test_folder_is_restored_when_a_move_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    web = tmp_path / "web"
    with stage_model(web, {"a.bin": b"1", "b.bin": b"2"}, "old") as stage:
        stage.commit()
    before = {path.name: path.read_bytes() for path in web.iterdir()}
    replace = Path.replace

    def fail_on_manifest(self: Path, target: Path) -> Path:
        if self.name == "model.json" and target.parent == web and "part" in self.parent.name:
            raise OSError(errno.EIO, "Input/output error")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", fail_on_manifest)
    with stage_model(web, {"a.bin": b"3"}, "new") as stage, pytest.raises(TargetError, match="Input/output error"):
        stage.commit()
    assert {path.name: path.read_bytes() for path in web.iterdir()} == before
    assert names(tmp_path) == ["web"]


def test_several_targets_are_placed_together_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "old.tflite").write_bytes(b"old")

    def stages() -> list[StagedFile | StagedFolder]:
        made: list[StagedFile | StagedFolder] = [StagedFile(tmp_path / "old.tflite"), StagedFile(tmp_path / "new.tflite")]
        for stage in made:
            stage.path.write_bytes(b"content")
        return [*made, stage_model(tmp_path / "web", {"a.bin": b"1"}, "new"), StagedFile(tmp_path / "last")]

    staged = stages()

    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(staged[-1], "publish", interrupt)
    with pytest.raises(KeyboardInterrupt):
        commit_all(staged)
    assert names(tmp_path) == ["old.tflite"]
    assert (tmp_path / "old.tflite").read_bytes() == b"old"

    commit_all(stages())
    assert names(tmp_path) == ["last", "new.tflite", "old.tflite", "web"]
    assert (tmp_path / "old.tflite").read_bytes() == b"content"
