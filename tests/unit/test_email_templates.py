"""Templates: found under their roots, pinned whole, filled in a sandbox, styled and turned into text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tasks.email.addresses import parse_address
from tasks.email.css import inline_source_styles, inline_styles
from tasks.email.errors import BadMessage, BadTemplate
from tasks.email.flattening import flatten
from tasks.email.plaintext import html_to_text, source_to_text, tidy
from tasks.email.template import Template, environment_for
from tests.unit.email_content import bodies, compiled, parsed, rendered

pytestmark = pytest.mark.unit

ANNA = parse_address("anna@example.com")
STYLE = "<style>.a{color:red} @media (max-width: 600px){.a{width:100%}}</style>"


def made(html: str, **variables: Any) -> tuple[str, str]:
    """Text and HTML of a message with this HTML template, without the parser's line ends."""
    text, filled = bodies(parsed(rendered(compiled(html), variables).data))
    assert text is not None and filled is not None
    return text.replace("\r\n", "\n"), filled.replace("\r\n", "\n")


class TestFilling:
    def test_html_is_escaped_and_text_is_not(self) -> None:
        """A name is a name in both, not markup."""
        message = compiled("<p>{{ name }}</p>", "{{ name }}", subject="{{ name }}")
        found = rendered(message, {"name": "<b>A & B</b>"})
        assert bodies(parsed(found.data)) == ("<b>A & B</b>\r\n", "<p>&lt;b&gt;A &amp; B&lt;/b&gt;</p>\r\n")
        assert found.subject == "<b>A & B</b>"

    @pytest.mark.parametrize(
        "text, variables, missing",
        [
            ("{{ name }}", {"name": "A"}, None),
            ("{{ name }}", {}, "'name' is undefined; it has email, unsubscribe_url"),
            ("{{ name|default('you') }}", {}, None),
            ("{% if name is defined %}{{ name }}{% endif %}", {}, None),
            ("{% if vip %}{{ gift }}{% endif %}", {"vip": False}, None),
            ("{% if vip %}{{ gift }}{% endif %}", {"vip": True}, "'gift' is undefined"),
            ("{{ order.total }}", {"order": {"total": 1}}, None),
            ("{{ order.total }}", {"order": {}}, "no attribute 'total'"),
            ("{% for x in xs %}{{ x }}{% endfor %}", {}, "'xs' is undefined"),
            ("{{ '%.2f'|format(price) }}", {"price": "x"}, "TypeError"),
            ("{{ 1 // n }}", {"n": 0}, "ZeroDivisionError"),
            ("{{ email }} {{ unsubscribe_url }}", {}, None),
            ("{{ range(3)|join }}", {}, None),
        ],
    )
    def test_what_a_recipient_lacks_is_told_before_sending(
        self, text: str, variables: dict[str, Any], missing: str | None
    ) -> None:
        """The planning's check says just what the rendering would."""
        message = compiled(text=text)
        found = message.missing(ANNA, variables)
        if missing is None:
            assert found is None
            rendered(message, variables)
        else:
            assert found is not None and missing in found
            with pytest.raises(BadMessage) as error:
                rendered(message, variables)
            assert missing.partition(";")[0] in str(error.value)

    def test_every_template_of_a_message_is_checked(self) -> None:
        """Subject, name, fields, text and HTML alike."""
        for given in (
            {"subject": "{{ x }}"}, {"to_name": "{{ x }}"}, {"headers": {"X-A": "{{ x }}"}}, {"html": "{{ x }}"},
        ):  # fmt: skip
            options: dict[str, Any] = {"text": "fine", **given}
            assert "'x' is undefined" in str(compiled(**options).missing(ANNA, {}))
            assert compiled(**options).missing(ANNA, {"x": "y"}) is None

    def test_plain_templates_are_checked_by_names_alone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A million recipients are not rendered twice where their variables' names tell."""
        message = compiled("<p>{{ name|upper }}{% if city %}{{ city }}{% endif %}</p>")
        calls: list[str] = []

        def render(self: Template, _: object) -> str:
            calls.append(self.name)
            return ""

        monkeypatch.setattr(Template, "render", render)
        assert message.missing(ANNA, {"name": "A", "city": ""}) is None
        assert calls == []
        message.missing(ANNA, {"name": "A"})
        assert calls != []

    @pytest.mark.parametrize(
        "text",
        [
            "{{ ''.__class__.__mro__ }}", "{{ x.__init__.__globals__ }}",
            "{{ xs.append(1) }}", "{{ self._TemplateReference__context }}",
            "{% for i in range(10**9) %}{% endfor %}", "{{ cycler.__init__.__globals__.os }}",
        ],
    )  # fmt: skip
    def test_the_sandbox_holds(self, text: str) -> None:
        """Neither Python's insides nor the variables of the next recipient can be reached or changed."""
        with pytest.raises(BadMessage):
            rendered(compiled(text=text), {"x": "y", "xs": [1]})

    @pytest.mark.parametrize(
        "text, line", [("a\n{{ x", 2), ("{% if x %}", 1), ("\n\n{{ x|nosuch }}", 3), ("{% nosuch %}", 1)]
    )
    def test_templates_that_do_not_compile_name_the_line(self, text: str, line: int) -> None:
        """A typing error fails the planning, not every recipient."""
        with pytest.raises(BadTemplate, match=f"line {line}"):
            compiled(text=text)


