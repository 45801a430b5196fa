"""The C interface in libonnxruntime-genai, and how Python speaks with it."""

from __future__ import annotations

import ctypes
import os
import pathlib
import sys

import numpy

_NAME = {"win32": "onnxruntime-genai.dll", "darwin": "libonnxruntime-genai.dylib"}.get(sys.platform,
                                                                                      "libonnxruntime-genai.so")
library = ctypes.CDLL(str(pathlib.Path(__file__).parents[1] / _NAME))
library.OgaResultGetError.argtypes = [ctypes.c_void_p]
# What functions return that return no result; ctypes takes an int for granted.
for _name, _type in {"OgaResultGetError": ctypes.c_char_p, "OgaSequencesGetSequenceCount": ctypes.c_size_t,
                     "OgaSequencesGetSequenceData": ctypes.c_void_p, "OgaGenerator_IsDone": ctypes.c_bool,
                     "OgaGenerator_TokenCount": ctypes.c_size_t, "OgaGenerator_GetSequenceCount": ctypes.c_size_t,
                     "OgaGenerator_GetSequenceData": ctypes.c_void_p}.items():
    getattr(library, _name).restype = _type


def to_bytes(text: str | os.PathLike | None) -> bytes | None:
    return None if text is None else os.fspath(text).encode()


def call(function: str, *arguments) -> None:
    """Calls a function that returns a result, and raises what the result says."""
    entry = getattr(library, function)
    entry.restype = ctypes.c_void_p
    result = entry(*arguments)
    if result:
        message = library.OgaResultGetError(result).decode(errors="replace")
        library.OgaDestroyResult(ctypes.c_void_p(result))
        raise RuntimeError(message)


def take_text(function: str, *arguments) -> str:
    """What a function gives as a text that is ours to destroy."""
    out = ctypes.c_void_p()
    call(function, *arguments, ctypes.byref(out))
    text = ctypes.string_at(out).decode(errors="replace")
    library.OgaDestroyString(out)
    return text


def copy_ids(address, count: int) -> numpy.ndarray:
    """A copy of the library's ids."""
    if count == 0:
        return numpy.empty(0, dtype=numpy.int32)
    return numpy.ctypeslib.as_array(ctypes.cast(address, ctypes.POINTER(ctypes.c_int32)), (count,)).copy()


class Handle:
    """An object of the library, which destroys it with this one."""

    _destroy: str

    def __init__(self, create: str, *arguments):
        self._handle = ctypes.c_void_p()
        call(create, *arguments, ctypes.byref(self._handle))

    def __del__(self):
        handle = getattr(self, "_handle", None)
        if handle:
            getattr(library, self._destroy)(handle)
