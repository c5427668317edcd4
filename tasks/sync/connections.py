"""Connections: what is kept the same with what, declared in code; addresses and secrets come from the environment."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import import_module
from typing import Literal

from tasks.settings import settings
from tasks.sync.connector import Connector
from tasks.sync.errors import BadConnection
from tasks.sync.merge import Policy

_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}\Z")

Deletes = Literal["both", "local", "remote", "none"]
DeleteOrEdit = Literal["edit", "delete"]


@dataclass(frozen=True, slots=True)
class SyncKind:
    """One kind of record of a connection: a table's rows and an API's records that are to be the same.

    ``name``              names it in starts, locks and tables
    ``connector``         ``(address) -> Connector``: for this collection, made once per process
    ``table``, ``key``    the InnoDB table and its primary key, one column: AUTO_INCREMENT, or one of ``columns``
    ``columns``           the columns that are kept the same; the table may have others
    ``policy``            for a field that both sides changed (`Policy`); ``policies``: for single columns
    ``changed_at``        the column with a row's last change in UTC, as ON UPDATE CURRENT_TIMESTAMP keeps it; for ``newest``
    ``match``             columns that say which unlinked row and record belong together
    ``scan``              look for changed rows by comparing hashes in each run, for those who cannot call `record_change`
    ``deletes``           on which side the sync may delete: ``both``, ``local``, ``remote``, ``none``
    ``delete_or_edit``    one side deleted what the other edited: ``edit`` brings it back, ``delete`` deletes it
    ``max_delete_share``  a run that would delete more of the known records than this is stopped; up to ``few_deletes`` always may
    ``full_every_s``      list everything at least so often, which finds deletes that the API does not tell; None: only when asked
    ``batch``             how many records one push job takes; None: as suits the API
    """

    name: str
    connector: Callable[[str], Connector]
    table: str
    key: str
    columns: tuple[str, ...]
    policy: Policy | str
    policies: Mapping[str, Policy | str] = field(default_factory=dict)
    changed_at: str | None = None
    match: tuple[str, ...] = ()
    scan: bool = False
    deletes: Deletes = "both"
    delete_or_edit: DeleteOrEdit = "edit"
    max_delete_share: float = 0.2
    few_deletes: int = 3
    full_every_s: float | None = None
    batch: int | None = None

    def __post_init__(self) -> None:
        if not _NAME.match(self.name):
            raise BadConnection(f"SyncKind({self.name!r}): lower-case letters, digits and _, at most 40")
        if not self.columns or len(set(self.columns)) != len(self.columns):
            raise BadConnection(f"SyncKind({self.name!r}): name the columns to keep the same, each once")
        stray = (set(self.match) | set(self.policies)) - set(self.columns)
        if stray:
            raise BadConnection(f"SyncKind({self.name!r}): {', '.join(sorted(stray))} are not among its columns")
        used = {self.policy_of(column) for column in self.columns}
        if Policy.NEWEST in used and self.changed_at is None:
            raise BadConnection(
                f"SyncKind({self.name!r}): policy newest compares times; name the column changed_at= that keeps a row's"
            )
        if not 0 <= self.max_delete_share <= 1 or (self.batch is not None and self.batch < 1):
            raise BadConnection(f"SyncKind({self.name!r}): 0 <= max_delete_share <= 1, and batch starts at 1")

    def policy_of(self, column: str) -> Policy:
        """What happens to a column that both sides changed; raises `BadConnection` for a word that is none."""
        word = self.policies.get(column, self.policy)
        try:
            return Policy(word)
        except ValueError:
            raise BadConnection(f"SyncKind({self.name!r}): policy {word!r}: local, remote, newest or manual") from None

    def may_delete(self, side: Literal["local", "remote"]) -> bool:
        """Whether the sync may delete on that side."""
        return self.deletes in ("both", side)


@dataclass(frozen=True, slots=True)
class SyncConnection:
    """One API account and the kinds of record that are kept the same with it.

    ``limits``       rates such as ``("14/s", "10000/h")`` that all workers keep together
    ``concurrency``  how many requests may be under way at once, on all hosts together; None: as many as there are workers
    """

    name: str
    kinds: tuple[SyncKind, ...]
    limits: tuple[str, ...] = ()
    concurrency: int | None = None

    def __post_init__(self) -> None:
        if not _NAME.match(self.name):
            raise BadConnection(f"SyncConnection({self.name!r}): lower-case letters, digits and _, at most 40")
        if len({kind.name for kind in self.kinds}) != len(self.kinds) or not self.kinds:
            raise BadConnection(f"SyncConnection({self.name!r}): declare its kinds, each name once")

    def kind(self, name: str) -> SyncKind:
        """The kind of record of this name; raises `BadConnection`."""
        for kind in self.kinds:
            if kind.name == name:
                return kind
        known = ", ".join(kind.name for kind in self.kinds)
        raise BadConnection(f"connection {self.name!r} has no kind {name!r}; it has: {known}")

    @property
    def address(self) -> str:
        """The API's base URL, with user and password or a token in it; raises `BadConnection` naming the variable."""
        address = settings().sync_addresses.get(self.name)
        if not address:
            raise BadConnection(
                f"SYNC_CONNECTION_{self.name.upper()} is not set: give the address of that API, with its credentials"
            )
        return address

    @property
    def webhook_secrets(self) -> tuple[str, ...]:
        """The secrets that its webhooks are signed with, several while they are rotated."""
        return settings().sync_webhook_secrets.get(self.name, ())


@lru_cache(maxsize=1)
def connections() -> dict[str, SyncConnection]:
    """Every declared connection by name: ``HOLDFAST_SYNC=module:attribute,…`` names them."""
    found: dict[str, SyncConnection] = {}
    for path in settings().sync:
        module, _, attribute = path.partition(":")
        try:
            declared = getattr(import_module(module), attribute, None)
        except (ImportError, ValueError) as error:
            raise BadConnection(
                f"HOLDFAST_SYNC: {path} cannot be imported ({error}); write module:attribute"
            ) from error
        if not isinstance(declared, SyncConnection):
            raise BadConnection(f"HOLDFAST_SYNC: {path} is not a SyncConnection; write module:attribute")
        if declared.name in found:
            raise BadConnection(f"two connections are called {declared.name!r}")
        found[declared.name] = declared
    return found


def connection_named(name: str) -> SyncConnection:
    """The connection; raises `BadConnection`."""
    try:
        return connections()[name]
    except KeyError:
        known = ", ".join(sorted(connections())) or "none"
        raise BadConnection(
            f"there is no connection {name!r} here; known: {known}. Declare it and name it in HOLDFAST_SYNC"
        ) from None


_connectors: dict[tuple[int, str, str], Connector] = {}


def connector_of(connection: SyncConnection, kind: SyncKind) -> Connector:
    """This process' connector for a kind of record: its HTTP connections are reused from job to job, never across a fork."""
    key = (os.getpid(), connection.name, kind.name)
    if key not in _connectors:
        _connectors[key] = kind.connector(connection.address)
    return _connectors[key]


def forget_connectors() -> None:
    """Close this process' connectors, and forget the declarations (tests change the environment)."""
    for connector in _connectors.values():
        connector.close()
    _connectors.clear()
    connections.cache_clear()
