"""The texts of fields, read from the source."""

from __future__ import annotations

from accsim.config.field_docs import field_docs
from accsim.config.reader import FileModel


class Base(FileModel):
    """A model with two fields that have texts."""

    kept: int = 1
    """Of the base."""
    changed: int = 2
    """Of the base,
    over two lines.
    """
    silent: int = 3


class Derived(Base):
    """One that gives a field anew."""

    changed: int = 5
    own: int = 6
    """Of its own."""


def test_a_model_has_its_own_texts_and_those_of_its_bases() -> None:
    assert field_docs(Base) == {"kept": "Of the base.", "changed": "Of the base,\nover two lines."}
    assert field_docs(Derived) == {"kept": "Of the base.", "own": "Of its own."}


def test_a_schema_has_the_texts() -> None:
    properties = Derived.model_json_schema()["properties"]
    assert {name: field.get("description") for name, field in properties.items()} == {
        "kept": "Of the base.",
        "changed": None,
        "silent": None,
        "own": "Of its own.",
    }
