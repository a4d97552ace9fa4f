"""Addresses: what is one, which are refused, and those of files beside another."""

from __future__ import annotations

import re
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from tensorferry.errors import SourceError

_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]+):/+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def is_address(text: str) -> bool:
    """Whether it begins with a scheme; a Windows drive has one letter and is none."""
    return _SCHEME.match(text) is not None


def address_of(text: str) -> str:
    """The address in full. SourceError unless it is one of http or https with a host and without a password."""
    found = _SCHEME.match(text)
    scheme = found[1].lower() if found else ""
    if found is None or scheme not in ("http", "https"):
        raise SourceError(f"'{text}' is not read", why=f"'{scheme}' is neither http nor https")
    whole = f"{scheme}://{text[found.end() :]}"  # a path type may have made one slash of two
    try:
        parts = urlsplit(whole)
        valid = bool(parts.hostname) and (parts.port is None or parts.port > 0)
        host = parts.netloc if parts.netloc.isascii() else parts.netloc.encode("idna").decode("ascii")
    except ValueError:
        valid = False
    if not valid or _CONTROL.search(whole.strip()):
        raise SourceError(f"'{text}' is no address that can be read", remedy="check its host and port; write blanks as %20")
    if parts.username or parts.password:
        raise SourceError("an address with a name or password in it is not read", remedy="download the file and name that")
    path, query = quote(parts.path, safe="/%:@!$&'()*+,;=~-._"), quote(parts.query, safe="/%:@!$&'()*+,;=~-._?")
    return f"{scheme}://{host}{path}{'?' if query else ''}{query}"


def plain_name(address: str) -> str:
    """The last part of the path as a file's name that leads nowhere."""
    name = unquote(urlsplit(address).path.rstrip("/").rpartition("/")[2])
    name = re.sub(r'[\x00-\x1f\x7f-\x9f/\\:*?"<>|!]', "_", name)[:100]
    return name if name.strip(". ") else "model"


def beside(address: str, name: str) -> str:
    """The address of a file named relative to another: below the same folder, with the same query. SourceError for any other."""
    parts = urlsplit(address)
    plain = unquote(name)
    leads = any(step in ("", ".", "..") for step in plain.split("/")) or any(mark in plain for mark in "\\:?#")
    if leads or _CONTROL.search(name):
        what = f"the model at '{address}' names the file {name!r}, which is not beside it"
        raise SourceError(what, remedy="do not trust this model")
    path = f"{parts.path.rpartition('/')[0]}/{quote(name, safe='/%')}"
    return urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))
