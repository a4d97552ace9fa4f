"""Files from addresses: within limits of size, time and redirection, checked, and whole or not at all."""

from tensorferry.download.addresses import address_of, is_address, plain_name
from tensorferry.download.cache import cache_folder
from tensorferry.download.client import DEFAULT_MOST, digest_of, download
from tensorferry.download.models import download_model

__all__ = [
    "DEFAULT_MOST",
    "Told",
    "address_of",
    "cache_folder",
    "digest_of",
    "download",
    "download_model",
    "is_address",
    "plain_name",
]
