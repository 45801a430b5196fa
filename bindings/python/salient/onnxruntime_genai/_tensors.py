"""Arrays in the library's hands."""

from __future__ import annotations

import ctypes

import numpy

from ._library import Handle, call, to_bytes

# Element types, with the numbers of ONNX.
_DTYPES = {1: numpy.float32, 2: numpy.uint8, 3: numpy.int8, 4: numpy.uint16, 5: numpy.int16, 6: numpy.int32,
           7: numpy.int64, 9: numpy.bool_, 10: numpy.float16, 11: numpy.float64, 12: numpy.uint32, 13: numpy.uint64}
_ELEMENT_TYPES = {numpy.dtype(dtype): number for number, dtype in _DTYPES.items()}


class Tensor(Handle):
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
        call("OgaTensorGetShapeRank", self._handle, ctypes.byref(rank))
        shape = (ctypes.c_int64 * rank.value)()
        call("OgaTensorGetShape", self._handle, shape, rank)
        return list(shape)

    def type(self) -> int:
        """The element type, with ONNX's number."""
        number = ctypes.c_int()
        call("OgaTensorGetType", self._handle, ctypes.byref(number))
        return number.value

    def data(self) -> int:
        address = ctypes.c_void_p()
        call("OgaTensorGetData", self._handle, ctypes.byref(address))
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


class NamedTensors(Handle):
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
        call("OgaNamedTensorsSet", self._handle, to_bytes(name), tensor._handle)
        self._tensors[name] = tensor

    def __delitem__(self, name: str):
        call("OgaNamedTensorsDelete", self._handle, to_bytes(name))
        self._tensors.pop(name, None)

    def __contains__(self, name: str) -> bool:
        return name in self._tensors

    def __len__(self) -> int:
        return len(self._tensors)

    def keys(self) -> list[str]:
        return sorted(self._tensors)


def to_ids(tokens) -> numpy.ndarray:
    """One-dimensional int32, as the interface below wants them; not copied where they are so already. Other numbers are
    converted, as the original does."""
    array = tokens.as_numpy() if isinstance(tokens, Tensor) else numpy.asarray(tokens)
    if array.size and array.dtype.kind not in "biuf":
        raise TypeError(f"expected token ids, got an array of {array.dtype}")
    return numpy.ascontiguousarray(array, dtype=numpy.int32).reshape(-1)
