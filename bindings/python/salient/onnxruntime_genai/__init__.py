"""The generate() API of ONNX Runtime on Salient's engine: `import salient.onnxruntime_genai as og` in the place of
`import onnxruntime_genai as og`. Names, arguments and behaviour are those of onnxruntime_genai 0.18; what this engine
does not have (images, audio, adapters, Engine) says so when it is used.

It is a thin face of the C interface in libonnxruntime-genai, which is in this package too. Calls that compute let other
threads of Python run.
"""

from ._generator import Generator, GeneratorParams
from ._model import Config, Model, Tokenizer, TokenizerStream
from ._process import (disable_telemetry_events, enable_telemetry_events, get_current_gpu_device_id, is_cuda_available,
                       is_dml_available, is_openvino_available, is_qnn_available, is_webgpu_available,
                       register_execution_provider_library, set_current_gpu_device_id, set_log_callback, set_log_options,
                       unregister_execution_provider_library)
from ._tensors import NamedTensors, Tensor
from ._unsupported import (Adapters, Audios, Engine, Images, MtpGenerator, MultiModalProcessor, Request,
                           StreamingProcessor)

__version__ = "0.18.0"
__all__ = ["Adapters", "Audios", "Config", "Engine", "Generator", "GeneratorParams", "Images", "Model", "MtpGenerator",
           "MultiModalProcessor", "NamedTensors", "Request", "StreamingProcessor", "Tensor", "Tokenizer",
           "TokenizerStream", "disable_telemetry_events", "enable_telemetry_events", "get_current_gpu_device_id",
           "is_cuda_available", "is_dml_available", "is_openvino_available", "is_qnn_available", "is_webgpu_available",
           "register_execution_provider_library", "set_current_gpu_device_id", "set_log_callback", "set_log_options",
           "unregister_execution_provider_library"]
