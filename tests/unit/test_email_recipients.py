"""Recipients from files and lists: who they are, where they stand, and who is refused."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasks.email import recipients_csv
from tasks.email.errors import BadRecipients
from tasks.email.recipients import Recipient, describe_recipients, read_recipients, recipients_argument
from tasks.errors import BadArguments

pytestmark = pytest.mark.unit

Reads = Callable[..., list[Recipient]]


@pytest.fixture
def read(tmp_path: Path) -> Reads:
    """Recipients of a file with this content."""

    def reads(content: str | bytes, **dialect: str) -> list[Recipient]:
        path = tmp_path / "people.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return list(read_recipients(recipients_argument({"csv": path, **dialect}), roots=[tmp_path]))

    return reads


def test_a_file_gives_addresses_variables_and_lines(read: Reads) -> None:
    """The place is the line that a record begins in, blank lines and quoted line breaks counted."""
    found = read('email,name\na@example.com,Anna\n\nb@Example.com,"Ben\nBoy"\nc@example.com,\n')
    assert [(r.place, r.address and r.address.normalised, r.variables["name"]) for r in found] == [
        (2, "a@example.com", "Anna"),
        (4, "b@example.com", "Ben\nBoy"),
        (6, "c@example.com", ""),
    ]


def test_headers_become_names_that_templates_can_use(read: Reads) -> None:
    """Blanks and hyphens become underscores; the address column is found whatever its case."""
    (found,) = read("E-Mail;First Name;größe\na@example.com;Anna;XL\n", address="e-mail", delimiter=";")
    assert found.variables == {"E_Mail": "a@example.com", "First_Name": "Anna", "größe": "XL"}


def test_bad_lines_are_refused_and_their_neighbours_are_not(read: Reads) -> None:
    """A bad address, a ragged line, a malformed one and a NUL byte are refused, each with its line and the reason."""
    found = read(
        'email,name\nok@example.com,A\nnobody,B\nc@example.com\n"d"x@example.com,D\ne@example.com,\0\nf@example.com,F\n'
    )
    assert [r.place for r in found] == [2, 3, 4, 5, 6, 7]
    assert [bool(r.refused) for r in found] == [False, True, True, True, True, False]
    assert "no @" in str(found[1].refused) or "@" in str(found[1].refused)
    assert "1 fields, the header 2" in str(found[2].refused)
    assert "not valid CSV" in str(found[3].refused)
    assert all((r.address is None) == (r.refused is not None) for r in found)


def test_malformed_lines_do_not_move_the_others(read: Reads) -> None:
    """With and without a malformed record in a part of the file, every other record has the same line."""
    good = [f'u{number}@example.com,"two\nlines {number}"\n\n' for number in range(200)]
    clean = {r.given: r.place for r in read("email,name\n" + "".join(good))}
    good.append('"x"y@example.com,z\n')
    careful = {r.given: r.place for r in read("email,name\n" + "".join(good)) if r.given}
    assert clean == careful and len(clean) == 200


def test_encodings_and_marks_are_the_imports(read: Reads) -> None:
    """cp1252 by name, UTF-8 with a mark; a wrong encoding fails with the line and nothing is guessed."""
    assert (
        read("email,name\na@example.com,Jürgen\n".encode("cp1252"), encoding="cp1252")[0].variables["name"] == "Jürgen"
    )
    assert read(b"\xef\xbb\xbf" + "email,name\na@example.com,Ü\n".encode())[0].variables == {
        "email": "a@example.com",
        "name": "Ü",
    }
    with pytest.raises(BadRecipients, match="line 3"):
        read("email,name\na@example.com,b\na@example.com,Jürgen\n".encode("cp1252"))


@pytest.mark.parametrize(
    "content, message",
    [
        ("", "is empty"),
        ("name\nAnna\n", "no column is called 'email', the header has name"),
        ("email,Email\na@b.com,c\n", "several columns"),
        ("email,a b,a-b\na@b.com,c,d\n", "two columns are called a_b"),
        ('email,name\na@b.com,"open\n', "quote"),
    ],
)
def test_a_file_that_cannot_be_read_fails_as_a_whole(read: Reads, content: str, message: str) -> None:
    """What is wrong with the file, not with a line, says what and where."""
    with pytest.raises(BadRecipients, match=message):
        read(content)


def test_files_outside_the_roots_are_refused(tmp_path: Path) -> None:
    """Neither a path elsewhere nor a link that leads elsewhere is read."""
    inside = tmp_path / "in"
    inside.mkdir()
    (tmp_path / "out.csv").write_text("email\na@example.com\n")
    (inside / "link.csv").symlink_to(tmp_path / "out.csv")
    for path in (tmp_path / "out.csv", inside / "link.csv"):
        with pytest.raises(BadRecipients, match="outside the allowed roots"):
            list(read_recipients(recipients_argument(path), roots=[inside]))


def test_a_file_that_changes_while_it_is_read_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Recipients are those of one file, not of the beginning of one and the end of another."""
    monkeypatch.setattr(recipients_csv, "CHUNK_BYTES", 4096)
    path = tmp_path / "people.csv"
    path.write_text("email\n" + "".join(f"u{n}@example.com\n" for n in range(1000)))
    reading = read_recipients(recipients_argument(path), roots=[tmp_path])
    next(reading)
    with path.open("a") as file:
        file.write("late@example.com\n")
    with pytest.raises(BadRecipients, match="changed"):
        list(reading)


