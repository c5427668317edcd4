"""Publishing through a client that is kept: as quick as it is, it must stay safe across forks and reconnects."""

from __future__ import annotations

import json
import multiprocessing

import redis

from stack.private import Servers
from tests.transport_app import app

QUEUE = "published"
EACH = 100


def publish(worker: int) -> None:
    """Publish `EACH` messages on the connection that was open before the fork."""
    for number in range(EACH):
        app.send_task("note", (f"{worker}:{number}",), queue=QUEUE, argsrepr=f"{worker}:{number}")


def published(broker_url: str) -> list[str]:
    client = redis.Redis.from_url(broker_url)
    found = client.lrange(QUEUE, 0, -1)
    client.close()
    return sorted(json.loads(message)["headers"]["argsrepr"] for message in found)


def test_forked_children_and_their_parent_publish_without_mixing_up(broker_url: str) -> None:
    """Every message of a parent and four children, forked from an open connection, arrives once and whole."""
    publish(0)
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=publish, args=(worker,)) for worker in range(1, 5)]
    for child in children:
        child.start()
    publish(5)
    for child in children:
        child.join(30)
    assert [child.exitcode for child in children] == [0] * 4
    assert published(broker_url) == sorted(f"{worker}:{number}" for worker in range(6) for number in range(EACH))


def test_the_client_is_kept_and_follows_its_pool(broker_url: str) -> None:
    """One client a channel, and a new one when kombu has replaced the pool, as it does after a fork."""
    with app.connection_for_write() as connection:
        channel = connection.channel()
        kept = channel._create_client()
        assert channel._create_client() is kept
        channel._after_fork()
        assert channel._create_client() is not kept
        assert channel._create_client().connection_pool is channel.pool


def test_publishing_goes_on_after_the_broker_restarted(broker_url: str, servers: Servers) -> None:
    """The kept client reconnects: the first message after a restart arrives."""
    publish(0)
    servers.valkey.restart()
    publish(1)
    assert published(broker_url) == sorted(f"1:{number}" for number in range(EACH))


def test_a_flushed_redis_gets_its_bindings_again(broker_url: str, servers: Servers) -> None:
    """Whoever lives on and declares its reply queue once more, as Flower does for each command, gets the answers."""
    with app.connection_for_write() as connection, redis.Redis.from_url(broker_url) as client:
        channel = connection.channel()
        channel.exchange_declare("reply.celery.pidbox", "direct")
        for _ in range(2):
            channel.queue_declare("mine")
            channel.queue_bind("mine", "reply.celery.pidbox", "mine")
            assert channel.get_table("reply.celery.pidbox") == [("mine", "", "mine")]
            client.flushall()
