"""The generate() API of ONNX Runtime on Salient's engine: `import salient.onnxruntime_genai as og` in the place of
`import onnxruntime_genai as og`. Names, arguments and behaviour are those of onnxruntime_genai 0.18; what this engine
does not have (images, audio, adapters, Engine) says so when it is used.

It is a thin face of the C interface in libonnxruntime-genai, which is in this package too. Calls that compute let other
threads of Python run.
"""

from __future__ import annotations

import ctypes
import os
import pathlib
import sys
import typing

import numpy

__version__ = "0.18.0"

_NAME = {"win32": "onnxruntime-genai.dll", "darwin": "libonnxruntime-genai.dylib"}.get(sys.platform,
                                                                                      "libonnxruntime-genai.so")
_library = ctypes.CDLL(str(pathlib.Path(__file__).parent / _NAME))
_library.OgaResultGetError.argtypes = [ctypes.c_void_p]
# What functions return that return no result; ctypes takes an int for granted.
for _name, _type in {"OgaResultGetError": ctypes.c_char_p, "OgaSequencesGetSequenceCount": ctypes.c_size_t,
                     "OgaSequencesGetSequenceData": ctypes.c_void_p, "OgaGenerator_IsDone": ctypes.c_bool,
                     "OgaGenerator_TokenCount": ctypes.c_size_t, "OgaGenerator_GetSequenceCount": ctypes.c_size_t,
                     "OgaGenerator_GetSequenceData": ctypes.c_void_p}.items():
    getattr(_library, _name).restype = _type

# Element types, with the numbers of ONNX.
_DTYPES = {1: numpy.float32, 2: numpy.uint8, 3: numpy.int8, 4: numpy.uint16, 5: numpy.int16, 6: numpy.int32,
           7: numpy.int64, 9: numpy.bool_, 10: numpy.float16, 11: numpy.float64, 12: numpy.uint32, 13: numpy.uint64}
_ELEMENT_TYPES = {numpy.dtype(dtype): number for number, dtype in _DTYPES.items()}

_NUMBERS = ("batch_size", "chunk_size", "diversity_penalty", "length_penalty", "max_length", "min_length",
            "no_repeat_ngram_size", "num_beams", "num_return_sequences", "random_seed", "repetition_penalty",
            "temperature", "top_k", "top_p")
_SWITCHES = ("do_sample", "early_stopping", "past_present_share_buffer")


def _text(text: str | os.PathLike | None) -> bytes | None:
    return None if text is None else os.fspath(text).encode()


def _call(function: str, *arguments) -> None:
    """Calls a function that returns a result, and raises what the result says."""
    entry = getattr(_library, function)
    entry.restype = ctypes.c_void_p
    result = entry(*arguments)
    if result:
        message = _library.OgaResultGetError(result).decode(errors="replace")
        _library.OgaDestroyResult(ctypes.c_void_p(result))
        raise RuntimeError(message)


def _take_text(function: str, *arguments) -> str:
    """What a function gives as a text that is ours to destroy."""
    out = ctypes.c_void_p()
    _call(function, *arguments, ctypes.byref(out))
    text = ctypes.string_at(out).decode(errors="replace")
    _library.OgaDestroyString(out)
    return text


def _copy(address, count: int) -> numpy.ndarray:
    """A copy of the library's ids."""
    if count == 0:
        return numpy.empty(0, dtype=numpy.int32)
    return numpy.ctypeslib.as_array(ctypes.cast(address, ctypes.POINTER(ctypes.c_int32)), (count,)).copy()


def _ids(tokens) -> numpy.ndarray:
    """One-dimensional int32, as the interface below wants them; not copied where they are so already."""
    if isinstance(tokens, Tensor):
        tokens = tokens.as_numpy()
    array = numpy.ascontiguousarray(tokens, dtype=numpy.int32)
    return array.reshape(-1)


class _Handle:
    """An object of the library, which destroys it with this one."""

    _destroy: str

    def __init__(self, create: str, *arguments):
        self._handle = ctypes.c_void_p()
        _call(create, *arguments, ctypes.byref(self._handle))

    def __del__(self):
        handle = getattr(self, "_handle", None)
        if handle:
            getattr(_library, self._destroy)(handle)


