"""Four times smaller language models and their fast inference.

>>> import salient
>>> model = salient.Model("SmolLM2-135M-Instruct")
>>> for piece in salient.stream(model, [{"role": "user", "content": "Hello!"}], max_tokens=50):
...     print(piece, end="", flush=True)
"""

from ._salient import (BeamReply, Cancel, ChatTemplate, Error, Generator, Model, Reply, Token, Tokenizer, TokenStream,
                       active_kernel_name, beam_search, build_commit, devices, export, generate_batch, inspect, kernel_names,
                       models, option_names, perplexity, pull, quantize, version)
from .text import encode_prompt, generate, stream

__version__ = version()
__all__ = ["BeamReply", "Cancel", "ChatTemplate", "Error", "Generator", "Model", "Reply", "Token", "TokenStream", "Tokenizer",
           "active_kernel_name", "beam_search", "build_commit", "devices", "encode_prompt", "export", "generate", "generate_batch",
           "inspect", "kernel_names", "models", "option_names", "perplexity", "pull", "quantize", "stream", "version"]
