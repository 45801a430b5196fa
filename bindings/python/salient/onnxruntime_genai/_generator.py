"""What writes: a search and its options."""

from __future__ import annotations

import ctypes
import typing

import numpy

from ._library import Handle, call, copy_ids, library, to_bytes
from ._model import Model
from ._tensors import NamedTensors, Tensor, to_ids
from ._unsupported import Adapters

_NUMBERS = ("batch_size", "chunk_size", "diversity_penalty", "length_penalty", "max_length", "min_length",
            "no_repeat_ngram_size", "num_beams", "num_return_sequences", "random_seed", "repetition_penalty",
            "temperature", "top_k", "top_p")
_SWITCHES = ("do_sample", "early_stopping", "past_present_share_buffer")


class GeneratorParams(Handle):
    """The options of a search."""

    _destroy = "OgaDestroyGeneratorParams"

    def __init__(self, model: Model):
        super().__init__("OgaCreateGeneratorParams", model._handle)

    def set_search_options(self, **options) -> None:
        for name, value in options.items():
            if isinstance(value, bool):
                call("OgaGeneratorParamsSetSearchBool", self._handle, to_bytes(name), ctypes.c_bool(value))
            elif isinstance(value, (int, float)):
                call("OgaGeneratorParamsSetSearchNumber", self._handle, to_bytes(name), ctypes.c_double(value))
            else:
                raise RuntimeError(f"the search option {name} is a {type(value).__name__}, expected float, bool or int")

    def get_search_options(self) -> dict[str, float | bool]:
        number, switch = ctypes.c_double(), ctypes.c_bool()
        options = {}
        for name in _NUMBERS:
            call("OgaGeneratorParamsGetSearchNumber", self._handle, to_bytes(name), ctypes.byref(number))
            options[name] = number.value
        for name in _SWITCHES:
            call("OgaGeneratorParamsGetSearchBool", self._handle, to_bytes(name), ctypes.byref(switch))
            options[name] = switch.value
        return options

    def set_guidance(self, type: str, data: str, enable_ff_tokens: bool = False) -> None:  # pylint: disable=redefined-builtin
        call("OgaGeneratorParamsSetGuidance", self._handle, to_bytes(type), to_bytes(data), ctypes.c_bool(enable_ff_tokens))

    def set_speculative_options(self, **_options) -> None:
        call("OgaGeneratorParamsSetSpeculativeNumber")

    def try_graph_capture_with_max_batch_size(self, _max_batch_size: int) -> None:
        """Does nothing: there is no graph. Versions before 0.12 had it."""


class Generator(Handle):
    """One or several sequences, token by token."""

    _destroy = "OgaDestroyGenerator"

    def __init__(self, model: Model, params: GeneratorParams):
        super().__init__("OgaCreateGenerator", model._handle, params._handle)

    def is_done(self) -> bool:
        return library.OgaGenerator_IsDone(self._handle)

    def append_tokens(self, tokens: numpy.ndarray | typing.Sequence[int] | Tensor) -> None:
        ids = to_ids(tokens)
        call("OgaGenerator_AppendTokens", self._handle, ids.ctypes.data_as(ctypes.c_void_p), ctypes.c_size_t(ids.size))

    def generate_next_token(self) -> None:
        call("OgaGenerator_GenerateNextToken", self._handle)

    def get_next_tokens(self) -> numpy.ndarray:
        out, count = ctypes.c_void_p(), ctypes.c_size_t()
        call("OgaGenerator_GetNextTokens", self._handle, ctypes.byref(out), ctypes.byref(count))
        return copy_ids(out, count.value)

    def get_sequence(self, index: int) -> numpy.ndarray:
        count = library.OgaGenerator_GetSequenceCount(self._handle, ctypes.c_size_t(index))
        return copy_ids(library.OgaGenerator_GetSequenceData(self._handle, ctypes.c_size_t(index)), count)

    def token_count(self) -> int:
        return library.OgaGenerator_TokenCount(self._handle)

    def rewind_to(self, new_length: int) -> None:
        call("OgaGenerator_RewindTo", self._handle, ctypes.c_size_t(new_length))

    def _tensor(self, function: str, *arguments) -> numpy.ndarray:
        handle = ctypes.c_void_p()
        call(function, self._handle, *arguments, ctypes.byref(handle))
        return Tensor._from_handle(handle).as_numpy()

    def get_logits(self) -> numpy.ndarray:
        return self._tensor("OgaGenerator_GetLogits")

    def set_logits(self, new_logits: numpy.ndarray) -> None:
        tensor = Tensor(numpy.ascontiguousarray(new_logits, numpy.float32))
        call("OgaGenerator_SetLogits", self._handle, tensor._handle)

    def get_input(self, name: str) -> numpy.ndarray:
        return self._tensor("OgaGenerator_GetInput", to_bytes(name))

    def get_output(self, name: str) -> numpy.ndarray:
        return self._tensor("OgaGenerator_GetOutput", to_bytes(name))

    def set_model_input(self, _name: str, _value) -> None:
        call("OgaGenerator_SetModelInput")

    def set_inputs(self, _named_tensors: NamedTensors) -> None:
        call("OgaGenerator_SetInputs")

    def set_active_adapter(self, _adapters: Adapters, _adapter_name: str) -> None:
        call("OgaSetActiveAdapter")

    def set_runtime_option(self, key: str, value: str) -> None:
        call("OgaGenerator_SetRuntimeOption", self._handle, to_bytes(key), to_bytes(value))

    def snapshot_state(self) -> None:
        call("OgaGenerator_SnapshotState")

    def get_speculative_stats(self) -> dict:
        call("OgaGenerator_GetSpeculativeStats")
        return {}