class TestFinding:
    def test_a_name_takes_html_and_text(self, tmp_path: Path) -> None:
        """``news`` is news.html and, if it is there, news.txt; subfolders are fine."""
        folder = tmp_path / "lists"
        folder.mkdir()
        (folder / "news.html").write_text("<p>html</p>")
        message = compiled(template="lists/news", roots=[tmp_path])
        assert bodies(parsed(rendered(message).data)) == ("html\r\n", "<p>html</p>\r\n")
        (folder / "news.txt").write_text("text\n")
        for name in ("lists/news", "lists/news.html"):
            message = compiled(template=name, roots=[tmp_path])
            assert bodies(parsed(rendered(message).data)) == ("text\r\n", "<p>html</p>\r\n")
        message = compiled(template="lists/news.txt", roots=[tmp_path])
        assert bodies(parsed(rendered(message).data)) == ("text\r\n", None)

    def test_what_a_template_includes_is_pinned_with_it(self, tmp_path: Path) -> None:
        """Files edited while a campaign runs do not make it two campaigns; workers need no template files."""
        (tmp_path / "base.html").write_text(
            f"<html><head>{STYLE}</head><body>{{% block main %}}{{% endblock %}}</body></html>"
        )
        (tmp_path / "part.html").write_text("<b class='a'>{{ name }}</b>")
        (tmp_path / "news.html").write_text(
            "{% extends 'base.html' %}{% block main %}{% include 'part.html' %}{% endblock %}"
        )
        message = compiled(template="news", roots=[tmp_path])
        for path in tmp_path.iterdir():
            path.unlink()
        text, html = bodies(parsed(rendered(message, {"name": "Anna"}).data))
        assert text == "Anna\r\n" and html is not None and 'style="color: red;">Anna</b>' in html
        assert not message.bodies.inlines_each

    def test_templates_stay_under_their_roots(self, tmp_path: Path) -> None:
        """Neither .. nor an absolute path nor a link leads out, by name or by include."""
        root = tmp_path / "in"
        root.mkdir()
        (tmp_path / "secret.html").write_text("secret")
        (root / "sub").mkdir()
        (root / "fine.html").write_text("fine")
        (root / "link.html").symlink_to(tmp_path / "secret.html")
        (root / "includes.html").write_text("{% include '../secret.html' %}")
        (root / "guesses.html").write_text("{% include name %}")
        for name in (
            "../secret",
            str(tmp_path / "secret"),
            "link",
            "sub/../fine",
            "includes",
            "guesses",
            "none",
            "in\0",
        ):
            with pytest.raises(BadTemplate):
                compiled(template=name, roots=[root])

    def test_files_that_are_no_text_are_refused(self, tmp_path: Path) -> None:
        """Another encoding is said, not guessed."""
        (tmp_path / "x.html").write_bytes("<p>ü</p>".encode("cp1252"))
        with pytest.raises(BadTemplate, match="not UTF-8"):
            compiled(template="x", roots=[tmp_path])


BASE = (
    "<html><head>{% block head %}"
    + STYLE
    + "{% endblock %}</head>\n<body class='a'>\n{% block main %}\n<p>base</p>\n{% endblock %}\n"
    "{% block foot %}<hr>{% block inner %}in{% endblock inner %}{% endblock %}</body></html>\n"
)


