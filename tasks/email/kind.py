"""The e-mail campaign as a kind of job: the one module here that knows of runs, and ties the steps to the machinery.

Planning writes the ledger; each job sends one batch of it; what is deferred goes into a later job of the same run.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection

from locks.limits import RateLimiter
from runstate import runs
from runstate.transaction import in_transaction
from tasks import clients
from tasks.email import ledger
from tasks.email.arguments import RESEND, campaign_arguments
from tasks.email.connections import Connections
from tasks.email.content import pin_content
from tasks.email.errors import EmailError
from tasks.email.flight import Flight
from tasks.email.message import Message, compile_message
from tasks.email.planning import plan_batches
from tasks.email.providers import find_provider
from tasks.email.quotas import rebuild
from tasks.email.recipients import Recipient, describe_recipients, read_recipients
from tasks.email.resend import recipients_to_resend
from tasks.email.retries import Retries, next_job_in_s
from tasks.email.run_report import run_report
from tasks.email.sending import Batch, Sender
from tasks.email.suppressions import find_suppressed, scopes_of
from tasks.email.throttle import NotNow, Throttle
from tasks.email.unsubscribe import the_unsubscriber
from tasks.errors import LOOK_AGAIN_S, FailRun, PauseRun, Snooze
from tasks.kinds import Args, Backoff, JobKind, Json, Work
from tasks.settings import settings

WRITE_PATIENCE_S = 60.0
"""How long the outcome of a message is held while MySQL is away, before it is given up and the recipient is in doubt."""

_connections = Connections()
_compiled: tuple[str, Message] | None = None
_flight_size = 1


def plan_campaign(args: Args) -> Generator[Json, None, Mapping[str, Json]]:
    """One payload per batch; returns the pinned content, so that every job compiles the same message."""
    with _failing_the_run():
        find_provider(args["provider"], settings().email_providers)
        pinned = pin_content(
            args, template_roots=settings().email_template_roots, attachment_roots=settings().email_attachment_roots
        )
        message = _compile(pinned, args["name"])
        plan = secrets.token_hex(8)
        counted = yield from (_dry_run if args["dry_run"] else _plan)(args, message, plan)
        return {"content": pinned, "plan": plan, "counted": counted}


def _plan(args: Args, message: Message, plan: str) -> Generator[Json, None, dict[str, int]]:
    name, provider, engine = args["name"], args["provider"], clients.engine()

    def open_plan(connection: Connection) -> None:
        ledger.settle(connection, name)
        ledger.open_plan(connection, name, plan=plan, run_id=_active_run(connection, name), provider=provider)

    def write(rows: Any) -> dict[int, int]:
        return in_transaction(
            engine,
            lambda c: ledger.write_planned(
                c, name, rows, plan=plan, provider=provider, resend=args["in_doubt"] == "resend"
            ),
            wait_for_database_s=CAMPAIGN.lease_s,
            committed=_do_again,
        )

    in_transaction(engine, open_plan, wait_for_database_s=CAMPAIGN.lease_s, committed=_do_again)
    return (
        yield from plan_batches(
            _recipients(args),
            message,
            source=_source(args),
            plan=plan,
            batch_size=args["batch_size"],
            suppressed=_suppressed(args),
            write=write,
        )
    )


def _dry_run(args: Args, message: Message, plan: str) -> Generator[Json, None, dict[str, int]]:
    """Everything but the ledger: one job, whose result is what a start would do."""
    batches = plan_batches(
        _recipients(args),
        message,
        source=_source(args),
        plan=plan,
        batch_size=args["batch_size"],
        suppressed=_suppressed(args),
        write=lambda rows: _to_send(args["name"], rows),
    )
    while True:
        try:
            next(batches)
        except StopIteration as end:
            counted: dict[str, int] = end.value
            break
    yield {"dry_run": counted}
    return counted


def _to_send(campaign: str, rows: Any) -> dict[int, int]:
    """How many of each batch a start would send to: those that the ledger does not have as sent or in doubt."""
    pending = {row.identity: batch for batch, row in rows if row.state is ledger.State.PENDING}
    gone = in_transaction(clients.engine(), lambda c: ledger.find_gone(c, campaign, list(pending)))
    found: dict[int, int] = {}
    for identity, batch in pending.items():
        if identity not in gone:
            found[batch] = found.get(batch, 0) + 1
    return found


def send_batch(work: Work) -> Mapping[str, Json]:
    """Send to the batch's recipients; those that are deferred are handed to a later job."""
    global _flight_size
    if "dry_run" in work.payload:
        return {"dry_run": True, **work.payload["dry_run"]}
    args, plan, number = work.args, work.payload["plan"], work.payload["batch"]
    with _failing_the_run():
        message = _message_of(work)
        provider = find_provider(args["provider"], settings().email_providers)
    resend = args["in_doubt"] == "resend"
    retries = Retries(args["max_attempts"], args["retry_s"])
    throttle = Throttle(_limiter(), provider.name, args["rates"], args["domain_rates"])
    flight = Flight(args["max_in_flight"], size=_flight_size if throttle.unlimited else 1)
    batch = Batch(secrets.token_hex(8), _scopes(args), retries, resend, flight)
    rows = work.checkpoint(lambda c: ledger.claim_batch(c, plan, number, claim=batch.claim, resend=resend))
    with _connections.use(provider) as held:
        sender = Sender(batch, message, provider, held, throttle, _Ties(work))
        try:
            sender.send(rows)
        except NotNow as later:
            raise Snooze(str(later), delay_s=min(later.wait_s, LOOK_AGAIN_S)) from later
        except EmailError as error:
            raise PauseRun(str(error)) from error
    _flight_size = flight.size
    in_s = next_job_in_s(in_transaction(work.engine, lambda c: ledger.deferred_due(c, plan, number)))
    if in_s is not None:
        work.add_job({"plan": plan, "batch": number}, due_in_s=in_s)
    return dict(sender.counts)


