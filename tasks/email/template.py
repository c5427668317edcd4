"""Templates: Jinja2 in its sandbox, where what a recipient lacks is an error and never a blank."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from jinja2 import DictLoader, StrictUndefined, TemplateSyntaxError, UndefinedError, meta, nodes
from jinja2.exceptions import SecurityError, TemplateNotFound, TemplateRuntimeError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from tasks.email.errors import BadMessage, BadTemplate

Json = Any
Sources = Mapping[str, str]

_CANNOT_FAIL: tuple[type[nodes.Node], ...] = (
    nodes.Template, nodes.Output, nodes.TemplateData, nodes.Name, nodes.Const, nodes.If, nodes.Not, nodes.And, nodes.Or,
)  # fmt: skip
_SAFE_FILTERS = {"e", "escape", "upper", "lower", "title", "capitalize", "trim", "string", "safe", "forceescape"}


def environment_for(sources: Sources | None = None, *, html: bool, tidy: bool = True) -> ImmutableSandboxedEnvironment:
    """The environment that templates are compiled in; ``sources`` are what they may include or extend.

    ``html`` escapes what is filled in.  ``tidy``: a line that holds nothing but a ``{% … %}`` leaves no blank line.
    """
    return ImmutableSandboxedEnvironment(
        loader=DictLoader(dict(sources or {})),
        undefined=StrictUndefined,
        autoescape=html,
        keep_trailing_newline=True,
        trim_blocks=tidy,
        lstrip_blocks=tidy,
        auto_reload=False,
    )


class Template:
    """One compiled template.  Raises `BadTemplate` where it cannot be compiled."""

    def __init__(
        self, name: str, source: str, environment: ImmutableSandboxedEnvironment, given: frozenset[str] = frozenset()
    ) -> None:
        """``given``: names that every message has, whoever it goes to."""
        self.name = name
        self._environment = environment
        self._given = given
        try:
            self._ast = environment.parse(source, name)
            self._compiled = environment.from_string(source)
        except TemplateSyntaxError as error:
            raise BadTemplate(error.name or name, error.message or "cannot be compiled", line=error.lineno) from None
        except (TypeError, ValueError, RecursionError) as error:
            raise BadTemplate(name, f"cannot be compiled: {error}") from None
        self._render = self._compiled.render

    def render(self, variables: Mapping[str, Json]) -> str:
        """The template filled; raises `BadMessage`, naming what is missing or what went wrong."""
        try:
            return self._render(variables)
        except UndefinedError as error:
            raise BadMessage(f"template {self.name}: {error.message}; {_has(variables)}") from None
        except SecurityError as error:
            raise BadMessage(f"template {self.name}: {error}; the sandbox forbids it") from None
        except TemplateNotFound as error:
            raise BadMessage(f"template {self.name} includes {error.name}, which the campaign does not have") from None
        except TemplateRuntimeError as error:
            raise BadMessage(f"template {self.name}: {error}") from None
        except Exception as error:
            # Broad, for a template computes whatever it likes with values of any type.
            raise BadMessage(f"template {self.name}: {type(error).__name__}: {error}; {_has(variables)}") from None

    @cached_property
    def names(self) -> frozenset[str]:
        """The variables that it uses anywhere, in branches not taken and behind `default` too."""
        found = meta.find_undeclared_variables(self._ast)
        return frozenset(found - self._environment.globals.keys() - self._given)

    @cached_property
    def cannot_fail(self) -> bool:
        """Whether it surely renders for whoever has all of `names`: it only puts them in, and asks whether they are there."""
        return all(self._is_safe(node) for node in self._ast.find_all(nodes.Node))

    def problem(self, variables: Mapping[str, Json]) -> str | None:
        """Why it cannot be rendered, or None; without rendering it where the names alone tell."""
        if self.cannot_fail and self.names <= variables.keys():
            return None
        try:
            self.render(variables)
        except BadMessage as error:
            return str(error)
        return None

    def _is_safe(self, node: nodes.Node) -> bool:
        if isinstance(node, nodes.Filter):
            return node.name in _SAFE_FILTERS or node.name in ("default", "d")
        if isinstance(node, nodes.Test):
            return node.name in ("defined", "undefined", "none")
        return isinstance(node, _CANNOT_FAIL)


def _has(variables: Mapping[str, Json]) -> str:
    return f"it has {', '.join(sorted(variables)) or 'no variables'}"
