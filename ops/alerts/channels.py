"""Where notices go: e-mail, a Slack-style webhook, any webhook.  The log has them in any case."""

from __future__ import annotations

import smtplib
import socket
import ssl
from email.message import EmailMessage
from typing import Any

import requests

from ops.alerts.errors import NotDelivered
from runstate.alerts import Notice
from tasks.email.errors import EmailError
from tasks.email.providers import Provider, find_provider
from tasks.settings import settings

CONNECT_TIMEOUT_S, ANSWER_TIMEOUT_S = 3.0, 10.0
_WORDS = {"fired": "ALERT", "worse": "WORSE", "cleared": "over"}
_COLOURS = {"fired": "#d1242f", "worse": "#d1242f", "cleared": "#1a7f37"}


def channel_names() -> list[str]:
    """The channels that are set up; empty: the log alone."""
    limits = settings().alerts
    named = {"email": limits.email_to, "slack": limits.slack_url, "webhook": limits.webhook_url}
    return [name for name, value in named.items() if value]


def deliver(notice: Notice) -> None:
    """Send one notice; raises `NotDelivered`, whose text holds no secret (webhook URLs are secrets)."""
    limits = settings().alerts
    match notice.channel:
        case "email":
            _mail(notice, limits.email_to)
        case "slack":
            _post("slack", limits.slack_url, slack_body(notice))
        case "webhook":
            _post("webhook", limits.webhook_url, webhook_body(notice))
        case other:
            raise NotDelivered(f"there is no channel {other!r} any more")


def headline(notice: Notice) -> str:
    """The one line that a phone shows."""
    return f"[{_WORDS.get(notice.event, notice.event)}] {notice.cause} on {socket.gethostname()}"


def slack_body(notice: Notice) -> dict[str, Any]:
    """What Slack, Mattermost and their like take."""
    lines = [f"*{_escaped(headline(notice))}*", _escaped(notice.found), _escaped(notice.advice)]
    text = "\n".join(line for line in lines if line)
    return {"text": headline(notice), "attachments": [{"color": _COLOURS.get(notice.event, "#888888"), "text": text}]}


def webhook_body(notice: Notice) -> dict[str, Any]:
    """One JSON object; ``id`` is the same if it is sent again."""
    return {
        "id": notice.id,
        "event": notice.event,
        "cause": notice.cause,
        "level": notice.level,
        "found": notice.found,
        "advice": notice.advice,
        "at": notice.at.isoformat(timespec="seconds") + "Z",
        "host": socket.gethostname(),
    }


def _escaped(text: str) -> str:
    # Slack's own three; keys and reasons are other people's text, and must not call @channel.
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _post(channel: str, url: str, body: dict[str, Any]) -> None:
    try:
        with requests.post(
            url, json=body, timeout=(CONNECT_TIMEOUT_S, ANSWER_TIMEOUT_S), allow_redirects=False, stream=True
        ) as answer:
            code = answer.status_code
    except requests.RequestException as error:
        # Without its text: that holds the URL, and the URL is the secret.
        raise NotDelivered(f"{channel}: {type(error).__name__}") from None
    if not 200 <= code < 300:
        raise NotDelivered(f"{channel}: answered {code}")


def _mail(notice: Notice, to: str) -> None:
    limits = settings().alerts
    message = EmailMessage()
    message["Subject"] = headline(notice)
    message["From"], message["To"] = limits.email_from, to
    message["Auto-Submitted"] = "auto-generated"
    message["Message-ID"] = f"<holdfast-alert-{notice.id}@{socket.gethostname()}>"
    message.set_content("\n\n".join(part for part in (notice.found, notice.advice, f"at {notice.at} UTC") if part))
    providers = settings().email_providers
    try:
        provider = find_provider("alerts" if "alerts" in providers else "default", providers)
        _send(provider, message)
    except (EmailError, smtplib.SMTPException, OSError) as error:
        raise NotDelivered(f"email: {error}") from None


def _send(provider: Provider, message: EmailMessage) -> None:
    context = ssl.create_default_context()
    if provider.implicit_tls:
        client: smtplib.SMTP = smtplib.SMTP_SSL(provider.host, provider.port, timeout=ANSWER_TIMEOUT_S, context=context)
    else:
        client = smtplib.SMTP(provider.host, provider.port, timeout=ANSWER_TIMEOUT_S)
    with client:
        if not provider.implicit_tls and provider.starttls == "require":
            client.starttls(context=context)
        if provider.user is not None:
            client.login(provider.user, provider.password or "")
        client.send_message(message)
