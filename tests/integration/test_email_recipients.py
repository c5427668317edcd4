"""Recipients from registered queries, and unsubscribing, on a real database."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from decimal import Decimal

import pytest

from runstate.transaction import in_transaction
from tasks import clients
from tasks.email import queries
from tasks.email.errors import BadRecipients, BadToken
from tasks.email.queries import query_named, register_query
from tasks.email.recipients import Recipient, read_recipients, recipients_argument
from tasks.email.unsubscribe import Unsubscriber, Unsubscription, unsubscribe
from tests.integration.machinery import execute, query

pytestmark = pytest.mark.usefixtures("machinery")


@pytest.fixture(autouse=True)
def people(machinery: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A table of people, and no query registered yet."""
    monkeypatch.setattr(queries, "_queries", {})
    execute("DROP TABLE IF EXISTS people")
    execute(
        "CREATE TABLE people (id BIGINT AUTO_INCREMENT PRIMARY KEY, email VARCHAR(200), name VARCHAR(100),"
        " owes DECIMAL(10,2), since DATETIME, photo BLOB) DEFAULT CHARSET=utf8mb4"
    )
    execute(
        "INSERT INTO people (email, name, owes, since) VALUES ('Anna@Example.com', 'Änna 🦆', 12.50, '2026-01-02 03:04:05'),"
        " ('nobody', 'Ben', 1, NULL), (NULL, 'Cem', 2, NULL), ('d@example.com', NULL, NULL, NULL)"
    )
    yield
    execute("DROP TABLE people")


def read(name: str, **parameters: object) -> list[Recipient]:
    argument = recipients_argument({"query": name, "parameters": parameters})
    return list(read_recipients(argument, roots=[], engine=clients.engine()))


def test_a_query_gives_recipients_with_variables() -> None:
    """Decimals and times come as text, NULL is left out, and a bad address costs its row alone."""
    register_query("people", "SELECT email, name, owes, since FROM people WHERE id >= :first ORDER BY id")
    found = read("people", first=1)
    assert found[0].address is not None and found[0].address.normalised == "Anna@example.com"
    assert found[0].variables == {
        "email": "Anna@Example.com",
        "name": "Änna 🦆",
        "owes": str(Decimal("12.50")),
        "since": "2026-01-02 03:04:05",
    }
    assert [(r.place, r.refused is None) for r in found] == [(1, True), (2, False), (3, False), (4, True)]
    assert found[3].variables == {"email": "d@example.com"}
    assert [r.given for r in read("people", first=4)] == ["d@example.com"]


def test_rows_are_streamed() -> None:
    """The server holds them, and a thousand at a time are here."""
    for _ in range(12):
        execute("INSERT INTO people (email, name) SELECT email, REPEAT('x', 90) FROM people")
    (rows,) = query("SELECT COUNT(*) FROM people")[0]
    register_query("all_people", "SELECT email, name FROM people")
    register_query("few", "SELECT email FROM people LIMIT 1")
    read("few")
    tracemalloc.start()
    count = sum(
        1 for _ in read_recipients({"query": "all_people", "parameters": {}}, roots=[], engine=clients.engine())
    )
    _, highest = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == rows > 16_000 and highest < 2 * 1024 * 1024


@pytest.mark.parametrize(
    "sql, message",
    [
        ("SELECT nosuch FROM people", "Unknown column"),
        ("SELEC 1", "syntax"),
        ("SELECT name FROM people", "no column 'email'"),
        ("SELECT email, name, name FROM people", "two columns of one name"),
        ("INSERT INTO people (email) VALUES ('x@example.com')", "READ ONLY"),
        ("DELETE FROM people", "READ ONLY"),
    ],
)
def test_a_wrong_query_fails_the_planning(sql: str, message: str) -> None:
    """It says what the server says, and has changed nothing."""
    register_query("wrong", sql)
    with pytest.raises(BadRecipients, match=message):
        read("wrong")
    assert query("SELECT COUNT(*) FROM people") == [(4,)]


def test_parameters_are_never_part_of_the_sql() -> None:
    """A quote in a parameter is a quote in a value."""
    register_query("named", "SELECT email FROM people WHERE name = :wanted")
    assert read("named", wanted="' OR 1=1 -- ") == []


def test_binary_columns_refuse_their_rows() -> None:
    """What JSON cannot carry is said, not stored as something else."""
    execute("UPDATE people SET photo = 0x89504E47 WHERE id = 1")
    register_query("photos", "SELECT email, photo FROM people ORDER BY id")
    found = read("photos")
    assert "photo is binary" in str(found[0].refused) and found[3].refused is None


def test_names_are_unique_and_known() -> None:
    """Registering the same again is fine, another under its name is not; an unknown one names the others."""
    register_query("people", "SELECT email FROM people")
    register_query("people", "SELECT email FROM people")
    with pytest.raises(ValueError, match="another query"):
        register_query("people", "SELECT 1")
    with pytest.raises(BadRecipients, match="there are: people"):
        query_named("customers")


@pytest.mark.filterwarnings("error:Previous unbuffered result")
def test_a_query_that_is_left_early_leaves_nothing_behind() -> None:
    """The planning may fail at the first row: the pool's connections can be used, and can write."""
    register_query("people", "SELECT email FROM people")
    read("people")
    reading = iter(read_recipients({"query": "people", "parameters": {}}, roots=[], engine=clients.engine()))
    next(reading)
    del reading
    execute("UPDATE people SET name = 'new'")
    assert query("SELECT DISTINCT name FROM people") == [("new",)]


class TestUnsubscribing:
    UNSUBSCRIBER = Unsubscriber("k1:" + "a" * 32, "https://example.com/u/")

    def post(self, token: str) -> None:
        in_transaction(clients.engine(), lambda c: unsubscribe(c, token, unsubscriber=self.UNSUBSCRIBER))

    def suppressions(self) -> list[tuple[str, str, str]]:
        return [tuple(row) for row in query("SELECT address, scope, reason FROM email_suppressions ORDER BY address")]

    def test_a_token_suppresses_its_recipient(self) -> None:
        """In the scope of the token, and again without an error."""
        token = self.UNSUBSCRIBER.token(Unsubscription("anna@example.com", "list:news.example.com", "winter"))
        self.post(token)
        self.post(token)
        assert self.suppressions() == [("anna@example.com", "list:news.example.com", "unsubscribe")]

    def test_a_test_message_unsubscribes_nobody(self) -> None:
        """Whoever tries the link of a test message stays on the list."""
        self.post(self.UNSUBSCRIBER.token(Unsubscription("anna@example.com", "test", "winter")))
        assert self.suppressions() == []

    def test_a_forged_token_changes_nothing(self) -> None:
        """Only who has the key can make one."""
        forged = Unsubscriber("k1:" + "b" * 32, "https://example.com/u/")
        with pytest.raises(BadToken):
            self.post(forged.token(Unsubscription("anna@example.com", "global", "winter")))
        assert self.suppressions() == []
