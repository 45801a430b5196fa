"""What this engine does not have, and says so."""

from __future__ import annotations

import ctypes

from ._library import call


class Unsupported:
    """What this engine does not have."""

    _create: str
    _arguments = 4

    def __init__(self, *_arguments, **_options):
        # The library's own refusal says what is not supported.
        call(self._create, *[ctypes.c_void_p()] * self._arguments)


class Adapters(Unsupported):
    """Not supported."""

    _create = "OgaCreateAdapters"


class MultiModalProcessor(Unsupported):
    """Not supported."""

    _create = "OgaCreateMultiModalProcessor"


class StreamingProcessor(Unsupported):
    """Not supported."""

    _create = "OgaCreateStreamingProcessor"


class Engine(Unsupported):
    """Not supported."""

    _create = "OgaCreateEngine"


class Request(Unsupported):
    """Not supported."""

    _create = "OgaCreateRequest"


class MtpGenerator(Unsupported):
    """Not supported."""

    _create = "OgaCreateMtpGenerator"


class Images:
    """Not supported."""

    @staticmethod
    def open(*_paths) -> None:
        call("OgaLoadImages")

    @staticmethod
    def open_bytes(*_data) -> None:
        call("OgaLoadImagesFromBuffers")


class Audios:
    """Not supported."""

    @staticmethod
    def open(*_paths) -> None:
        call("OgaLoadAudios")

    @staticmethod
    def open_bytes(*_data) -> None:
        call("OgaLoadAudiosFromBuffers")