def finish_campaign(work: Work) -> Mapping[str, Json]:
    """The ledger's totals; what a dead job left in the middle of sending is in doubt."""
    if work.args["dry_run"]:
        return next(work.job_results(), {})
    name = work.args["name"]

    def steps(connection: Connection) -> dict[str, int]:
        ledger.settle_leftovers(connection, name, work.plan["plan"])
        return ledger.counts(connection, name)

    return {**work.plan["counted"], **work.checkpoint(steps)}


class _Ties:
    """What sending needs of the run; see `tasks.email.sending.Machinery`."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self.stop_if_asked = work.stop_if_asked
        self.checkpoint = work.checkpoint

    def write(self, fn: Callable[[Connection], Any]) -> Any:
        # Repeatable: a result that is there already is not written twice.
        return in_transaction(self._work.engine, fn, wait_for_database_s=WRITE_PATIENCE_S, committed=_do_again)


def _recipients(args: Args) -> Iterator[Recipient]:
    if args["recipients"] == RESEND:
        return recipients_to_resend(clients.engine(), args["name"])
    return read_recipients(args["recipients"], roots=settings().import_roots, engine=clients.engine())


def _source(args: Args) -> str:
    return "those to send again" if args["recipients"] == RESEND else describe_recipients(args["recipients"])


def _scopes(args: Args) -> list[str]:
    return scopes_of(campaign=args["name"], provider=args["provider"], list_scope=args["unsubscribe_scope"])


def _suppressed(args: Args) -> Callable[[Any], Mapping[str, str]]:
    scopes = _scopes(args)
    return lambda identities: in_transaction(
        clients.engine(), lambda c: find_suppressed(c, identities, scopes), wait_for_database_s=CAMPAIGN.lease_s
    )


def _active_run(connection: Connection, campaign: str) -> str:
    """The run that is being planned: the one active run of the campaign's key."""
    # Kinds that are made of this one with dataclasses.replace() end in its name.
    return runs.being_planned(connection, campaign, kind_ends="campaign") or ""


def _limiter() -> RateLimiter:
    return RateLimiter(clients.redis(), rebuild=rebuild(clients.engine))


def _message_of(work: Work) -> Message:
    """The run's message, compiled once per process and planning."""
    global _compiled
    plan = work.plan["plan"]
    if _compiled is None or _compiled[0] != plan:
        _compiled = (plan, _compile(work.plan["content"], work.args["name"]))
    return _compiled[1]


def _compile(pinned: Mapping[str, Json], campaign: str) -> Message:
    unsubscriber = the_unsubscriber() if pinned["list_unsubscribe"] else None
    # The campaign's name, not the run: a second run of it must make the same Message-IDs.
    return compile_message(pinned, campaign_id=campaign, unsubscriber=unsubscriber)


def _do_again(_connection: Connection) -> None:
    """After a COMMIT without an answer: what can be repeated is repeated."""


@contextmanager
def _failing_the_run() -> Iterator[None]:
    """What is wrong with the content or the list as a whole is wrong for every job of the run."""
    try:
        yield
    except EmailError as error:
        raise FailRun(str(error)) from error


def _describe_start(args: Args) -> str:
    dry = ", dry run" if args["dry_run"] else ""
    return f"{args['name']} to {_source(args)} through {args['provider']}{dry}"


def _describe_job(args: Args, payload: Json) -> str:
    if "dry_run" in payload:
        return f"{args['name']}: dry run"
    return f"{args['name']}: batch {payload['batch']}"


CAMPAIGN = JobKind(
    name="campaign",
    queue="email",
    arguments=campaign_arguments,
    admission_key=lambda args: str(args["name"]),
    plan=plan_campaign,
    perform=send_batch,
    finish=finish_campaign,
    report=run_report,
    describe_start=_describe_start,
    describe_job=_describe_job,
    spooled=("recipients",),
    backoff=Backoff(max_attempts=5, base_s=5, cap_s=300),
)
