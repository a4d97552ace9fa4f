"""Archives from strangers: what kind a file is, and its files put into a folder of our own, or one clear error."""

from tensorferry.archives.kinds import COMPRESSED, KINDS, kind_of_archive
from tensorferry.archives.limits import Budget
from tensorferry.archives.unpacking import unpack

__all__ = ["COMPRESSED", "KINDS", "Budget", "kind_of_archive", "unpack"]
