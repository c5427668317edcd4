"""One dead letter: its payload and traceback to look at, another payload to be set for the replay."""

from __future__ import annotations

import json
from typing import Any

from ops.errors import UsageError
from ops.pages import masking
from ops.pages.confirm import ConfirmPage
from ops.pages.handler import Page, asked
from runstate import letters, pages, run_page
from runstate.letters import Letter
from tasks import control


class LetterPage(Page):
    """A letter with everything that is known of it."""

    tab = "letters"

    async def get(self, letter_id: str) -> None:
        letter = await self.off_loop(asked(lambda c: letters.get(c, int(letter_id))))
        attempts, audit = await self.off_loop(
            asked(
                lambda c: (
                    run_page.attempts_of_job(c, letter.run_id, letter.job_no),
                    pages.audit_page(c, subject=f"dead_letter:{letter.id}"),
                )
            )
        )
        self.page("letter.html", letter=letter, attempts=attempts, audit=audit)


class EditPage(ConfirmPage):
    """Set another payload beside the original.  Masked values stay what they are; the mask itself is never written."""

    tab = "letters"

    async def get(self, letter_id: str) -> None:
        self.need("edit")
        letter = await self.off_loop(asked(lambda c: letters.get(c, int(letter_id))))
        self._form(letter, json.dumps(masking.masked(_now(letter)), indent=2, ensure_ascii=False), "")

    async def post(self, letter_id: str) -> None:
        self.need("edit")
        text = str(self.get_body_argument("payload", ""))
        letter = await self.off_loop(asked(lambda c: letters.get(c, int(letter_id))))

        async def again(error: str) -> None:
            self._form(letter, text, error)

        def work() -> Letter:
            actor = self.actor()
            return control.edit(letter.id, self._payload(text, letter), actor)

        done = await self.attempt(work, again)
        if done is not None:
            self.say(f"A replay of letter {letter.id} uses the new payload. The original stays beside it.")
            self.redirect(self.link("letter", letter.id), status=303)

    def _payload(self, text: str, letter: Letter) -> Any:
        try:
            edited = json.loads(text)
        except json.JSONDecodeError as error:
            raise UsageError(f"This is not JSON: {error.msg} in line {error.lineno}, column {error.colno}") from None
        return masking.unmasked(edited, _now(letter))

    def _form(self, letter: Letter, text: str, error: str) -> None:
        self.page(
            "letter_edit.html", letter=letter, text=text, error=error, mask=masking.MASK, reason=self.field("reason")
        )


def _now(letter: Letter) -> Any:
    """The payload that a replay would use."""
    return letter.payload if letter.edited_payload is None else letter.edited_payload
