"""The conversation with one mail server, step by step, each answer with the stage it was given at.

`smtplib.SMTP.sendmail` throws the server's queue id away and cannot tell a connection that was lost before the message
from one that was lost behind it.  Here the steps are apart, and what is unknown is known to be.
"""

from __future__ import annotations

import re
import smtplib
import socket
from typing import NoReturn

from tasks.email.answers import NO_ANSWER, Action, Answer, Stage, classify
from tasks.email.providers import Provider

_QUEUE_ID = re.compile(r"(?:queued as|\bid[=: ]|queue-id[=: ]|accepted:?)\s*<?([A-Za-z0-9._@+/=-]{4,})", re.IGNORECASE)
_BARE_ID = re.compile(r"(?:2\.\d\.\d\s+)?Ok:?\s+([A-Za-z0-9._@+/=-]{12,})\Z", re.IGNORECASE)
_LOST = (OSError, smtplib.SMTPException, EOFError, UnicodeError)


class NotConnected(Exception):
    """The server cannot be reached, or does not let us in; ``answer`` says which."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(f"{answer.code or 'no answer'}: {answer.text}")
        self.answer = answer


class Stale(Exception):
    """A connection that was kept turned out to be closed before anything was said on it."""


class Conversation:
    """One connection, greeted and logged in.  After any answer that is none, it is closed and good for nothing."""

    def __init__(self, provider: Provider) -> None:
        """Connect, say EHLO, start TLS, log in.  Raises `NotConnected`, `tasks.email.providers.BadProvider`."""
        self.provider = provider
        self.messages = 0
        self.in_envelope = False
        """Whether the server has been told of a sender and waits for more."""
        self._fresh = True
        self._smtp = _connect(provider)
        try:
            self._greet()
            if not provider.implicit_tls and provider.starttls == "require":
                self._start_tls()
            if provider.user is not None:
                self._log_in(provider.user, provider.password or "")
        except BaseException:
            self._smtp.close()
            raise
        self._sock.settimeout(provider.timeout)

    def envelope(self, sender: str, recipient: str, *, size: int, eight_bit: bool, smtputf8: bool) -> Answer:
        """MAIL and RCPT; the first answer that is a refusal, or RCPT's.  After a refusal `reset`.

        Raises `Stale` where a kept connection was closed meanwhile: connect again, nothing has happened.
        """
        options = ""
        if self._smtp.has_extn("size"):
            options += f" SIZE={size}"
        if eight_bit and self._smtp.has_extn("8bitmime"):
            options += " BODY=8BITMIME"
        if smtputf8:
            if not self._smtp.has_extn("smtputf8"):
                text = "5.6.7 the server does not take addresses that are not ASCII (SMTPUTF8)"
                return Answer(Action.FAIL, 550, "5.6.7", text)
            options += " SMTPUTF8"
        mail, rcpt = f"MAIL FROM:<{_one_line(sender)}>{options}", f"RCPT TO:<{_one_line(recipient)}>"
        pipelined = self._smtp.has_extn("pipelining")
        self.in_envelope = True
        code, text = self._ask(f"{mail}\r\n{rcpt}" if pipelined else mail)
        if not self._fresh and code in (NO_ANSWER, 421):
            self.close()
            raise Stale
        self._fresh = False
        answer = classify(Stage.MAIL, code, text)
        if pipelined and self.open:
            # Read in any case: the next answer on this line must be the next command's.
            second = self._read()
        elif answer.action is Action.ACCEPT:
            second = self._ask(rcpt)
        return classify(Stage.RCPT, *second) if answer.action is Action.ACCEPT else answer

    def deliver(self, data: bytes) -> Answer:
        """DATA, the message, the dot; ``data`` has CRLF line ends and is not dot-stuffed.

        The whole message goes out in one call whose last bytes are the dot's: if that call fails, the dot was not sent and
        the message was not taken.  Only an answer that does not come after it leaves the message in doubt.
        """
        code, text = self._ask("DATA")
        if code != 354:
            return classify(Stage.DATA, code if code >= 400 else NO_ANSWER, text)
        self.messages += 1
        stuffed = data.replace(b"\r\n.", b"\r\n..")
        if stuffed.startswith(b"."):
            stuffed = b"." + stuffed
        end = b".\r\n" if stuffed.endswith(b"\r\n") else b"\r\n.\r\n"
        try:
            self._sock.settimeout(self.provider.data_timeout)
            self._sock.sendall(stuffed + end)
        except _LOST as error:
            self.close()
            return classify(Stage.DATA, NO_ANSWER, f"lost while the message was being sent: {error}")
        code, text = self._read()
        self.in_envelope = False
        if self.open:
            self._sock.settimeout(self.provider.timeout)
        return classify(Stage.BODY, code, text)

    def reset(self) -> None:
        """RSET: forget the envelope.  A server that does not answer it is left."""
        if self.open and self._ask("RSET")[0] != 250:
            self.close()
        self.in_envelope = False

    @property
    def open(self) -> bool:
        """Whether it can be used."""
        return self._smtp.sock is not None

    def quit(self) -> None:
        """Say goodbye; how the server takes it does not matter."""
        if self.open:
            self._sock.settimeout(1.0)
            self._ask("QUIT")
        self.close()

    def close(self) -> None:
        """Close the socket."""
        self._smtp.close()

    # -- one command, one answer ----------------------------------------------------------------------------------------

    @property
    def _sock(self) -> socket.socket:
        if self._smtp.sock is None:
            raise smtplib.SMTPServerDisconnected("closed")
        return self._smtp.sock

    def _ask(self, command: str) -> tuple[int, str]:
        try:
            self._sock.sendall(f"{command}\r\n".encode())
        except _LOST as error:
            self.close()
            return NO_ANSWER, f"connection lost: {error}"
        return self._read()

    def _read(self) -> tuple[int, str]:
        try:
            code, text = self._smtp.getreply()
        except _LOST as error:
            self.close()
            return NO_ANSWER, str(error)
        if code == 421 or code < 0:
            # After 421 the server closes; after something that is no reply, who knows which answer the next one is.
            self.close()
        return code, text.decode("utf-8", "replace")

    # -- getting in -----------------------------------------------------------------------------------------------------

    def _greet(self) -> None:
        code, text = _quietly(self._smtp.ehlo)
        if code != 250:
            _refuse(Stage.CONNECT, code, text)

    def _start_tls(self) -> None:
        if not self._smtp.has_extn("starttls"):
            # Whoever cut the word out of the answer would read along.
            raise NotConnected(Answer(Action.STOP, 0, None, "the server offers no STARTTLS, and starttls=require"))
        try:
            code, text = self._smtp.starttls(context=self.provider.tls())
        except smtplib.SMTPResponseException as error:
            code, text = error.smtp_code, _bytes(error.smtp_error)
        except _LOST as error:
            raise NotConnected(_no_tls(error)) from error
        if code != 220:
            _refuse(Stage.CONNECT, code, text.decode("utf-8", "replace"))
        self._greet()

    def _log_in(self, user: str, password: str) -> None:
        try:
            self._smtp.login(user, password)
        except smtplib.SMTPResponseException as error:
            text = _bytes(error.smtp_error).decode("utf-8", "replace")
            # A server that repeats what it was told must not carry the password into a log.
            _refuse(Stage.AUTH, error.smtp_code, text.replace(password, "***") if password else text)
        except smtplib.SMTPNotSupportedError as error:
            raise NotConnected(Answer(Action.STOP, 0, None, str(error))) from error
        except _LOST as error:
            _refuse(Stage.AUTH, NO_ANSWER, str(error))


def queue_id(text: str) -> str | None:
    """The id under which the server says that it has the message, where it says one."""
    found = _QUEUE_ID.search(text) or _BARE_ID.match(text)
    return found[1].rstrip(".")[:191] if found else None


def _connect(provider: Provider) -> smtplib.SMTP:
    smtp: smtplib.SMTP
    try:
        if provider.implicit_tls:
            smtp = smtplib.SMTP_SSL(
                timeout=provider.connect_timeout, context=provider.tls(), local_hostname=provider.helo
            )
        else:
            smtp = smtplib.SMTP(timeout=provider.connect_timeout, local_hostname=provider.helo)
        # For the name in the certificate: set by smtplib's constructor alone, and that would connect.
        smtp._host = provider.host  # type: ignore[attr-defined]
        code, text = smtp.connect(provider.host, provider.port)
    except smtplib.SMTPResponseException as error:
        raise NotConnected(classify(Stage.CONNECT, error.smtp_code, str(error.smtp_error))) from error
    except _LOST as error:
        raise NotConnected(_no_tls(error)) from error
    if code != 220:
        smtp.close()
        _refuse(Stage.CONNECT, code, text.decode("utf-8", "replace"))
    if smtp.sock is not None:
        # A small message in several packets must not wait for an acknowledgement.
        smtp.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return smtp


def _quietly(step: object) -> tuple[int, str]:
    try:
        code, text = step()  # type: ignore[operator]
    except _LOST as error:
        return NO_ANSWER, str(error)
    return code, text.decode("utf-8", "replace")


def _refuse(stage: Stage, code: int, text: str) -> NoReturn:
    raise NotConnected(classify(stage, code, text))


def _no_tls(error: BaseException) -> Answer:
    if type(error).__name__ in ("SSLCertVerificationError", "CertificateError"):
        # It will not get better by waiting, and it may be somebody else's server.
        return Answer(Action.STOP, 0, None, f"the server's certificate is not to be trusted: {error}")
    return classify(Stage.CONNECT, NO_ANSWER, str(error))


def _one_line(address: str) -> str:
    if any(char in address for char in "\r\n\0<> "):
        raise ValueError("an address that holds a space, a line end or a bracket cannot go into a command")
    return address


def _bytes(text: bytes | str) -> bytes:
    return text if isinstance(text, bytes) else text.encode("utf-8", "replace")
