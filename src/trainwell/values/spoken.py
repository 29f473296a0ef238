"""Messages name options as the reader gave them: `--target` on the command line, `target=` in Python."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from contextvars import ContextVar

_COMMAND = ContextVar("command", default=False)

KEYWORDS: Mapping[str, str] = {
    "with": "with_=", "set": "settings_=", "against": "change=", "treat-live": "treat=", "no-watch": "watch=False",
    "no-baseline": "baseline=False", "allow-pickle": "allow_pickle=True", "proba": "predict_proba",
    "resume": "resume=True", "onnx": "formats=('onnx',)", "peft": "formats=('peft',)",
}  # fmt: skip
"""Options whose keyword is no simple turn of their name."""

TAKES = {"na", "drop", "categorical", "numeric"}
"""Options whose next word is a word of the data, unless the sentence goes on."""
GOES_ON = {"and", "or", "is", "are", "needs", "to", "for", "must"}

_SETTING = re.compile(r"(?<![\w'-])--set ([\w.]+)=(\.\.\.|[^\s;)]*[^\s;:,.)])")
_FIELD = re.compile(r"(?<![\w'-])--set ([\w.]+):(?=\s)")
_TECHNIQUE = re.compile(r"(?<![\w'-])--(with|without|against) ([a-z_0-9]+(?::[\w.=,+-]*\w)?)(?![\w{])")
_FIRST = re.compile(r"^--([a-z][a-z0-9-]*) (?:(\S+?)(?=:\s)|(\S*/\S*[^\s:,;.]))")
_OPTION = re.compile(
    r"(?<!pip install )(?<![\w'/.-])--([a-z][a-z0-9-]*[a-z0-9])(?![\w=])(?: ([^\s;:,()`]*[^\s;:,().`]))?"
)
_PLACE = re.compile(r"[A-Z]{2,}[\w./]*|[\d.]+[%\w]*|none|package|balanced|best|quick|remove")
"""A word that stands for a value, a number, and the values that messages name."""


@contextlib.contextmanager
def on_command_line() -> Iterator[None]:
    """Let messages name options as the command line has them."""
    token = _COMMAND.set(True)
    try:
        yield
    finally:
        _COMMAND.reset(token)


def spoken(text: str) -> str:
    """Return a message that was written for the command line as the caller knows the options."""
    return text if _COMMAND.get() or "--" not in text else in_python(text)


def in_python(text: str) -> str:
    """Return a message with keywords in place of options; commands in backticks stay."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part if part.startswith("`") else _turned(part) for part in parts)


def _turned(text: str) -> str:
    text = _FIELD.sub(r"settings_['\1']:", text)
    text = _SETTING.sub(lambda m: f"settings_={{'{m[1]}': {_literal(m[2])}}}", text)
    text = _TECHNIQUE.sub(_technique, text)
    text = _FIRST.sub(lambda m: f"{_keyword(m[1])}{_literal(m[2] or m[3])}", text)
    return _OPTION.sub(_option, text)


def _technique(match: re.Match[str]) -> str:
    name, value = match[1], match[2]
    if ":" not in value and value in ("is", "needs", "must", "and", "or", "takes"):  # it speaks of the option
        return match[0]
    return f"{KEYWORDS.get(name, name + '=')}'{value}'"


def _option(match: re.Match[str]) -> str:
    name, word = match[1], match[2]
    known = _keyword(name)
    if word is None:
        return known
    is_value = _PLACE.fullmatch(word) or (name in TAKES and word not in GOES_ON)
    return f"{known}{_literal(word)}" if is_value and known.endswith("=") else f"{known} {word}"


def _keyword(name: str) -> str:
    return KEYWORDS.get(name, name.replace("-", "_") + "=")


def _literal(value: str) -> str:
    """Return a value as it is written in Python; a word in capitals stands for one."""
    plain = re.fullmatch(r"[A-Z]{2,}[\w./]*|-?[\d.]+(?:e-?\d+)?|\.\.\.|\{.*\}", value)
    return value if plain else repr(value)
