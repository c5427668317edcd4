"""The operators' pages inside Flower, with its navigation, its login and its ``url_prefix``.

Flower has no plugin interface: `install` puts handlers in front of its own, tabs into its navigation, and a guard before its
buttons.  ``flowerconfig.py`` calls it before Flower builds its app.
"""

from .install import install

__all__ = ["install"]