class TestSeveralFiles:
    @pytest.mark.parametrize(
        "news, one",
        [
            ("{% extends 'base' %}", True),
            ("{% extends 'base' %}\nnot shown\n{% block main %}\n<p class='a'>{{ x }}</p>\n{% endblock %}\n", True),
            ("{% extends 'base' %}{% block main %}{{ super() }}<p>more</p>{{ super() }}{% endblock %}", True),
            (
                "{% extends 'base' %}{% block inner %}x{% endblock %}{% block foot %}<i>{{ super() }}</i>{% endblock %}",
                True,
            ),
            ("{% extends 'middle' %}{% block main %}<p>top</p>{{ super() }}{% endblock %}", True),
            ("{% extends 'middle' %}{% block more %}{{ x }}{% endblock %}", True),
            ("<p>a</p>\n{% include 'part' %}\n{% include 'part' %}<p>b</p>", True),
            ("{% for n in ns %}{% include 'row' %}{% endfor %}", True),
            ("{%- extends 'base' -%} {%- block main -%} {{- x -}} {%- endblock -%}", True),
            ("{% extends 'base' %}{% block main %}{% include 'news2' %}{% endblock %}", True),
            ("{% extends 'base' %}{% set y = x %}{% block main %}{{ x }}{% endblock %}", False),
            ("{% extends 'base' if x else 'middle' %}{% block main %}{{ x }}{% endblock %}", False),
            ("{% extends 'base' %}{% block main scoped %}{{ x }}{% endblock %}", False),
            ("{% from 'macros' import m %}{{ m(x) }}", False),
            ("{% if x %}{% extends 'base' %}{% endif %}", False),
            ("{% extends 'base' %}{% block main %}{{ super()|upper }}{% endblock %}", False),
            ("{% include 'part' ignore missing %}", False),
            ("{% block a %}{{ x }}{% endblock %}{{ self.a() }}", False),
            ("{% raw %}{% block x %}{% endraw %}{% include 'part' %}", True),
            (
                "<ul>\n  {% for n in ns %}\n\n  {# n #}\n  <li>{{ n }}\n  {%+ if n %}y{% endif %}\n  {% endfor %}\n</ul>",
                True,
            ),
            (
                "{% extends 'base' %}{% block main %}\n\n  {% if x %}\n\n{% include 'part' %}\n  {% endif %}\n{% endblock %}",
                True,
            ),
        ],
    )
    def test_several_files_say_what_one_does(self, tmp_path: Path, news: str, one: bool) -> None:
        """Put together once where that surely means the same, and the same document either way."""
        sources = {
            "news": news,
            "base": BASE,
            "middle": "{% extends 'base' %}{% block main %}<p>middle</p>{% block more %}m{% endblock %}{{ super() }}{% endblock %}",
            "news2": "{% extends 'middle' %}{% block more %}deep{% endblock %}",
            "part": "<p class='a'>{{ x }}\n</p>\n",
            "row": "<p>{{ n }} of {{ ns|length }}</p>",
            "macros": "{% macro m(v) %}<b>{{ v }}</b>{% endmacro %}",
        }
        environment = environment_for(sources, html=True)
        found = flatten("news", sources, environment)
        assert (found is not None) is one
        values = {"x": "<y>", "ns": [1, 2]}
        if found is not None:
            together = environment_for(html=True, tidy=False).from_string(found)
            assert together.render(values) == environment.get_template("news").render(values)

    def test_a_template_that_includes_itself_is_told(self, tmp_path: Path) -> None:
        """At the planning, not by a worker that runs out of stack."""
        (tmp_path / "a.html").write_text("{% include 'b.html' %}")
        (tmp_path / "b.html").write_text("{% include 'a.html' %}")
        with pytest.raises(BadTemplate, match="itself"):
            compiled(template="a", roots=[tmp_path])

    def test_errors_name_the_file(self, tmp_path: Path) -> None:
        """A typing error in an included file is that file's, with its line."""
        (tmp_path / "a.html").write_text("<p>{% include 'b.html' %}")
        for wrong in ("{{ x", "{{ x|nosuch }}"):
            (tmp_path / "b.html").write_text("\n\n" + wrong)
            with pytest.raises(BadTemplate, match=r"b\.html, line 3"):
                compiled(template="a", roots=[tmp_path])

    def test_line_ends_are_trimmed_once(self) -> None:
        """Behind a block one line end goes, as everywhere in Jinja with `trim_blocks`, and not another one."""
        source = "<pre>{% if x %}\n\n\n  a{% endif %}\n\nb</pre>"
        _, html = compiled(source).bodies.render({"x": 1})
        assert html == environment_for(html=True).from_string(source).render(x=1) == "<pre>\n\n  a\nb</pre>"