class _Unsupported:
    """What this engine does not have."""

    _create: str
    _arguments = 4

    def __init__(self, *_arguments, **_options):
        # The library's own refusal says what is not supported.
        _call(self._create, *[ctypes.c_void_p()] * self._arguments)


class Tensor(_Handle):
    """An array in the library's hands."""

    _destroy = "OgaDestroyTensor"

    def __init__(self, array: numpy.ndarray):
        array = numpy.asarray(array)
        if array.dtype not in _ELEMENT_TYPES:
            raise RuntimeError("Unsupported numpy type")
        if not array.flags.c_contiguous:
            raise RuntimeError("the array must be contiguous; numpy.ascontiguousarray makes it so")
        shape = (ctypes.c_int64 * array.ndim)(*array.shape)
        super().__init__("OgaCreateTensorFromBuffer", None, shape, ctypes.c_size_t(array.ndim),
                         _ELEMENT_TYPES[array.dtype])
        self.as_numpy()[...] = array

    @classmethod
    def _from_handle(cls, handle) -> Tensor:
        tensor = cls.__new__(cls)
        tensor._handle = handle
        return tensor

    def shape(self) -> list[int]:
        rank = ctypes.c_size_t()
        _call("OgaTensorGetShapeRank", self._handle, ctypes.byref(rank))
        shape = (ctypes.c_int64 * rank.value)()
        _call("OgaTensorGetShape", self._handle, shape, rank)
        return list(shape)

    def type(self) -> int:
        """The element type, with ONNX's number."""
        number = ctypes.c_int()
        _call("OgaTensorGetType", self._handle, ctypes.byref(number))
        return number.value

    def data(self) -> int:
        address = ctypes.c_void_p()
        _call("OgaTensorGetData", self._handle, ctypes.byref(address))
        return address.value or 0

    def as_numpy(self) -> numpy.ndarray:
        """The tensor's memory itself, which lives as long as the array does."""
        dtype, shape = numpy.dtype(_DTYPES[self.type()]), self.shape()
        size = int(numpy.prod(shape, dtype=numpy.int64)) * dtype.itemsize
        if size == 0:
            return numpy.empty(shape, dtype)
        memory = (ctypes.c_byte * size).from_address(self.data())
        memory.owner = self
        return numpy.frombuffer(memory, dtype).reshape(shape)


class NamedTensors(_Handle):
    """Tensors by their names."""

    _destroy = "OgaDestroyNamedTensors"

    def __init__(self):
        super().__init__("OgaCreateNamedTensors")
        self._tensors = {}  # what is set here lives as long as it is here

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._tensors:
            raise RuntimeError(f"there is no tensor \"{name}\"")
        return self._tensors[name]

    def __setitem__(self, name: str, value: Tensor | numpy.ndarray):
        tensor = value if isinstance(value, Tensor) else Tensor(value)
        _call("OgaNamedTensorsSet", self._handle, _text(name), tensor._handle)
        self._tensors[name] = tensor

    def __delitem__(self, name: str):
        _call("OgaNamedTensorsDelete", self._handle, _text(name))
        self._tensors.pop(name, None)

    def __contains__(self, name: str) -> bool:
        return name in self._tensors

    def __len__(self) -> int:
        return len(self._tensors)

    def keys(self) -> list[str]:
        return sorted(self._tensors)


class Config(_Handle):
    """A model's folder with its settings."""

    _destroy = "OgaDestroyConfig"

    def __init__(self, config_path: str):
        super().__init__("OgaCreateConfig", _text(config_path))

    @staticmethod
    def from_package_ep(config_path: str, ep: str) -> Config:
        _call("OgaCreateConfigFromPackageEp", _text(config_path), _text(ep), None)
        raise AssertionError("it is refused")

    def clear_providers(self) -> None:
        _call("OgaConfigClearProviders", self._handle)

    def append_provider(self, name: str) -> None:
        _call("OgaConfigAppendProvider", self._handle, _text(name))

    def set_provider_option(self, provider: str, key: str, value: str) -> None:
        _call("OgaConfigSetProviderOption", self._handle, _text(provider), _text(key), _text(value))

    def overlay(self, json: str) -> None:
        _call("OgaConfigOverlay", self._handle, _text(json))

    def add_model_data(self, _model_filename: str, _data) -> None:
        _call("OgaConfigAddModelData")

    def remove_model_data(self, _model_filename: str) -> None:
        _call("OgaConfigRemoveModelData")


