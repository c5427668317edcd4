"""Three campaigns on one provider at 14/s, sent by four workers for two minutes: grants at Redis, arrivals at the server.

    python -m bench.email_rate [--seconds 120] [--rate 14] [--workers 4] [--campaigns 3]

Exit code 1 if a second of Redis time has more grants than the rate, a sliding second at the server more than one above it, ten
seconds more than ten times the rate and one, or if less than 93 % of the rate was used.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Sequence

import redis

from bench.email_stack import bench_stack, write_list
from locks.limit_keys import keys_of
from tests.email_server import free_port, scripted_server

SENDER = "news@sender.example.com"


def main() -> int:
    """Send for so long, and judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=120)
    parser.add_argument("--rate", type=int, default=14)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--campaigns", type=int, default=3)
    options = parser.parse_args()
    port, rate = free_port(), options.rate
    recipients = rate * options.seconds // options.campaigns
    provider = {"EMAIL_PROVIDER_DEFAULT": f"smtp://127.0.0.1:{port}?starttls=never"}
    with scripted_server(port=port) as server, bench_stack(options.workers, provider) as stack:
        from tasks import start_campaign

        path = stack.folder / "list.csv"
        write_list(path, recipients)
        results = [
            start_campaign.delay(
                f"campaign {number}",
                template={"text": "Hello {{ name }}"},
                subject="For {{ name }}",
                sender=SENDER,
                recipients=str(path),
                list_unsubscribe=False,
                # The daily limit makes Redis keep every grant.
                rates=(f"{rate}/s", "50000/day"),
                batch_size=50,
            )
            for number in range(options.campaigns)
        ]
        for result in results:
            result.get(timeout=options.seconds * 3 + 60, interval=0.5)
        client = redis.Redis.from_url(stack.servers.redis_url, decode_responses=True)
        _, past, ahead = keys_of("email:provider:default")
        grants = sorted(int(at) / 1e6 for key in (past, ahead) for at in client.lrange(key, 0, -1))
        shares = [
            float(took_s)
            for (took_s,) in stack.rows(
                "SELECT TIMESTAMPDIFF(MICROSECOND, MIN(sent_at), MAX(sent_at)) / 1000000 FROM email_recipients"
                " GROUP BY campaign"
            )
        ]
        workers = stack.rows(
            "SELECT worker, COUNT(*) FROM job_attempts WHERE job_no > 0 GROUP BY worker ORDER BY worker"
        )
    arrivals = sorted(taken.at for taken in server.taken)
    wanted = recipients * options.campaigns
    copies = Counter(taken.recipient for taken in server.taken)
    per_s = (len(arrivals) - 1) / (arrivals[-1] - arrivals[0])
    checks = [
        ("messages", len(arrivals), wanted, len(arrivals) == wanted),
        ("copies of a recipient", max(copies.values()), options.campaigns, max(copies.values()) == options.campaigns),
        ("grants in any second of Redis", most(grants, 1), rate, most(grants, 1) <= rate),
        ("arrivals in any second", most(arrivals, 1), rate + 1, most(arrivals, 1) <= rate + 1),
        ("arrivals in any 10 s", most(arrivals, 10), 10 * rate + 1, most(arrivals, 10) <= 10 * rate + 1),
        ("share of the rate, %", round(100 * per_s / rate, 1), 93, per_s >= 0.93 * rate),
    ]
    print(
        f"{options.workers} workers, {options.campaigns} campaigns, {rate}/s, {time.strftime('%H:%M', time.gmtime())}"
    )
    print(f"{len(grants)} grants; campaigns took {', '.join(f'{s:.0f} s' for s in shares)}; jobs by worker {workers}")
    for name, found, bound, kept in checks:
        print(f"  {name:<32}{found:>8}   bound {bound:>6}   {'kept' if kept else 'BROKEN'}")
    return 0 if all(kept for *_, kept in checks) else 1


def most(times: Sequence[float], window_s: float) -> int:
    """The most of ``times`` (ascending) that lie in any window [t, t + window_s)."""
    found = first = 0
    for last, at in enumerate(times):
        while at - times[first] >= window_s:
            first += 1
        found = max(found, last - first + 1)
    return found


if __name__ == "__main__":
    sys.exit(main())
