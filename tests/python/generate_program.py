"""A program for onnxruntime_genai, as its documentation has them: it asks a model and prints what happened as JSON.

Arguments: the model's folder, the name of the module to use (onnxruntime_genai, or one that stands in for it), and a
chat template."""

import importlib
import json
import sys

import numpy


def raises(body):
    """Whether a call fails, and with which exception."""
    try:
        body()
    except Exception as error:  # pylint: disable=broad-exception-caught
        return type(error).__name__
    return None


def answer(og, model, tokenizer, text, **options):
    """The question and answer loop: tokens as they come, and the text of the stream."""
    params = og.GeneratorParams(model)
    params.set_search_options(**options)
    generator = og.Generator(model, params)
    stream = tokenizer.create_stream()
    generator.append_tokens(tokenizer.encode(text))
    tokens, pieces = [], []
    while not generator.is_done():
        generator.generate_next_token()
        token = generator.get_next_tokens()[0]
        tokens.append(int(token))
        pieces.append(stream.decode(token))
    return {"tokens": tokens, "pieces": pieces, "sequence": generator.get_sequence(0).tolist(),
            "count": generator.token_count()}


def chat(og, model, tokenizer, template):
    """Turns of one conversation in one generator, which goes on from its cache; and back."""
    params = og.GeneratorParams(model)
    params.set_search_options(max_length=600)
    generator = og.Generator(model, params)
    turns = []
    for text in ["hello there", "and then what", "the end"]:
        prompt = tokenizer.apply_chat_template(json.dumps([{"role": "user", "content": text}]), template_str=template,
                                               add_generation_prompt=True)
        generator.append_tokens(tokenizer.encode(prompt))
        before = generator.token_count()
        while not generator.is_done():
            generator.generate_next_token()
        turns.append({"prompt": prompt, "before": before, "reply": generator.get_sequence(0)[before:].tolist()})
    generator.rewind_to(turns[1]["before"])
    generator.generate_next_token()
    turns.append({"after rewind": generator.get_sequence(0).tolist(), "done": generator.is_done()})
    return turns


def batch(og, model, tokenizer):
    """Several prompts at once, padded."""
    texts = ["once upon a time", "b", "three words here"]
    params = og.GeneratorParams(model)
    params.set_search_options(max_length=40, batch_size=3)
    generator = og.Generator(model, params)
    tensor = tokenizer.encode_batch(texts)
    generator.append_tokens(tensor)
    steps = []
    while not generator.is_done():
        generator.generate_next_token()
        steps.append(generator.get_next_tokens().tolist())
    return {"shape": list(tensor.shape()), "tensor": tensor.as_numpy().tolist(), "steps": steps,
            "texts": tokenizer.decode_batch(tensor), "sequences": [generator.get_sequence(i).tolist() for i in range(3)]}


def logits(og, model, tokenizer):
    params = og.GeneratorParams(model)
    params.set_search_options(max_length=50)
    generator = og.Generator(model, params)
    generator.append_tokens(tokenizer.encode("some text"))
    held = generator.get_logits()
    whole = generator.get_output("logits")
    result = {"held": list(held.shape), "whole": list(whole.shape), "dtype": str(held.dtype),
              "last row": bool(numpy.array_equal(held[0, 0], whole[0, -1])),
              "best": whole.argmax(axis=-1).tolist(), "values": [float(number) for number in held[0, 0, :8]]}
    changed = numpy.zeros_like(held)
    changed[0, 0, 97] = 1
    generator.set_logits(changed)
    generator.generate_next_token()
    result["chosen"] = generator.get_next_tokens().tolist()
    generator.generate_next_token()
    result["after"] = generator.get_next_tokens().tolist()
    return result


def mistakes(og, model, tokenizer):
    """What is refused."""
    def generator(**options):
        params = og.GeneratorParams(model)
        params.set_search_options(**options)
        return og.Generator(model, params)

    full = generator(max_length=10)
    full.append_tokens(numpy.arange(97, 106, dtype=numpy.int32))
    full.generate_next_token()
    return {
        "no prompt": raises(generator(max_length=20).generate_next_token),
        "past the end": raises(full.generate_next_token),
        "empty": raises(lambda: generator(max_length=20).append_tokens(numpy.array([], dtype=numpy.int32))),
        "too long": raises(lambda: generator(max_length=5).append_tokens(numpy.arange(97, 106, dtype=numpy.int32))),
        "context": raises(lambda: generator(max_length=100000)),
        "zero": raises(lambda: generator(max_length=0)),
        "unknown option": raises(lambda: generator(foo=1)),
        "a number for a switch": raises(lambda: generator(do_sample=1.0)),
        "a switch for a number": raises(lambda: generator(max_length=True)),
        "a fraction": raises(lambda: generator(max_length=1.5)),
        "top_p": raises(lambda: generator(max_length=20, do_sample=True, top_p=2.0)),
        "top_k": raises(lambda: generator(max_length=20, do_sample=True, top_k=-1)),
        "beams": raises(lambda: generator(max_length=20, num_beams=0)),
        "batch": raises(lambda: generator(max_length=20, batch_size=0)),
        "sequences": raises(lambda: generator(max_length=20, num_return_sequences=2)),
        "rewind": raises(lambda: full.rewind_to(11)),
        "output": raises(lambda: full.get_output("foo")),
        "folder": raises(lambda: og.Model("no/such/folder")),
        "tokenizer option": raises(lambda: tokenizer.update_options(foo="true")),
    }


def main():
    folder, module, template = sys.argv[1:]
    og = importlib.import_module(module)
    config = og.Config(folder)
    config.clear_providers()
    model = og.Model(config)
    tokenizer = og.Tokenizer(model)
    params = og.GeneratorParams(model)
    named = og.NamedTensors()
    named["a"] = numpy.array([[1, 2], [3, 4]], dtype=numpy.int32)
    print(json.dumps({
        "type": model.type,
        "device": model.device_type,
        "options": {name: value for name, value in params.get_search_options().items() if name != "max_length"},
        "ids": tokenizer.encode("hello <|start|> wörld").tolist(),
        "decoded": tokenizer.decode(numpy.array([104, 256, 105], dtype=numpy.int32)),
        "token": [tokenizer.to_token_id("<|start|>"), tokenizer.to_token_id("none")],
        "bos": tokenizer.bos_token_id,
        "eos": tokenizer.eos_token_ids.tolist(),
        "question": answer(og, model, tokenizer, "what is this", max_length=40),
        "sampled greedily": answer(og, model, tokenizer, "what is this", max_length=30, do_sample=True, top_k=1),
        "penalized": answer(og, model, tokenizer, "aaaa", max_length=40, repetition_penalty=1.5,
                            no_repeat_ngram_size=2, min_length=35),
        "chat": chat(og, model, tokenizer, template),
        "batch": batch(og, model, tokenizer),
        "logits": logits(og, model, tokenizer),
        "mistakes": mistakes(og, model, tokenizer),
        "named": [len(named), "a" in named, named.keys(), named["a"].as_numpy().tolist(), named["a"].shape()],
    }))


if __name__ == "__main__":
    main()
