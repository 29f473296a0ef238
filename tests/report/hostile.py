"""A hundred names that a table, a class, a file or a run may have, and that must do nothing but be shown."""

# ruff: noqa: E501  (names are kept whole)
from __future__ import annotations

MARKUP = [
    "<script>window.harmed=1</script>", "</script><script>window.harmed=1</script>", "<img src=x onerror=window.harmed=1>",
    "<svg onload=window.harmed=1>", "<svg/onload=window.harmed=1//", "<body onload=window.harmed=1>", "<!--", "-->", "--!>",
    "<![CDATA[<script>window.harmed=1</script>]]>", "<iframe src=javascript:window.harmed=1>", "<a href=javascript:window.harmed=1>x</a>",
    "<math><mi//xlink:href='data:x,<script>window.harmed=1</script>'>", "<style>*{display:none}</style>", "</style><script>window.harmed=1</script>",
    "</title><script>window.harmed=1</script>", "</textarea><script>window.harmed=1</script>", "<base href=http://127.0.0.1:9/>",
    "<meta http-equiv=refresh content=0;url=http://127.0.0.1:9/>", "<link rel=stylesheet href=http://127.0.0.1:9/x.css>",
    "<object data=http://127.0.0.1:9/>", "<form action=http://127.0.0.1:9/><input autofocus onfocus=window.harmed=1>",
    "<video><source onerror=window.harmed=1>", "<details open ontoggle=window.harmed=1>", "<marquee onstart=window.harmed=1>",
    "<noscript><p title='</noscript><img src=x onerror=window.harmed=1>'>", "<template><script>window.harmed=1</script></template>",
    "&lt;script&gt;window.harmed=1&lt;/script&gt;", "&#60;script&#62;window.harmed=1&#60;/script&#62;", "\\u003cscript\\u003ewindow.harmed=1",
    "\\x3cscript\\x3ewindow.harmed=1", "<scr<script>ipt>window.harmed=1</scr</script>ipt>", "<ScRiPt>window.harmed=1</ScRiPt>", "<script\n>window.harmed=1</script\n>",
    "<x onclick=window.harmed=1 style=position:fixed;inset:0>", "<dialog open>", "<plaintext>", "<xmp>",
]  # fmt: skip
QUOTES = [
    '"', "'", "`", '" onmouseover="window.harmed=1', "' onmouseover='window.harmed=1", '"><script>window.harmed=1</script>', "'><b>",
    "javascript:window.harmed=1", "';window.harmed=1;//", '";window.harmed=1;//', "`${window.harmed=1}`", "\\", "\\\\", "\\'", '\\"',
    "*/window.harmed=1/*", "//", "]]>", "]}", "}]", '{"a":1}',
]  # fmt: skip
TEMPLATES = [
    "{{ 7*7 }}", "{{7*7}}", "{% raw %}", "{% endraw %}", "{{ ''.__class__ }}", "{{ self.__init__.__globals__ }}", "{# comment #}",
    "{%", "%}", "{{", "}}", "${7*7}", "#{7*7}", "<%= 7*7 %>", "{0}", "{name}", "{!r}", "%s", "%(x)s", "%n%n%n",
]  # fmt: skip
CELLS = [
    "=1+1",
    '=HYPERLINK("http://127.0.0.1:9")',
    "+1+1",
    "-1+1",
    "@SUM(A1)",
    "=cmd|' /C calc'!A0",
    "\t=1+1",
    "|pipe|",
    "[red]x[/red]",
    "[/]",
]
CONTROLS = [
    "\x1b[31mred\x1b[0m", "\x1b]0;title\x07", "\x1b[2J", "\x1b]8;;http://127.0.0.1:9\x07x\x1b]8;;\x07", "\x9b31m", "a\rb", "a\nb", "a\x08b",
    "\x7f", "\u202egnp.exe", "\u2066x\u2069", "\u200b", "\ufeff", "\u2028", "e\u0301" * 20, "\U0001f600" * 3, "\u0000x",
]  # fmt: skip
NAMES = [*MARKUP, *QUOTES, *TEMPLATES, *CELLS, *CONTROLS]
"""At least a hundred, each told apart from the others."""

assert len(set(NAMES)) == len(NAMES) >= 100
