"""onnxruntime-genai. A generator needs a prompt before it can go on: decoding starts behind one token."""

import json

import onnxruntime_genai as og

import peer


def main():
    given = peer.arguments()
    load = peer.Load()
    config = og.Config(given.model)
    threads = {"intra_op_num_threads": given.threads}
    config.overlay(json.dumps({"model": {"decoder": {"session_options": threads}}}))
    model = og.Model(config)
    with open(f"{given.model}/genai_config.json", encoding="utf-8") as file:
        vocabulary = json.load(file)["model"]["vocab_size"]
    prompt = peer.random_tokens(given.prompt_tokens, vocabulary)

    def start(tokens, more):
        parameters = og.GeneratorParams(model)
        length = len(tokens) + more
        parameters.set_search_options(max_length=length, min_length=length, do_sample=False)
        return og.Generator(model, parameters)

    def generate(generator, count):
        for _ in range(count):
            generator.generate_next_token()

    def prefill():
        generator = start(prompt, 1)
        return peer.seconds(lambda: generator.append_tokens(prompt))

    def decode(count):
        generator = start(prompt[:1], count + 1)
        generator.append_tokens(prompt[:1])
        generator.generate_next_token()  # samples from the prompt's logits: runs nothing
        return peer.seconds(lambda: generate(generator, count))

    decode(0)
    load.first_token()
    prefill()
    decode(4)
    speed = given.prompt_tokens / prefill()
    count = given.generate_tokens
    peer.answer(speed, peer.decode_bursts(given, lambda: count / decode(count)), load)


if __name__ == "__main__":
    main()
