"""Prompts in, text out: the short way to a reply."""

from __future__ import annotations

import typing

import numpy

from ._salient import Generator, Model, Reply

#: A text to continue, the turns of a chat ({"role", "content"}), or token ids.
Prompt = typing.Union[str, typing.Sequence[typing.Mapping[str, typing.Any]], typing.Sequence[int], numpy.ndarray]


def encode_prompt(model: Model, prompt: Prompt) -> numpy.ndarray:
    """The token ids of a prompt."""
    if isinstance(prompt, str):
        return model.tokenizer.encode(prompt)
    if isinstance(prompt, numpy.ndarray):
        return prompt
    if prompt and isinstance(prompt[0], typing.Mapping):
        return model.tokenizer.encode(model.chat_template.render(prompt), add_special_tokens=False)
    return numpy.array(prompt, dtype=numpy.int32)


def generate(model: Model, prompt: Prompt, **options: typing.Any) -> Reply:
    """The reply to a prompt. Options are those of Generator."""
    return Generator(model, **options).reply(encode_prompt(model, prompt))


def stream(model: Model, prompt: Prompt, **options: typing.Any) -> typing.Iterator[str]:
    """The reply to a prompt, in pieces of whole characters as it grows. Options are those of Generator."""
    generator = Generator(model, **options)
    generator.append_tokens(encode_prompt(model, prompt))
    for token in generator:
        if token.text:
            yield token.text
