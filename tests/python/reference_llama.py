"""The mathematics of a Llama in numpy, in fp64, with the names of transformers. For expected values that are not our
own."""

import numpy


def rms_norm(x, weight, epsilon):
    return x / numpy.sqrt((x * x).mean(-1, keepdims=True) + epsilon) * weight


def rotate(x, theta):
    """Rotary positions of x [heads, tokens, head_dim], whose pairs are half a head apart."""
    half = x.shape[-1] // 2
    angles = numpy.outer(numpy.arange(x.shape[1]), theta ** (-numpy.arange(half) / half))
    cosine, sine = numpy.cos(angles), numpy.sin(angles)
    first, second = x[..., :half], x[..., half:]
    return numpy.concatenate([first * cosine - second * sine, second * cosine + first * sine], -1)


def attention(x, config, weight):
    heads, kv_heads, size = (config[name] for name in ("num_attention_heads", "num_key_value_heads", "head_dim"))

    def project(name, count):
        return (x @ weight(f"self_attn.{name}_proj").T).reshape(len(x), count, size).transpose(1, 0, 2)

    query = rotate(project("q", heads), config["rope_theta"])
    key = rotate(project("k", kv_heads), config["rope_theta"]).repeat(heads // kv_heads, 0)
    value = project("v", kv_heads).repeat(heads // kv_heads, 0)
    scores = query @ key.transpose(0, 2, 1) / size**0.5
    scores += numpy.triu(numpy.full(scores.shape[1:], -numpy.inf), 1)
    shares = numpy.exp(scores - scores.max(-1, keepdims=True))
    shares /= shares.sum(-1, keepdims=True)
    return (shares @ value).transpose(1, 0, 2).reshape(len(x), heads * size) @ weight("self_attn.o_proj").T


def hidden_states(ids, config, tensors):
    """[tokens, hidden_size] behind the final norm."""
    tensors = {name: values.astype(numpy.float64) for name, values in tensors.items()}
    epsilon = config["rms_norm_eps"]
    x = tensors["model.embed_tokens.weight"][ids]
    for layer in range(config["num_hidden_layers"]):
        def weight(name, prefix=f"model.layers.{layer}."):
            return tensors[prefix + name + ".weight"]

        x = x + attention(rms_norm(x, weight("input_layernorm"), epsilon), config, weight)
        normed = rms_norm(x, weight("post_attention_layernorm"), epsilon)
        gate = normed @ weight("mlp.gate_proj").T
        x = x + (gate / (1 + numpy.exp(-gate)) * (normed @ weight("mlp.up_proj").T)) @ weight("mlp.down_proj").T
    return rms_norm(x, tensors["model.norm.weight"], epsilon)
