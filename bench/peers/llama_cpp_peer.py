"""llama.cpp as llama-bench drives it: one batch for the prompt, then tokens one by one in an empty context."""

import ctypes
import os
import sys

import llama_cpp

import peer


def silence():
    """llama.cpp logs on standard error through a callback, which must live as long as the program."""
    callback = llama_cpp.llama_log_callback(lambda level, text, data: None)
    llama_cpp.llama_log_set(callback, ctypes.c_void_p(0))
    return callback


def check(code, what):
    if code != 0:
        sys.exit(f"llama.cpp: {what} failed with {code}")


def main():
    given = peer.arguments()
    log = silence()
    load = peer.Load()
    llama_cpp.llama_backend_init()
    model = llama_cpp.llama_model_load_from_file(os.fsencode(given.model), llama_cpp.llama_model_default_params())
    if not model:
        sys.exit(f"llama.cpp cannot load {given.model}")
    parameters = llama_cpp.llama_context_default_params()
    parameters.n_ctx = given.prompt_tokens + given.generate_tokens
    parameters.n_batch = parameters.n_ubatch = given.prompt_tokens
    parameters.n_threads = parameters.n_threads_batch = given.threads
    context = llama_cpp.llama_init_from_model(model, parameters)
    vocabulary = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(model))
    prompt = peer.random_tokens(given.prompt_tokens, vocabulary)

    def decode(tokens):
        array = (llama_cpp.llama_token * len(tokens))(*tokens)  # the batch only points to it
        batch = llama_cpp.llama_batch_get_one(array, len(tokens))
        check(llama_cpp.llama_decode(context, batch), "llama_decode")
        llama_cpp.llama_synchronize(context)

    def clear():
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(context), True)

    def generate(count):
        for token in prompt[:count]:
            decode([token])

    generate(1)
    load.first_token()
    clear()
    decode(prompt)
    clear()
    generate(4)
    clear()
    prefill = peer.seconds(lambda: decode(prompt))

    def decode_speed():
        clear()
        return given.generate_tokens / peer.seconds(lambda: generate(given.generate_tokens))

    peer.answer(given.prompt_tokens / prefill, peer.decode_bursts(given, decode_speed), load)
    del log


def requantize(source, target):
    """Writes a GGUF file again with its 4-bit matrices in Q4_0 and the others in fp16."""
    log = silence()
    parameters = llama_cpp.llama_model_quantize_default_params()
    parameters.ftype = llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_0
    parameters.allow_requantize = True
    parameters.pure = True
    parameters.output_tensor_type = parameters.token_embedding_type = llama_cpp.GGML_TYPE_F16
    check(llama_cpp.llama_model_quantize(os.fsencode(source), os.fsencode(target), ctypes.byref(parameters)),
          "llama_model_quantize")
    del log


if __name__ == "__main__":
    main()
