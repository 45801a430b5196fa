"""Settings of the whole process."""

from __future__ import annotations

import ctypes

from ._library import call, to_bytes


def set_log_options(**options) -> None:
    """Checks the names; this engine logs nothing."""
    for name, value in options.items():
        if isinstance(value, bool):
            call("OgaSetLogBool", to_bytes(name), ctypes.c_bool(value))
        else:
            call("OgaSetLogString", to_bytes(name), to_bytes(str(value)))


def set_log_callback(_callback) -> None:
    """Takes it in; this engine logs nothing."""


def enable_telemetry_events() -> None:
    """Does nothing: nothing is sent anywhere."""


def disable_telemetry_events() -> None:
    """Does nothing: nothing is sent anywhere."""


def set_current_gpu_device_id(device_id: int) -> None:
    call("OgaSetCurrentGpuDeviceId", ctypes.c_int(device_id))


def get_current_gpu_device_id() -> int:
    device = ctypes.c_int()
    call("OgaGetCurrentGpuDeviceId", ctypes.byref(device))
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