def test_a_file_is_read_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five times the file takes no more memory: a chunk, not a list of recipients."""
    monkeypatch.setattr(recipients_csv, "CHUNK_BYTES", 65536)

    def peak(rows: int) -> int:
        path = tmp_path / f"{rows}.csv"
        path.write_text("email,name\n" + "".join(f"user{n}@example.com,{'x' * 100}\n" for n in range(rows)))
        reading = read_recipients(recipients_argument(path), roots=[tmp_path])
        # The header alone is looked for in more than that.
        next(reading)
        tracemalloc.start()
        assert sum(1 for _ in reading) == rows - 1
        _, highest = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return highest

    small = 2000
    assert peak(5 * small) < 1.3 * peak(small)


def test_lists_may_hold_addresses_and_mappings() -> None:
    """The place is the number in the list; None counts as missing."""
    argument = recipients_argument(["a@example.com", {"email": "b@example.com", "name": "Ben", "city": None}, "nobody"])
    assert argument == recipients_argument(argument)
    found = list(read_recipients(argument, roots=[]))
    assert [(r.place, r.refused is None) for r in found] == [(1, True), (2, True), (3, False)]
    assert found[1].variables == {"email": "b@example.com", "name": "Ben"}


@pytest.mark.parametrize("value", ["\ud800", {"deep": ["\udfff"]}, float("nan"), "x" * 70_000])
def test_variables_that_no_message_can_carry_refuse_their_recipient(value: Any) -> None:
    """Half characters, numbers that are none and far too much text stop one recipient, not the campaign."""
    (found,) = read_recipients([{"email": "a@example.com", "name": value}], roots=[])
    assert found.address is None and found.refused
    assert ("half of a character" in found.refused) == (isinstance(value, str | dict) and "x" not in value)
    str(found).encode()


def test_an_address_with_half_a_character_can_be_stored_as_refused() -> None:
    """It goes into the ledger with its reason, so it must be text that a database takes."""
    (found,) = read_recipients([{"email": "a\ud800@example.com"}], roots=[])
    assert found.refused and (found.given + found.refused).encode()


@pytest.mark.parametrize(
    "wrong",
    [
        None, 7, b"a@example.com", [1], [{"name": "x"}], [{"email": "a@example.com", 1: 2}], {}, {"csv": "x", "sheet": 1},
        "s3://bucket/x.csv", {"csv": "x", "delimiter": "ab"}, {"csv": "x", "address": ""}, {"csv": "x", "encoding": "utf-16"},
        {"query": 7}, {"query": "x", "parameters": [1]},
    ],
)  # fmt: skip
def test_arguments_that_cannot_be_right_are_refused_at_the_start(wrong: Any) -> None:
    """A start says so before anything is recorded."""
    with pytest.raises(BadArguments):
        recipients_argument(wrong)


@pytest.mark.parametrize(
    "given", ["people.csv", {"csv": "people.csv", "delimiter": ";"}, {"query": "x"}, ["a@b.com"], []]
)
def test_canonical_arguments_stay_what_they_are(given: Any) -> None:
    """Normalising twice is normalising once, and operators get words for each."""
    argument = recipients_argument(given)
    assert recipients_argument(argument) == argument
    assert describe_recipients(argument) in ("people.csv", "query x", "1 recipient", "0 recipients")
