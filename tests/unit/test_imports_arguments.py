"""What an import's start may say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tasks.errors import BadArguments
from tasks.imports.arguments import CHUNK_BYTES, encoding_name, import_arguments

GOOD: dict[str, Any] = {"source": "/data/p.csv", "target": "products", "key": ["sku"]}


def arguments(**changes: Any) -> dict[str, Any]:
    given = GOOD | changes
    return import_arguments(given.pop("source"), given.pop("target"), **given)


def test_defaults_are_written_out() -> None:
    """What is stored says everything, so that a run can be understood and replayed from its row alone."""
    assert arguments() == {
        "source": "/data/p.csv",
        "target": "products",
        "key": ["sku"],
        "mapping": None,
        "mode": "upsert",
        "delimiter": ",",
        "encoding": "utf-8",
        "nulls": [""],
        "chunk_bytes": CHUNK_BYTES,
        "max_rejects": None,
    }


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"key": "sku"},
        {"source": Path("relative.csv")},
        {"mode": "insert", "key": None},
        {"nulls": {"a": ["", "NA"]}},
        {"mapping": {"A": "a", "B": None}, "encoding": "UTF8", "max_rejects": 0},
    ],
)
def test_arguments_of_arguments_are_the_same(changes: dict[str, Any]) -> None:
    """A replay goes through the same check with what was stored, and starts the same run."""
    once = arguments(**changes)
    assert import_arguments(**once) == once


def test_one_name_may_stand_alone() -> None:
    """key='sku' means key=['sku'], and nulls='NA' one text, not its letters."""
    assert arguments(key="sku", nulls="NA")["key"] == ["sku"]
    assert arguments(nulls="NA")["nulls"] == ["NA"]


def test_a_relative_path_is_the_producers() -> None:
    """Workers have another working directory, so the path is made absolute where it is given."""
    assert arguments(source="p.csv")["source"] == str(Path.cwd() / "p.csv")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"source": ""}, "source"),
        ({"source": 3}, "source"),
        ({"source": "a\0b"}, "source"),
        ({"source": b"/bytes"}, "source"),
        ({"source": "s3://bucket/p.csv"}, "not URLs"),
        ({"target": ""}, "target"),
        ({"target": "t" * 65}, "target"),
        ({"target": None}, "target"),
        ({"key": []}, "key is empty"),
        ({"key": None}, "key is empty"),
        ({"key": ["a", "a"]}, "each once"),
        ({"key": [1]}, "key="),
        ({"mode": "replace"}, "upsert, insert"),
        ({"delimiter": ""}, "delimiter"),
        ({"delimiter": ";;"}, "delimiter"),
        ({"delimiter": '"'}, "delimiter"),
        ({"delimiter": "\n"}, "delimiter"),
        ({"delimiter": "§"}, "ASCII"),
        ({"encoding": "klingon"}, "no text encoding"),
        ({"encoding": "base64"}, "no text encoding"),
        ({"encoding": 5}, "no text encoding"),
        ({"encoding": "utf-16"}, "iconv"),
        ({"encoding": "gbk"}, "iconv"),
        ({"encoding": "shift_jis"}, "iconv"),
        ({"encoding": "iso2022_jp"}, "iconv"),
        ({"encoding": "utf-7"}, "iconv"),
        ({"encoding": "cp037"}, "iconv"),
        ({"chunk_bytes": 0}, "chunk_bytes"),
        ({"chunk_bytes": True}, "chunk_bytes"),
        ({"chunk_bytes": 10**9}, "chunk_bytes"),
        ({"max_rejects": -1}, "max_rejects"),
        ({"max_rejects": 1.5}, "max_rejects"),
        ({"nulls": [None]}, "nulls"),
        ({"mapping": ["a"]}, "mapping"),
        ({"mapping": {"A": 1}}, "mapping"),
        ({"mapping": {"A": "x", "B": "x"}}, "same column x"),
    ],
)
def test_a_wrong_argument_is_refused_with_what_to_give(changes: dict[str, Any], words: str) -> None:
    """The producer hears of it at once, and the message names the argument."""
    with pytest.raises(BadArguments, match=words):
        arguments(**changes)


@pytest.mark.parametrize(
    "name", ["utf-8", "UTF8", "utf_8_sig", "ascii", "latin-1", "cp1252", "cp437", "koi8-r", "iso8859-15", "mac-roman"]
)
def test_encodings_in_which_bytes_are_what_they_seem_are_taken(name: str) -> None:
    """UTF-8 and the 8-bit encodings that contain ASCII can be cut by bytes."""
    assert 'a,"\n'.encode(encoding_name(name)) == b'a,"\n'