class Model(_Handle):
    """A model ready to run."""

    _destroy = "OgaDestroyModel"

    def __init__(self, config: Config | str):
        if isinstance(config, Config):
            super().__init__("OgaCreateModelFromConfig", config._handle)
        else:
            super().__init__("OgaCreateModel", _text(config))

    @property
    def type(self) -> str:
        return _take_text("OgaModelGetType", self._handle)

    @property
    def device_type(self) -> str:
        return _take_text("OgaModelGetDeviceType", self._handle)

    def create_multimodal_processor(self) -> MultiModalProcessor:
        return MultiModalProcessor(self)

    def create_streaming_processor(self) -> StreamingProcessor:
        return StreamingProcessor(self)


class TokenizerStream(_Handle):
    """Decodes token by token."""

    _destroy = "OgaDestroyTokenizerStream"

    def __init__(self, tokenizer: Tokenizer):
        super().__init__("OgaCreateTokenizerStream", tokenizer._handle)

    def decode(self, token: int) -> str:
        out = ctypes.c_char_p()
        _call("OgaTokenizerStreamDecode", self._handle, ctypes.c_int32(int(token)), ctypes.byref(out))
        return out.value.decode(errors="replace")


class Tokenizer(_Handle):
    """Text to tokens and back; no BOS is added unless update_options(add_special_tokens=True) says so."""

    _destroy = "OgaDestroyTokenizer"

    def __init__(self, model: Model | Config | str):
        if isinstance(model, Model):
            super().__init__("OgaCreateTokenizer", model._handle)
        elif isinstance(model, Config):
            super().__init__("OgaCreateTokenizerFromConfig", model._handle)
        else:
            super().__init__("OgaCreateTokenizerFromPath", _text(model))

    def _token(self, function: str) -> int:
        token = ctypes.c_int32()
        _call(function, self._handle, ctypes.byref(token))
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
        _call("OgaTokenizerGetEosTokenIds", self._handle, ctypes.byref(out), ctypes.byref(count))
        return _copy(out, count.value)

    def update_options(self, **options) -> None:
        keys = (ctypes.c_char_p * len(options))(*[_text(key) for key in options])
        values = (ctypes.c_char_p * len(options))(*[_text(str(value)) for value in options.values()])
        _call("OgaUpdateTokenizerOptions", self._handle, keys, values, ctypes.c_size_t(len(options)))

    def encode(self, text: str) -> numpy.ndarray:
        sequences = ctypes.c_void_p()
        _call("OgaCreateSequences", ctypes.byref(sequences))
        try:
            _call("OgaTokenizerEncode", self._handle, _text(text), sequences)
            count = _library.OgaSequencesGetSequenceCount(sequences, ctypes.c_size_t(0))
            return _copy(_library.OgaSequencesGetSequenceData(sequences, ctypes.c_size_t(0)), count)
        finally:
            _library.OgaDestroySequences(sequences)

    def encode_batch(self, strings: typing.Sequence[str]) -> Tensor:
        texts = (ctypes.c_char_p * len(strings))(*[_text(text) for text in strings])
        handle = ctypes.c_void_p()
        _call("OgaTokenizerEncodeBatch", self._handle, texts, ctypes.c_size_t(len(strings)), ctypes.byref(handle))
        return Tensor._from_handle(handle)

    def decode(self, tokens) -> str:
        ids = _ids(tokens)
        return _take_text("OgaTokenizerDecode", self._handle, ids.ctypes.data_as(ctypes.c_void_p),
                          ctypes.c_size_t(ids.size))

    def decode_batch(self, tokens: Tensor) -> list[str]:
        array = ctypes.c_void_p()
        _call("OgaTokenizerDecodeBatch", self._handle, tokens._handle, ctypes.byref(array))
        try:
            count, text = ctypes.c_size_t(), ctypes.c_char_p()
            _call("OgaStringArrayGetCount", array, ctypes.byref(count))
            texts = []
            for index in range(count.value):
                _call("OgaStringArrayGetString", array, ctypes.c_size_t(index), ctypes.byref(text))
                texts.append(text.value.decode(errors="replace"))
            return texts
        finally:
            _library.OgaDestroyStringArray(array)

    def to_token_id(self, text: str) -> int:
        token = ctypes.c_int32()
        _call("OgaTokenizerToTokenId", self._handle, _text(text), ctypes.byref(token))
        return token.value

    def apply_chat_template(self, messages: str, template_str: str | None = None, tools: str | None = None,
                            add_generation_prompt: bool = True) -> str:
        return _take_text("OgaTokenizerApplyChatTemplate", self._handle, _text(template_str), _text(messages),
                          _text(tools), ctypes.c_bool(add_generation_prompt))

    def create_stream(self) -> TokenizerStream:
        return TokenizerStream(self)