class TestStyles:
    def test_styles_are_inlined_before_filling(self) -> None:
        """Once per campaign; what cannot be inlined stays in a style sheet."""
        message = compiled(f"<html><head>{STYLE}</head><body><p class='a'>{{{{ x }}}}</p></body></html>")
        assert not message.bodies.inlines_each
        _, html = bodies(parsed(rendered(message, {"x": "y"}).data))
        assert html is not None and '<p class="a" style="color: red;">y</p>' in html and "@media" in html

    @pytest.mark.parametrize(
        "body, fixed",
        [
            ("<p class='a'>{{ x }}</p>", True),
            ("<p class='a'>{{ x|default('<>\"') }} {% raw %}{% x %}{% endraw %}</p>", False),
            ("<table><tr><td class='a'>{{ x }}</td></tr></table>", True),
            ("<table>{% for n in ns %}<tr><td class='a'>{{ n }}</td></tr>{% endfor %}</table>", True),
            (
                "<table><thead><tr><th>h</th></tr></thead>{% for n in ns %}<tr><td>{{ n }}</td></tr>{% endfor %}</table>",
                False,
            ),
            ("<a class='a' href=\"{{ url }}?a=1&amp;b={{ x }}\">{{ x }}</a>", True),
            ("<a class='a' href={{ url }}>{{ x }}</a>", True),
            ("<p class='{{ cls }}'>x</p>", False),
            ("<p {% if x %}class='a'{% endif %}>x</p>", False),
            ("<p style='width: {{ n }}px' class='a'>x</p>", False),
            ("{% if x %}<div class='a'>{% else %}<div>{% endif %}x</div>", False),
            ("{% macro cell(v) %}<td class='a'>{{ v }}</td>{% endmacro %}<table><tr>{{ cell(1) }}</tr></table>", False),
            ("<!--[if mso]><table><tr><td>{{ x }}<![endif]--><p class='a'>{{ x }}</p>", True),
            ("<p>&#123;{ x }}</p>", False),
            ("{# said to nobody #}<p class='a'>{{ x }}</p>", True),
            ("{% set y = x %}<p class='a'>{{ y }}</p>", True),
            ("<select>{% for n in ns %}<option>{{ n }}{% endfor %}</select>", False),
        ],
    )
    @pytest.mark.parametrize("ns", [[], [1, 2]])
    def test_inlining_early_or_late_makes_the_same_document(self, body: str, fixed: bool, ns: list[int]) -> None:
        """Where a style may depend on the recipient, it is left to each message, and never guessed."""
        source = f"<html><head>{STYLE}</head><body>{body}</body></html>"
        message = compiled(source)
        assert message.bodies.inlines_each is not fixed
        variables = {"x": "<y> & 'z'", "url": "https://x.y/?q=1&r", "cls": "a", "n": 5, "ns": ns}
        values = {**variables, "email": "e", "unsubscribe_url": "u"}
        _, html = message.bodies.render(values)
        late = inline_styles(environment_for(html=True).from_string(source).render(values))
        assert html is not None
        # The <tbody> is there before the rows are, and stays where there are none.
        assert inline_styles(html).replace("<tbody></tbody>", "") == inline_styles(late)

    def test_nothing_is_fetched(self, tmp_path: Path) -> None:
        """Neither from the network nor from this disk."""
        (tmp_path / "secret.css").write_text("p{color:blue}")
        for link in ("https://127.0.0.1:9/x.css", f"file://{tmp_path}/secret.css", f"{tmp_path}/secret.css"):
            _, html = made(
                f"<html><head>{STYLE}<link rel='stylesheet' href='{link}'></head><body><p>x</p></body></html>"
            )
            assert "blue" not in html

    def test_only_documents_with_styles_are_rewritten(self) -> None:
        """HTML without a style sheet is sent as it was written."""
        assert made("<P>x<BR>")[1] == "<P>x<BR>\n"

    def test_markers_cannot_be_forged(self) -> None:
        """Text that looks like a marker stays what it is."""
        source = f"{STYLE}<p class='a'>jq0z0q <!--jq0z1q--> {{{{ x }}}}</p>"
        fixed = inline_source_styles(source, environment_for(html=True))
        assert fixed is not None and "jq0z0q <!--jq0z1q--> {{ x }}" in fixed


