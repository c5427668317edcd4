"""Chromium, for the tests that click: an installed one, or Debian's headless shell unpacked without root, with a font.

A browser of the distribution's, never one that a test tool would fetch from elsewhere.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from stack.debian import Program, packages_directory
from stack.errors import ServerMissing
from stack.packages import Unpacked, unpack

_INSTALLED = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
_PACKAGES = ("chromium-headless-shell", "chromium-common", "fonts-dejavu-core", "fontconfig-config")
_WHAT_TO_DO = (
    "Chromium is needed by the tests of the pages. Put it on the PATH, for example from the package chromium of your\n"
    "distribution, or have apt-get and dpkg-deb unpack it here, which needs no root"
)
_FONTS = """<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "urn:fontconfig:fonts.dtd">
<fontconfig><dir>{fonts}</dir><dir>/usr/share/fonts</dir><cachedir>{cache}</cachedir></fontconfig>
"""


@dataclass(frozen=True, slots=True)
class Browser(Program):
    """A browser that can be started here; ``fonts`` is a configuration of fontconfig's, where the system has none of its own."""

    fonts: str = ""

    def environment(self) -> dict[str, str]:
        """The environment it needs."""
        found = Program.environment(self)
        return found | {"FONTCONFIG_FILE": self.fonts} if self.fonts else found


def chromium_program() -> Browser:
    """A headless Chromium.  Raises `ServerMissing`."""
    for name in _INSTALLED:
        if (found := shutil.which(name)) is not None:
            return Browser(Path(found))
    unpacked = unpack(packages_directory() / "chromium", _PACKAGES, what_to_do=_WHAT_TO_DO)
    # Not usr/bin: that is a script which looks for the installed one.
    program = unpacked.root / "usr/lib/chromium/chromium-headless-shell"
    if not program.exists():
        raise ServerMissing(
            f"the packages unpacked in {unpacked.root} hold no Chromium: remove that directory.\n{_WHAT_TO_DO}"
        )
    return Browser(program, unpacked.library_path, fonts=_fonts(unpacked))


def _fonts(unpacked: Unpacked) -> str:
    configuration = unpacked.root.parent / "fonts.conf"
    text = _FONTS.format(fonts=unpacked.root / "usr/share/fonts", cache=unpacked.root.parent / "font-cache")
    if not configuration.exists() or configuration.read_text(encoding="utf-8") != text:
        configuration.write_text(text, encoding="utf-8")
    return str(configuration)