class GeneratorParams(_Handle):
    """The options of a search."""

    _destroy = "OgaDestroyGeneratorParams"

    def __init__(self, model: Model):
        super().__init__("OgaCreateGeneratorParams", model._handle)

    def set_search_options(self, **options) -> None:
        for name, value in options.items():
            if isinstance(value, bool):
                _call("OgaGeneratorParamsSetSearchBool", self._handle, _text(name), ctypes.c_bool(value))
            elif isinstance(value, (int, float)):
                _call("OgaGeneratorParamsSetSearchNumber", self._handle, _text(name), ctypes.c_double(value))
            else:
                raise RuntimeError(f"the search option {name} is a {type(value).__name__}, expected float, bool or int")

    def get_search_options(self) -> dict[str, float | bool]:
        number, switch = ctypes.c_double(), ctypes.c_bool()
        options = {}
        for name in _NUMBERS:
            _call("OgaGeneratorParamsGetSearchNumber", self._handle, _text(name), ctypes.byref(number))
            options[name] = number.value
        for name in _SWITCHES:
            _call("OgaGeneratorParamsGetSearchBool", self._handle, _text(name), ctypes.byref(switch))
            options[name] = switch.value
        return options

    def set_guidance(self, type: str, data: str, enable_ff_tokens: bool = False) -> None:  # pylint: disable=redefined-builtin
        _call("OgaGeneratorParamsSetGuidance", self._handle, _text(type), _text(data), ctypes.c_bool(enable_ff_tokens))

    def set_speculative_options(self, **_options) -> None:
        _call("OgaGeneratorParamsSetSpeculativeNumber")

    def try_graph_capture_with_max_batch_size(self, _max_batch_size: int) -> None:
        """Does nothing: there is no graph. Versions before 0.12 had it."""


