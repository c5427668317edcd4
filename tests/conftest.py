"""Tests run on private servers of their own, whatever the environment says."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from stack.endpoints import Endpoints
from stack.layout import var_dir
from stack.private import Servers, migrate_schema, private_servers
from tests.cleaning import empty_database, flush_valkey, table_names

# Before any module of the application is imported: it reads its settings when it is imported, and a user's own servers,
# in the environment or in var/stack.env, must never be touched by a test.
ENDPOINTS = Endpoints.generate()
TEST_VAR = Path(tempfile.mkdtemp(prefix="holdfast-test-"))
os.environ.setdefault("HOLDFAST_MARIADB_DIR", str(var_dir() / "mariadb-packages"))
os.environ.setdefault("HOLDFAST_PACKAGES_DIR", str(var_dir() / "packages"))
for _name in [name for name in os.environ if name.startswith(("HOLDFAST_", "IMPORT_", "IMAGE_", "FLOWER_", "CELERY_"))]:
    if not _name.startswith(("HOLDFAST_MARIADB", "HOLDFAST_PACKAGES")):
        del os.environ[_name]
os.environ.update(ENDPOINTS.environment() | {"HOLDFAST_VAR": str(TEST_VAR)})

_DIRECTORIES = ("unit", "integration", "e2e")

# Their fixtures: the APIs that the sync is tested against.
pytest_plugins = ("tests.kinto_server", "tests.worse_api")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test with the directory it lies in; the quick ones first."""
    here = Path(__file__).parent
    order = {}
    for item in items:
        for place, name in enumerate(_DIRECTORIES):
            if here / name in item.path.parents:
                item.add_marker(name)
                order[item] = place
    items.sort(key=lambda item: order.get(item, len(_DIRECTORIES)))


def pytest_unconfigure() -> None:
    """Remove the session's own ``var`` directory."""
    shutil.rmtree(TEST_VAR, ignore_errors=True)


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """A private Valkey and a private MariaDB, empty, for the whole session."""
    with private_servers(TEST_VAR / "servers", endpoints=ENDPOINTS, migrate=False) as running:
        yield running


@pytest.fixture(scope="session")
def schema(servers: Servers) -> frozenset[str]:
    """Bring the schema up to date, once a session; the names of its tables."""
    migrate_schema(servers.environment())
    return frozenset(table_names(servers))


@pytest.fixture
def database_url(servers: Servers, schema: frozenset[str]) -> str:
    """URL of the database: the server is up, every table is empty, tables that are not of the schema are gone."""
    servers.mariadb.start()
    empty_database(servers, schema)
    return servers.database_url


@pytest.fixture
def empty_valkey(servers: Servers) -> Servers:
    """The servers, with Valkey up and empty."""
    servers.valkey.start()
    flush_valkey(servers)
    return servers


@pytest.fixture
def redis_url(empty_valkey: Servers) -> str:
    """URL of the Redis-compatible server (locks, limits); every database of it is empty."""
    return empty_valkey.redis_url


@pytest.fixture
def broker_url(empty_valkey: Servers) -> str:
    """URL of Celery's broker; no queue exists."""
    return empty_valkey.broker_url
