"""The peak memory of a campaign's planning for a tenth and the whole of a million recipients, and of the jobs that send to some.

    python -m bench.email_memory [--recipients 1000000]

Planning writes every recipient into the ledger; one job of the run is then sent, and the run cancelled.
"""

from __future__ import annotations

import argparse
import sys
import time

from bench.email_stack import HTML, SENDER, SUBJECT, BenchStack, bench_stack, smtp_sink, write_list
from tests.email_server import free_port


def main() -> int:
    """Plan both sizes; print peaks and times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipients", type=int, default=1_000_000)
    options = parser.parse_args()
    port = free_port()
    provider = {"EMAIL_PROVIDER_DEFAULT": f"smtp://127.0.0.1:{port}?starttls=never"}
    with smtp_sink(port=port), bench_stack(1, provider, buffer_mb=1024) as stack:
        for recipients in (options.recipients // 10, options.recipients):
            _plan(stack, recipients)
    return 0


def _plan(stack: BenchStack, recipients: int) -> None:
    from runstate.audit import Actor
    from tasks import control, start_campaign

    path = stack.folder / "list.csv"
    write_list(path, recipients)
    began = time.monotonic()
    result = start_campaign.delay(
        f"to {recipients}",
        template={"html": HTML},
        subject=SUBJECT,
        sender=SENDER,
        recipients=str(path),
        list_unsubscribe=False,
        rates=("500/s",),
        batch_size=500,
    )
    while not (sent := _jobs(stack, result.run_id)):
        assert not result.run().ended, result.run().reason
        time.sleep(0.5)
    planned_s = time.monotonic() - began
    control.cancel(result.run_id, Actor("bench", "planned"))
    while not result.run().ended:
        time.sleep(0.2)
    ((planned,),) = stack.rows("SELECT COUNT(*) FROM email_recipients WHERE campaign = %s", f"to {recipients}")
    assert planned == recipients, planned
    ((plan_kb,),) = stack.rows(
        "SELECT MAX(peak_memory_kb) FROM job_attempts WHERE run_id = %s AND job_no = 0", result.run_id
    )
    print(
        f"{recipients:9d} recipients: planning {plan_kb / 1024:5.0f} MiB at most, {planned_s:5.0f} s; "
        f"a sending job {sent / 1024:5.0f} MiB",
        flush=True,
    )


def _jobs(stack: BenchStack, run_id: str) -> int:
    ((peak_kb,),) = stack.rows(
        "SELECT COALESCE(MAX(peak_memory_kb), 0) FROM job_attempts WHERE run_id = %s AND job_no > 0", run_id
    )
    return int(peak_kb)


if __name__ == "__main__":
    sys.exit(main())
