"""Unthrottled messages a second, with ledger and rendering, beside a loop with smtplib and an EmailMessage per recipient.

    python -m bench.email_speed [--recipients 6000] [--processes 2] [--rounds 3]

Both send the same text to the same list through one ``smtp-sink`` on loopback, in equally many processes, alternating.  The
loop renders compiled Jinja2 templates, builds a fresh EmailMessage for each recipient, sends it on one reused connection per
process, and remembers nothing.  A campaign renders, commits each recipient's phase before DATA, and keeps the answer.
Printed too: what one phase costs, and how fast a campaign would be without its commits.
"""

from __future__ import annotations

import argparse
import csv
import multiprocessing
import smtplib
import statistics
import sys
import time
from email.message import EmailMessage
from pathlib import Path

from bench.email_stack import HTML, SENDER, SUBJECT, BenchStack, bench_stack, smtp_sink, write_list
from tests.email_server import free_port

TEXT = (
    "Dear {{ name }},\nyour order {{ order }} from {{ city }} has points: {{ points }}.\nhttps://example.com/offers\n"
)


def main() -> int:
    """Alternate, and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipients", type=int, default=6000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    port = free_port()
    provider = {"EMAIL_PROVIDER_DEFAULT": f"smtp://127.0.0.1:{port}?starttls=never&messages=1000000"}
    ratios = []
    with smtp_sink(port=port), bench_stack(options.processes, provider) as stack:
        path = stack.folder / "list.csv"
        write_list(path, options.recipients)
        campaign(stack, path, 200, "warm-up")
        for number in range(1, options.rounds + 1):
            plain = loop(path, port, options.processes)
            ours = campaign(stack, path, options.recipients, f"round {number}")
            ratios.append(ours / plain)
            print(
                f"round {number}: EmailMessage and smtplib {plain:6.0f}/s   campaign {ours:6.0f}/s   ratio {ours / plain:.2f}",
                flush=True,
            )
        _costs(path, port)
    print(f"median ratio {statistics.median(ratios):.2f} with {options.processes} processes each")
    return 0


def campaign(stack: BenchStack, path: Path, recipients: int, name: str) -> float:
    """Messages a second, from the end of planning to the last message."""
    from tasks import start_campaign

    part = path
    if recipients == 200:
        part = path.with_name("part.csv")
        with path.open() as whole:
            part.write_text("".join(line for line, _ in zip(whole, range(recipients + 1), strict=False)))
    result = start_campaign.delay(
        name,
        template={"html": HTML, "text": TEXT},
        subject=SUBJECT,
        sender=SENDER,
        recipients=str(part),
        list_unsubscribe=False,
        rates=None,
    )
    counts = result.get(timeout=600, interval=0.05)
    assert counts["sent"] == recipients, counts
    ((took_s,),) = stack.rows(
        "SELECT TIMESTAMPDIFF(MICROSECOND, MIN(sending_at), MAX(changed_at)) / 1000000 FROM email_recipients"
        " WHERE campaign = %s",
        name,
    )
    return recipients / float(took_s)


def loop(path: Path, port: int, processes: int) -> float:
    """Messages a second of the plain loop."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    context = multiprocessing.get_context("fork")
    ready, go = context.Barrier(processes + 1), context.Event()
    workers = [context.Process(target=_loop, args=(rows[n::processes], port, ready, go)) for n in range(processes)]
    for worker in workers:
        worker.start()
    ready.wait()
    began = time.monotonic()
    go.set()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    return len(rows) / (time.monotonic() - began)


def _loop(rows: list[dict[str, str]], port: int, ready: object, go: object) -> None:
    import jinja2

    environment = jinja2.Environment(autoescape=True)
    html, text, subject = (environment.from_string(source) for source in (HTML, TEXT, SUBJECT))
    with smtplib.SMTP("127.0.0.1", port) as smtp:
        ready.wait()  # type: ignore[attr-defined]
        go.wait()  # type: ignore[attr-defined]
        for row in rows:
            message = EmailMessage()
            message["From"], message["To"] = SENDER, row["email"]
            message["Subject"] = subject.render(row)
            message.set_content(text.render(row))
            message.add_alternative(html.render(row), subtype="html")
            smtp.send_message(message)


def _costs(path: Path, port: int) -> None:
    """What a phase's transaction costs one process that has the machine to itself, and what the rest does."""
    from datetime import UTC, datetime

    from sqlalchemy import text

    from runstate.transaction import in_transaction
    from tasks import clients
    from tasks.email.addresses import parse_address
    from tasks.email.connections import Connections
    from tasks.email.content import content_arguments, pin_content
    from tasks.email.message import compile_message
    from tasks.email.providers import parse_provider

    arguments = content_arguments(
        template={"html": HTML, "text": TEXT}, subject=SUBJECT, sender=SENDER, list_unsubscribe=False
    )
    pinned = pin_content(arguments, template_roots=(), attachment_roots=())
    message = compile_message(pinned, campaign_id="costs", unsubscriber=None)
    with path.open(encoding="utf-8", newline="") as file:
        rows = [row for row, _ in zip(csv.DictReader(file), range(1000), strict=False)]
    addresses = [parse_address(row["email"]) for row in rows]
    began = time.perf_counter()
    rendered = [message.render(a, row, at=datetime.now(UTC)) for a, row in zip(addresses, rows, strict=True)]
    render_s = time.perf_counter() - began
    with Connections().use(parse_provider("bench", f"smtp://127.0.0.1:{port}?starttls=never")) as held:
        began = time.perf_counter()
        for address, one in zip(addresses, rendered, strict=True):
            held.get().envelope("n@example.com", address.normalised, size=1, eight_bit=False, smtputf8=False)
            held.current.deliver(one.data)
        smtp_s = time.perf_counter() - began
    update = text("UPDATE email_recipients SET changed_at = NOW(6) WHERE id = :id")
    began = time.perf_counter()
    for n in range(1000):
        in_transaction(clients.engine(), lambda c, n=n: c.execute(update, {"id": n + 1}))  # type: ignore[misc]
    commit_s = time.perf_counter() - began
    print(
        f"one process alone, per message: rendering {render_s:.2f} ms, conversation {smtp_s:.2f} ms, "
        f"one UPDATE and COMMIT {commit_s:.2f} ms (a phase is two UPDATEs, two locks and a COMMIT)"
    )


if __name__ == "__main__":
    sys.exit(main())
