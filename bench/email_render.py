"""How many messages a second one process makes of a campaign: compiled once, against a MIME tree built for each recipient.

    python -m bench.email_render [--seconds 12] [--attachment-kb 0]

No server.  All of them fill the same compiled Jinja templates (HTML of about 8 KB with a style sheet, and text); the others
inline nothing, build the tree with the standard library and flatten it.  ``in each``: what a template costs
whose styles must be inlined, and whose text must be made, message by message.  Printed are the median rates of many short turns
taken in alternation, and their ratios, which hold on any machine.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from email import policy
from email.message import EmailMessage
from email.mime.application import MIMEApplication
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from email.utils import format_datetime, make_msgid
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tasks.email.addresses import Address, parse_address
from tasks.email.content import content_arguments, pin_content
from tasks.email.message import compile_message
from tasks.email.template import environment_for
from tasks.email.unsubscribe import Unsubscriber, Unsubscription

ARTICLE = (
    "<h2 class='t'>{{ headline }}</h2><p class='p'>Größere Auswahl für {{ city }}: "
    + "lorem ipsum dolor " * 20
    + "</p>"
)
STYLE = "<style>.t{color:#333;font:bold 20px sans-serif}.p{color:#555;margin:0 0 12px}@media(max-width:600px){.p{margin:0}}</style>"
HTML = (
    f"<!doctype html><html><head>{STYLE}</head><body><p class='p'>Dear {{{{ name }}}},</p>"
    + ARTICLE * 12
    + "<p><a href='{{ unsubscribe_url }}'>Unsubscribe</a></p></body></html>"
)
TEXT = "Dear {{ name }},\n\n" + ("{{ headline }}\n\nGrößere Auswahl: " + "lorem ipsum dolor " * 20 + "\n\n") * 12
SUBJECT = "{{ headline }}, {{ name }}"
SENDER = "News <news@example.com>"
TURN = 20

Make = Callable[[Address, dict[str, Any]], bytes]


def contenders(attachment: Path | None) -> dict[str, Make]:
    """Each way to make a message, ready to go."""
    unsubscriber = Unsubscriber("k1:" + "0123456789abcdef" * 4, "https://example.com/unsubscribe/")
    files = [str(attachment)] if attachment else []
    args = content_arguments(template={"html": HTML, "text": TEXT}, subject=SUBJECT, sender=SENDER, attachments=files)
    roots = [attachment.parent] if attachment else []
    pinned = pin_content(args, template_roots=[], attachment_roots=roots)
    message = compile_message(pinned, campaign_id="bench", unsubscriber=unsubscriber, attachment_roots=roots)
    whole = pinned["sources"][pinned["html"]]
    parts = {**pinned["sources"], "part": whole, pinned["html"]: "{% set stays = 1 %}{% include 'part' %}"}
    in_parts, no_text = (
        compile_message(given, campaign_id="bench", unsubscriber=unsubscriber, attachment_roots=roots)
        for given in ({**pinned, "sources": parts}, {**pinned, "sources": parts, "text": None})
    )
    assert in_parts.bodies.inlines_each and no_text.bodies.converts_each
    html, text, subject = (
        environment_for(html=escaped).from_string(source)
        for source, escaped in ((HTML, True), (TEXT, False), (SUBJECT, False))
    )
    data = attachment.read_bytes() if attachment else None

    def fields(to: Address, variables: dict[str, Any]) -> tuple[dict[str, str], dict[str, Any]]:
        url = unsubscriber.url(Unsubscription(to.identity, "global", "bench"))
        values = {**variables, "email": to.normalised, "unsubscribe_url": url}
        return {
            "Date": format_datetime(datetime.now(UTC)),
            "Message-ID": make_msgid(domain="example.com"),
            "From": SENDER,
            "To": to.normalised,
            "Subject": subject.render(values),
            "List-Unsubscribe": f"<{url}>",
            "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
        }, values

    def compiled_once(to: Address, variables: dict[str, Any]) -> bytes:
        return message.render(to, variables, at=datetime.now(UTC)).data

    def email_message(to: Address, variables: dict[str, Any]) -> bytes:
        named, values = fields(to, variables)
        tree = EmailMessage(policy=policy.SMTP)
        for name, value in named.items():
            tree[name] = value
        tree.set_content(text.render(values))
        tree.add_alternative(html.render(values), subtype="html")
        if data is not None:
            tree.add_attachment(data, maintype="application", subtype="pdf", filename="prices.pdf")
        return tree.as_bytes()

    def email_mime(to: Address, variables: dict[str, Any]) -> bytes:
        named, values = fields(to, variables)
        bodies = MIMEMultipart("alternative")
        bodies.attach(MIMEText(text.render(values), "plain", "utf-8"))
        bodies.attach(MIMEText(html.render(values), "html", "utf-8"))
        tree = bodies
        if data is not None:
            tree = MIMEMultipart("mixed")
            tree.attach(bodies)
            tree.attach(MIMEApplication(data, "pdf"))
        for name, value in named.items():
            tree[name] = value
        return tree.as_bytes()

    def templates_alone(to: Address, variables: dict[str, Any]) -> bytes:
        _, values = fields(to, variables)
        return (text.render(values) + html.render(values)).encode()

    def styled_each(to: Address, variables: dict[str, Any]) -> bytes:
        return in_parts.render(to, variables, at=datetime.now(UTC)).data

    def converted_each(to: Address, variables: dict[str, Any]) -> bytes:
        return no_text.render(to, variables, at=datetime.now(UTC)).data

    return {
        "compiled once": compiled_once,
        "styles in each": styled_each,
        "and text in each": converted_each,
        "EmailMessage": email_message,
        "email.mime": email_mime,
        "templates alone": templates_alone,
    }


def main() -> int:
    """Print messages a second of each, and how often the first one's rate is the other's."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=12.0)
    parser.add_argument("--attachment-kb", type=int, default=0)
    options = parser.parse_args()
    with TemporaryDirectory(prefix="holdfast-bench-") as directory:
        attachment = None
        if options.attachment_kb:
            attachment = Path(directory) / "prices.pdf"
            attachment.write_bytes(bytes(range(256)) * 4 * options.attachment_kb)
        makers = contenders(attachment)
        recipients = [
            (
                parse_address(f"user{number}@example.com"),
                {"name": f"Jürgen {number}", "city": "Köln", "headline": f"Nº {number}"},
            )
            for number in range(TURN)
        ]
        turns: dict[str, list[float]] = {name: [] for name in makers}
        sizes = {name: len(make(*recipients[0])) for name, make in makers.items()}
        until = time.perf_counter() + options.seconds
        while time.perf_counter() < until:
            for name, make in makers.items():
                started = time.perf_counter()
                for to, variables in recipients:
                    make(to, variables)
                turns[name].append(TURN / (time.perf_counter() - started))
    rates = {name: statistics.median(found) for name, found in turns.items()}
    for name, rate in rates.items():
        print(
            f"{name:16s} {rate:8.0f} messages/s   {sizes[name]:7d} bytes   {rates['compiled once'] / rate:6.2f} × slower"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