class Generator(_Handle):
    """One or several sequences, token by token."""

    _destroy = "OgaDestroyGenerator"

    def __init__(self, model: Model, params: GeneratorParams):
        super().__init__("OgaCreateGenerator", model._handle, params._handle)

    def is_done(self) -> bool:
        return _library.OgaGenerator_IsDone(self._handle)

    def append_tokens(self, tokens: numpy.ndarray | typing.Sequence[int] | Tensor) -> None:
        ids = _ids(tokens)
        _call("OgaGenerator_AppendTokens", self._handle, ids.ctypes.data_as(ctypes.c_void_p), ctypes.c_size_t(ids.size))

    def generate_next_token(self) -> None:
        _call("OgaGenerator_GenerateNextToken", self._handle)

    def get_next_tokens(self) -> numpy.ndarray:
        out, count = ctypes.c_void_p(), ctypes.c_size_t()
        _call("OgaGenerator_GetNextTokens", self._handle, ctypes.byref(out), ctypes.byref(count))
        return _copy(out, count.value)

    def get_sequence(self, index: int) -> numpy.ndarray:
        count = _library.OgaGenerator_GetSequenceCount(self._handle, ctypes.c_size_t(index))
        return _copy(_library.OgaGenerator_GetSequenceData(self._handle, ctypes.c_size_t(index)), count)

    def token_count(self) -> int:
        return _library.OgaGenerator_TokenCount(self._handle)

    def rewind_to(self, new_length: int) -> None:
        _call("OgaGenerator_RewindTo", self._handle, ctypes.c_size_t(new_length))

    def _tensor(self, function: str, *arguments) -> numpy.ndarray:
        handle = ctypes.c_void_p()
        _call(function, self._handle, *arguments, ctypes.byref(handle))
        return Tensor._from_handle(handle).as_numpy()

    def get_logits(self) -> numpy.ndarray:
        return self._tensor("OgaGenerator_GetLogits")

    def set_logits(self, new_logits: numpy.ndarray) -> None:
        tensor = Tensor(numpy.ascontiguousarray(new_logits, numpy.float32))
        _call("OgaGenerator_SetLogits", self._handle, tensor._handle)

    def get_input(self, name: str) -> numpy.ndarray:
        return self._tensor("OgaGenerator_GetInput", _text(name))

    def get_output(self, name: str) -> numpy.ndarray:
        return self._tensor("OgaGenerator_GetOutput", _text(name))

    def set_model_input(self, _name: str, _value) -> None:
        _call("OgaGenerator_SetModelInput")

    def set_inputs(self, _named_tensors: NamedTensors) -> None:
        _call("OgaGenerator_SetInputs")

    def set_active_adapter(self, _adapters: Adapters, _adapter_name: str) -> None:
        _call("OgaSetActiveAdapter")

    def set_runtime_option(self, key: str, value: str) -> None:
        _call("OgaGenerator_SetRuntimeOption", self._handle, _text(key), _text(value))

    def snapshot_state(self) -> None:
        _call("OgaGenerator_SnapshotState")

    def get_speculative_stats(self) -> dict:
        _call("OgaGenerator_GetSpeculativeStats")
        return {}


class Adapters(_Unsupported):
    """Not supported."""

    _create = "OgaCreateAdapters"


class MultiModalProcessor(_Unsupported):
    """Not supported."""

    _create = "OgaCreateMultiModalProcessor"


class StreamingProcessor(_Unsupported):
    """Not supported."""

    _create = "OgaCreateStreamingProcessor"


class Engine(_Unsupported):
    """Not supported."""

    _create = "OgaCreateEngine"


class Request(_Unsupported):
    """Not supported."""

    _create = "OgaCreateRequest"


class MtpGenerator(_Unsupported):
    """Not supported."""

    _create = "OgaCreateMtpGenerator"


class Images:
    """Not supported."""

    @staticmethod
    def open(*_paths) -> None:
        _call("OgaLoadImages")

    @staticmethod
    def open_bytes(*_data) -> None:
        _call("OgaLoadImagesFromBuffers")


class Audios:
    """Not supported."""

    @staticmethod
    def open(*_paths) -> None:
        _call("OgaLoadAudios")

    @staticmethod
    def open_bytes(*_data) -> None:
        _call("OgaLoadAudiosFromBuffers")


def set_log_options(**options) -> None:
    """Checks the names; this engine logs nothing."""
    for name, value in options.items():
        if isinstance(value, bool):
            _call("OgaSetLogBool", _text(name), ctypes.c_bool(value))
        else:
            _call("OgaSetLogString", _text(name), _text(str(value)))


def set_log_callback(_callback) -> None:
    """Takes it in; this engine logs nothing."""


def enable_telemetry_events() -> None:
    """Does nothing: nothing is sent anywhere."""


def disable_telemetry_events() -> None:
    """Does nothing: nothing is sent anywhere."""


def set_current_gpu_device_id(device_id: int) -> None:
    _call("OgaSetCurrentGpuDeviceId", ctypes.c_int(device_id))


def get_current_gpu_device_id() -> int:
    device = ctypes.c_int()
    _call("OgaGetCurrentGpuDeviceId", ctypes.byref(device))
    return device.value


def register_execution_provider_library(_provider_name: str, _path: str) -> None:
    """Does nothing: a model that asks for another provider than the CPU is refused."""


def unregister_execution_provider_library(_provider_name: str) -> None:
    """Does nothing."""


def is_cuda_available() -> bool:
    return False


def is_dml_available() -> bool:
    return False


def is_webgpu_available() -> bool:
    return False


def is_qnn_available() -> bool:
    return False


def is_openvino_available() -> bool:
    return False
