"""OpenVINO GenAI, which reads the GGUF file. Its own metrics give the time to the first token and between tokens."""

import numpy
import openvino
import openvino_genai

import peer


def main():
    given = peer.arguments()
    load = peer.Load()
    pipeline = openvino_genai.LLMPipeline(given.model, "CPU", INFERENCE_NUM_THREADS=given.threads)
    vocabulary = len(pipeline.get_tokenizer().get_vocab())
    prompt = peer.random_tokens(given.prompt_tokens, vocabulary)

    def run(tokens, more):
        ids = openvino.Tensor(numpy.array([tokens], numpy.int64))
        mask = openvino.Tensor(numpy.ones((1, len(tokens)), numpy.int64))
        config = openvino_genai.GenerationConfig()
        config.max_new_tokens = more
        config.ignore_eos = True
        config.do_sample = False
        return pipeline.generate(openvino_genai.TokenizedInputs(ids, mask), config).perf_metrics

    run(prompt[-1:], 1)
    load.first_token()
    # Another prompt, because the pipeline keeps what it has computed of one.
    run(prompt[::-1], 1)
    run(prompt[-1:], 4)
    milliseconds = run(prompt, 1).get_ttft().mean

    def decode_speed():
        return 1000 / run(prompt[:1], given.generate_tokens + 1).get_tpot().mean

    peer.answer(given.prompt_tokens / milliseconds * 1000, peer.decode_bursts(given, decode_speed), load)


if __name__ == "__main__":
    main()