class TestText:
    @pytest.mark.parametrize(
        "html, text",
        [
            ("<p>Hello <b>you</b>,</p>\n<p>bye</p>", "Hello you,\n\nbye\n"),
            ("<p>a\n  b&nbsp;&amp; c</p>", "a b\xa0& c\n"),
            ("a<br>b<br/>c", "a\nb\nc\n"),
            ('<a href="https://x.y/?a=1&amp;b=2">here</a>!', "here (https://x.y/?a=1&b=2)!\n"),
            ('<a href="https://x.y">https://x.y</a> <a href="mailto:a@b.c">a@b.c</a>', "https://x.y a@b.c\n"),
            ('<a href="#top">up</a>', "up\n"),
            ('<a href="https://x.y"><img alt="Logo" src="l.png"></a>', "Logo (https://x.y)\n"),
            ("<ul><li>a<li>b<ul><li>c</ul></ul><ol><li>x</li><li>y</li></ol>", "- a\n- b\n  - c\n\n1. x\n2. y\n"),
            ("<table><tr><td>a</td><td>1</td></tr><tr><td>b</td><td>2</td></tr></table>", "a 1\nb 2\n"),
            ("<head><title>t</title></head><style>x{}</style><script>y</script>z", "z\n"),
            ("<pre>a\n  b</pre>c", "a\n  b\n\nc\n"),
            ("<h1>T</h1><div>a</div><div>b</div><hr>c", "T\n\na\nb\n\n--------------------\n\nc\n"),
            ("<!-- not this -->a", "a\n"),
            ("1 &lt; 2 &gt; 1", "1 < 2 > 1\n"),
            ("", "\n"),
        ],
    )  # fmt: skip
    def test_text_is_made_from_html(self, html: str, text: str) -> None:
        """Paragraphs, lists, rows and links stay what they are; entities become characters."""
        assert html_to_text(html) == text

    @pytest.mark.parametrize(
        "html, early",
        [
            ("<p>Hello {{ x }},</p><p><a href='{{ url }}'>{{ x }}</a> <a href='{{ url }}'>{{ url }}</a></p>", True),
            ("<ul>{% for n in ns %}<li>{{ n }}</li>{% endfor %}</ul>", True),
            ("<table>{% for n in ns %}<tr><td>{{ n }}</td><td>x</td></tr>{% endfor %}</table><p>end</p>", True),
            ("<ul>\n{% for n in ns %}\n<li>{{ n }}</li>\n{% endfor %}\n</ul>", True),
            ("<p>a</p>\n{%- for n in ns -%}\n<p>{{ n }}</p>\n{%- endfor -%}\n<p>end</p>", True),
            ("{% if x %}<p>yes</p>{% else %}<p>no</p>{% endif %}<p>end</p>", True),
            ("a {% if x %}b {% endif %}c", True),
            ("<title>{{ x }}</title>a", True),
            ("<a href='{% if ns %}https://a{% else %}https://b{% endif %}'>x</a>", True),
            ("{{ html|safe }}", False),
            ("{% macro m(v) %}<b>{{ v }}</b>{% endmacro %}{{ m(1) }}", False),
            ("<a title='{% if x %}'>{{ x }}</a>{% endif %}", False),
            ("&#123;{ x }}", False),
            ("<img alt='{{ x }}'>", True),
        ],
    )
    @pytest.mark.parametrize("ns", [[], [1, 2]])
    def test_text_made_early_or_late_is_the_same(self, html: str, early: bool, ns: list[int]) -> None:
        """The text template made once says what converting each message would."""
        message = compiled(html)
        assert message.bodies.converts_each is not early
        values = {"x": "Anna & Ben", "url": "https://x.y/1", "ns": ns, "html": "<p>p</p><p>q</p>", "email": "e"}
        values["unsubscribe_url"] = "u"
        text, filled = message.bodies.render(values)
        assert filled is not None and text == html_to_text(filled)

    def test_what_is_filled_in_is_not_converted(self) -> None:
        """A name with angle brackets is text, in the HTML and in the text made from it."""
        text, html = made("<p>{{ name }}</p>", name="<b>A</b> {{ x }}")
        assert text == "<b>A</b> {{ x }}\n" and "&lt;b&gt;A" in html

    def test_a_text_template_is_a_template(self) -> None:
        """Converting a source keeps its Jinja word by word."""
        source = "<p>{{ a|default('<x>') }}</p>{% if b %}<p>c</p>{% endif %}"
        found = source_to_text(source, environment_for(html=True))
        assert found is not None and "{{ a|default('<x>') }}" in found
        assert tidy(environment_for(html=False, tidy=False).from_string(found).render(b=1)) == "<x>\n\nc\n"
