"""What is opened: a folder with its settings, its model, its tokenizer."""

from __future__ import annotations

import ctypes
import typing

import numpy

from ._library import Handle, call, copy_ids, library, take_text, to_bytes
from ._tensors import Tensor, to_ids
from ._unsupported import MultiModalProcessor, StreamingProcessor


class Config(Handle):
    """A model's folder with its settings."""

    _destroy = "OgaDestroyConfig"

    def __init__(self, config_path: str):
        super().__init__("OgaCreateConfig", to_bytes(config_path))

    @staticmethod
    def from_package_ep(config_path: str, ep: str) -> Config:
        call("OgaCreateConfigFromPackageEp", to_bytes(config_path), to_bytes(ep), None)
        raise AssertionError("it is refused")

    def clear_providers(self) -> None:
        call("OgaConfigClearProviders", self._handle)

    def append_provider(self, name: str) -> None:
        call("OgaConfigAppendProvider", self._handle, to_bytes(name))

    def set_provider_option(self, provider: str, key: str, value: str) -> None:
        call("OgaConfigSetProviderOption", self._handle, to_bytes(provider), to_bytes(key), to_bytes(value))

    def overlay(self, json: str) -> None:
        call("OgaConfigOverlay", self._handle, to_bytes(json))

    def add_model_data(self, _model_filename: str, _data) -> None:
        call("OgaConfigAddModelData")

    def remove_model_data(self, _model_filename: str) -> None:
        call("OgaConfigRemoveModelData")


class Model(Handle):
    """A model ready to run."""

    _destroy = "OgaDestroyModel"

    def __init__(self, config: Config | str):
        if isinstance(config, Config):
            super().__init__("OgaCreateModelFromConfig", config._handle)
        else:
            super().__init__("OgaCreateModel", to_bytes(config))

    @property
    def type(self) -> str:
        return take_text("OgaModelGetType", self._handle)

    @property
    def device_type(self) -> str:
        return take_text("OgaModelGetDeviceType", self._handle)

    def create_multimodal_processor(self) -> MultiModalProcessor:
        return MultiModalProcessor(self)

    def create_streaming_processor(self) -> StreamingProcessor:
        return StreamingProcessor(self)


class TokenizerStream(Handle):
    """Decodes token by token."""

    _destroy = "OgaDestroyTokenizerStream"

    def __init__(self, tokenizer: Tokenizer):
        super().__init__("OgaCreateTokenizerStream", tokenizer._handle)

    def decode(self, token: int) -> str:
        out = ctypes.c_char_p()
        call("OgaTokenizerStreamDecode", self._handle, ctypes.c_int32(int(token)), ctypes.byref(out))
        return out.value.decode(errors="replace")


class Tokenizer(Handle):
    """Text to tokens and back; no BOS is added unless update_options(add_special_tokens=True) says so."""

    _destroy = "OgaDestroyTokenizer"

    def __init__(self, model: Model | Config | str):
        if isinstance(model, Model):
            super().__init__("OgaCreateTokenizer", model._handle)
        elif isinstance(model, Config):
            super().__init__("OgaCreateTokenizerFromConfig", model._handle)
        else:
            super().__init__("OgaCreateTokenizerFromPath", to_bytes(model))

    def _token(self, function: str) -> int:
        token = ctypes.c_int32()
        call(function, self._handle, ctypes.byref(token))
        return token.value

    bos_token_id = property(lambda self: self._token("OgaTokenizerGetBosTokenId"))
    pad_token_id = property(lambda self: self._token("OgaTokenizerGetPadTokenId"))
    bot_token_id = property(lambda self: self._token("OgaTokenizerGetBotTokenId"))
    eot_token_id = property(lambda self: self._token("OgaTokenizerGetEotTokenId"))
    bor_token_id = property(lambda self: self._token("OgaTokenizerGetBorTokenId"))
    eor_token_id = property(lambda self: self._token("OgaTokenizerGetEorTokenId"))

    @property
    def eos_token_ids(self) -> numpy.ndarray:
        out, count = ctypes.c_void_p(), ctypes.c_size_t()
        call("OgaTokenizerGetEosTokenIds", self._handle, ctypes.byref(out), ctypes.byref(count))
        return copy_ids(out, count.value)

    def update_options(self, **options) -> None:
        keys = (ctypes.c_char_p * len(options))(*[to_bytes(key) for key in options])
        values = (ctypes.c_char_p * len(options))(*[to_bytes(str(value)) for value in options.values()])
        call("OgaUpdateTokenizerOptions", self._handle, keys, values, ctypes.c_size_t(len(options)))

    def encode(self, text: str) -> numpy.ndarray:
        sequences = ctypes.c_void_p()
        call("OgaCreateSequences", ctypes.byref(sequences))
        try:
            call("OgaTokenizerEncode", self._handle, to_bytes(text), sequences)
            count = library.OgaSequencesGetSequenceCount(sequences, ctypes.c_size_t(0))
            return copy_ids(library.OgaSequencesGetSequenceData(sequences, ctypes.c_size_t(0)), count)
        finally:
            library.OgaDestroySequences(sequences)

    def encode_batch(self, strings: typing.Sequence[str]) -> Tensor:
        texts = (ctypes.c_char_p * len(strings))(*[to_bytes(text) for text in strings])
        handle = ctypes.c_void_p()
        call("OgaTokenizerEncodeBatch", self._handle, texts, ctypes.c_size_t(len(strings)), ctypes.byref(handle))
        return Tensor._from_handle(handle)

    def decode(self, tokens) -> str:
        ids = to_ids(tokens)
        return take_text("OgaTokenizerDecode", self._handle, ids.ctypes.data_as(ctypes.c_void_p),
                          ctypes.c_size_t(ids.size))

    def decode_batch(self, tokens: Tensor) -> list[str]:
        array = ctypes.c_void_p()
        call("OgaTokenizerDecodeBatch", self._handle, tokens._handle, ctypes.byref(array))
        try:
            count, text = ctypes.c_size_t(), ctypes.c_char_p()
            call("OgaStringArrayGetCount", array, ctypes.byref(count))
            texts = []
            for index in range(count.value):
                call("OgaStringArrayGetString", array, ctypes.c_size_t(index), ctypes.byref(text))
                texts.append(text.value.decode(errors="replace"))
            return texts
        finally:
            library.OgaDestroyStringArray(array)

    def to_token_id(self, text: str) -> int:
        token = ctypes.c_int32()
        call("OgaTokenizerToTokenId", self._handle, to_bytes(text), ctypes.byref(token))
        return token.value

    def apply_chat_template(self, messages: str, template_str: str | None = None, tools: str | None = None,
                            add_generation_prompt: bool = True) -> str:
        return take_text("OgaTokenizerApplyChatTemplate", self._handle, to_bytes(template_str), to_bytes(messages),
                          to_bytes(tools), ctypes.c_bool(add_generation_prompt))

    def create_stream(self) -> TokenizerStream:
        return TokenizerStream(self)
