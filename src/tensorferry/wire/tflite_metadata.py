"""Facts of TensorFlow Lite Model Metadata: its schema, where it lies in a file, and the zip archive of files behind the model."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from tensorferry.wire.flatbuffer import Schema, parse_schema

IDENTIFIER = b"M001"
BUFFER = "TFLITE_METADATA"
"""The name under which a model's Metadata table lists it."""

OLDEST_PARSER = "1.0.0"
"""The first version of the format. It knows all that is written here: vocabularies and tokenizers would need a younger one."""


@cache
def schema() -> Schema:
    """Tables, unions and enums."""
    text = Path(__file__).with_name("tflite_metadata.schema").read_text(encoding="utf-8").replace("\n ", " ")
    return parse_schema([line.split() for line in text.splitlines() if line and not line.startswith("#")])
