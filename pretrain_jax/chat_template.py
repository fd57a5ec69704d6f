"""Chat templates: how a conversation becomes one text.

A template is Jinja, as in Hugging Face's tokenizers. It gets `messages`, a list of {"role":
"system", "user" or "assistant", "content": text}, and `add_generation_prompt`. The answers, from
which a model learns, are marked with `generation`, and each ends with `eos_token`:

    {% generation %}{{ message['content'] }}{{ eos_token }}{% endgeneration %}
"""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, ClassVar, NoReturn

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension
from jinja2.sandbox import ImmutableSandboxedEnvironment

from pretrain_jax.errors import ConfigError, DataError
from pretrain_jax.switches import SWITCH, split_at_switches, strip_switches

ROLES = ("system", "user", "assistant")
DEFAULT = """\
{%- for message in messages -%}
### {{ message['role'] | capitalize }}
{% if message['role'] == 'assistant' -%}
{% generation %}{{ message['content'] }}{{ eos_token }}{% endgeneration %}
{%- else -%}
{{ message['content'] }}
{%- endif %}


{% endfor -%}
{% if add_generation_prompt -%}
### Assistant
{% endif -%}
"""
END = "\ufdd3"
"""Stands for `eos_token` while a template is rendered; a noncharacter, like SWITCH."""
Message = Mapping[str, str]
Pieces = list[tuple[str, bool]]
"""(text, whether it is an answer), in their order."""


class Generation(Extension):
    """The tag `generation`: its text lies between two switches."""

    tags: ClassVar = {"generation"}

    def parse(self, parser: Any) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("mark"), [], [], body).set_lineno(line)

    def mark(self, caller: Any) -> str:
        return SWITCH[1] + caller() + SWITCH[0]


def raise_exception(message: str) -> NoReturn:
    """What a template calls for messages that it does not take."""
    raise jinja2.TemplateError(message)


@cache
def compile_template(text: str) -> jinja2.Template:
    """Raises ConfigError for a text that is no template, or that marks no answers."""
    if not re.search(r"{%-?\s*generation\b", text):
        raise ConfigError(
            "objective.template must mark the answers, from which the model learns: "
            "{% generation %}{{ message['content'] }}{{ eos_token }}{% endgeneration %}; the "
            "template has no such mark. Add it"
        )
    sandbox = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, "jinja2.ext.loopcontrols"]
    )
    sandbox.globals["raise_exception"] = raise_exception
    try:
        return sandbox.from_string(text)
    except jinja2.TemplateError as error:
        raise ConfigError(
            f"objective.template must be a Jinja template; line "
            f"{getattr(error, 'lineno', 1)}: {error}. Fix it"
        ) from error


def render(
    template: str, messages: Sequence[Message], add_generation_prompt: bool = False
) -> Pieces:
    """The pieces of a conversation, without empty ones; the end of an answer is not part of it.

    Raises ConfigError for a wrong template, and DataError for messages that it does not take.

    >>> messages = [{"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": "4"}]
    >>> render(DEFAULT, messages)
    [('### User\\n2 + 2?\\n\\n### Assistant\\n', False), ('4', True), ('\\n\\n', False)]
    """
    compiled = compile_template(template)
    clean = [
        {"role": one["role"], "content": strip_switches(one["content"]).replace(END, "")}
        for one in messages
    ]
    try:
        text = compiled.render(
            messages=clean,
            add_generation_prompt=add_generation_prompt,
            bos_token="",
            eos_token=END,
        )
    except jinja2.TemplateError as error:
        reason = str(error).rstrip(".") or type(error).__name__
        raise DataError(f"objective.template does not take these messages: {reason}") from error
    # A template is a program, which can fail in any way.
    except Exception as error:
        raise ConfigError(
            f"objective.template must write every conversation; it fails with "
            f"{type(error).__name__}: {error}. Fix the template"
        ) from error
    pieces: Pieces = []
    for mark, piece in split_at_switches(text):
        if mark and not piece.rstrip("\n").endswith(END):
            raise ConfigError(
                "objective.template must end each answer with eos_token, where the model stops: "
                "{{ message['content'] }}{{ eos_token }}{% endgeneration %}"
            )
        plain = piece.replace(END, "")
        if plain or mark:
            pieces.append((plain, bool(mark)))
    return pieces


def join_pieces(pieces: Pieces) -> str:
    """The text of a conversation."""
    return "".join(piece for piece, _ in pieces)
