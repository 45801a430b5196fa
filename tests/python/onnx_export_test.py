"""`salient export --format onnx` writes folders that ONNX Runtime's generate() API runs: with fp32 activations it makes
the tokens that Salient makes of the source, and its graph gives the logits of the source."""

import json
import pathlib
import subprocess
import sys

import numpy
import onnxruntime
import onnxruntime_genai
import program
import tiny_model
from safetensors.numpy import load_file, save_file

MODEL_PROBE = pathlib.Path(__file__).parents[2] / "build" / "release" / "tests" / "support" / "model_probe"
NEW_TOKENS = 32
# How far logits may be apart, in parts of the largest: fp32 sums in another order, and fp16 throughout.
CPU_BOUND = 3e-6
DML_BOUND = 5e-3
LONGROPE = {"type": "longrope", "short_factor": [1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7],
            "long_factor": [1.0, 2.0, 3.0, 5.0, 8.0, 13.0, 21.0, 34.0]}
FAMILIES = {
    "gemma2": {"hidden_act": "gelu_pytorch_tanh", "sliding_window": 16, "query_pre_attn_scalar": 24,
               "attn_logit_softcapping": 20.0, "final_logit_softcapping": 25.0},
    "gemma3_text": {"hidden_act": "gelu_pytorch_tanh", "sliding_window": 16, "query_pre_attn_scalar": 24,
                    "layer_types": ["sliding_attention", "full_attention"], "rope_local_base_freq": 300.0,
                    "rope_scaling": {"rope_type": "linear", "factor": 8.0}},
    "llama": {},
    "mistral": {"sliding_window": 16},
    "phi": {"hidden_act": "gelu_new", "head_dim": 32, "partial_rotary_factor": 0.5,
            "rms_norm_eps": None, "layer_norm_eps": 1e-5},
    "phi3": {"rope_scaling": LONGROPE, "original_max_position_embeddings": 64},
    "qwen2": {"tie_word_embeddings": True},
    "qwen3": {},
    "smollm3": {"no_rope_layers": [1, 0], "tie_word_embeddings": True},
}


def adapt_to_phi(tensors, random):
    """Phi-2 has biases everywhere, one norm a layer, no gate, and names of its own."""
    names = {"o_proj": "self_attn.dense", "up_proj": "mlp.fc1", "down_proj": "mlp.fc2"}
    adapted = {}
    for name, values in tensors.items():
        prefix, _, part = name.removesuffix(".weight").rpartition(".")
        if part in ("gate_proj", "post_attention_layernorm") or name.startswith("lm_head"):
            continue
        new = {"model.norm.weight": "model.final_layernorm"}.get(name, f"{prefix}.{part}")
        if part in names:
            new = f"{prefix.rpartition('.')[0]}.{names[part]}"
        adapted[f"{new}.weight"] = values
        if part != "embed_tokens":
            adapted[f"{new}.bias"] = random.normal(0, 0.3, len(values)).astype(numpy.float16)
    return {**adapted, **{name: values for name, values in tensors.items() if name.startswith("lm_head")}}


def adapt(family, tensors):
    """The tensors of a Llama as another family has them."""
    random = numpy.random.default_rng(11)
    adapted = dict(tensors)
    if family == "phi":
        return adapt_to_phi(tensors, random)
    for name in tensors:
        prefix, _, part = name.removesuffix(".weight").rpartition(".")
        if family == "phi3" and part == "q_proj":
            parts = [adapted.pop(f"{prefix}.{linear}.weight") for linear in ("q_proj", "k_proj", "v_proj")]
            adapted[f"{prefix}.qkv_proj.weight"] = numpy.concatenate(parts)
        elif family == "phi3" and part == "gate_proj":
            parts = [adapted.pop(f"{prefix}.{linear}.weight") for linear in ("gate_proj", "up_proj")]
            adapted[f"{prefix}.gate_up_proj.weight"] = numpy.concatenate(parts)
        elif family == "qwen2" and part in ("q_proj", "k_proj", "v_proj"):
            adapted[f"{prefix}.{part}.bias"] = random.normal(0, 0.5, len(tensors[name])).astype(numpy.float16)
        elif family in ("qwen3", "gemma3_text") and part in ("q_proj", "k_proj"):
            norm = f"{prefix}.{part[0]}_norm.weight"
            adapted[norm] = random.normal(family == "qwen3", 0.2, 16).astype(numpy.float16)
        elif family.startswith("gemma") and part.endswith("norm"):
            adapted[name] = tensors[name] - numpy.float16(1)  # it stores the factors less 1
            if part == "post_attention_layernorm":
                for other in ("pre_feedforward_layernorm", "post_feedforward_layernorm"):
                    adapted[f"{prefix}.{other}.weight"] = random.normal(0, 0.2, 64).astype(numpy.float16)
    return adapted


def write_model(folder, family):
    tiny_model.write_model(folder, model_type=family, eos_token_id=256, **FAMILIES[family])
    tensors = load_file(folder / "model.safetensors")
    save_file(adapt(family, tensors), folder / "model.safetensors")


def write_act_order_model(folder, like):
    """A GPTQ folder with desc_act: int4 in groups of 32 whose inputs are not in order, symmetric or not by layer."""
    tensors = load_file(like / "model.safetensors")
    random = numpy.random.default_rng(5)
    shifts = numpy.arange(0, 32, 4, dtype=numpy.uint32)

    def pack(nibbles):  # along the last axis, lowest first
        words = nibbles.reshape(*nibbles.shape[:-1], -1, 8).astype(numpy.uint32) << shifts
        return words.sum(axis=-1, dtype=numpy.uint32).view(numpy.int32)

    for name in [name for name in tensors if name.endswith("_proj.weight")]:
        prefix = name.removesuffix(".weight")
        outputs, inputs = tensors.pop(name).shape
        symmetric = "layers.0" in name
        zeros = numpy.full((inputs // 32, outputs), 7) if symmetric else random.integers(0, 15, (inputs // 32, outputs))
        codes = random.integers(0, 16, (outputs, inputs))
        tensors[f"{prefix}.qweight"] = numpy.ascontiguousarray(pack(codes).T)
        tensors[f"{prefix}.qzeros"] = pack(zeros)
        scales = random.uniform(0.2, 0.4, (inputs // 32, outputs)) / inputs**0.5
        tensors[f"{prefix}.scales"] = scales.astype(numpy.float16)
        tensors[f"{prefix}.g_idx"] = random.permutation(numpy.arange(inputs) // 32).astype(numpy.int32)
    folder.mkdir()
    config = json.loads((like / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "gptq", "bits": 4, "group_size": 32, "desc_act": True,
                                     "sym": False}
    (folder / "config.json").write_text(json.dumps(config))
    save_file(tensors, folder / "model.safetensors")


def random_ids(count):
    return [int(token) for token in numpy.random.default_rng(count).integers(0, 256, count)]


class OnnxExportTest(program.ProgramTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.sources = {}
        for family in FAMILIES:
            write_model(cls.folder / family, family)
            for method in ("rtn", "awq"):
                if method == "awq" and family not in ("llama", "mistral"):
                    continue
                source = cls.folder / f"{family}-{method}"
                result = program.run("quantize", cls.folder / family, "--output", source, "--method", method,
                                     "--group-size", "32", "--calibration-sequences", "4", "--calibration-tokens", "64")
                assert result.returncode == 0, result.stderr
                cls.sources[source.name] = source
        cls.sources["llama-act-order"] = cls.folder / "llama-act-order"
        write_act_order_model(cls.sources["llama-act-order"], cls.folder / "llama")
        cls.sources["llama-dense"] = cls.folder / "llama"
        cls.sources["llama-q8_0"] = cls.folder / "llama-q8_0.gguf"
        tiny_model.write_gguf(cls.sources["llama-q8_0"], q8_0=True)

    def export(self, source, *arguments):
        output = self.folder / "-".join([source.name, "onnx", *arguments])
        if not output.exists():
            self.run_well("export", source, "--format", "onnx", "--output", output, *arguments)
        return output

    def exact_logits(self, model, ids):
        """Salient's with fp32 activations and cache, [tokens, vocabulary]."""
        ids_file, logits_file = self.folder / "ids", self.folder / "logits"
        ids_file.write_text("\n".join(map(str, ids)))
        subprocess.run([MODEL_PROBE, "logits", model, ids_file, logits_file, "--exact"], check=True)
        return numpy.fromfile(logits_file, numpy.float32).reshape(len(ids), -1)

    def graph_logits(self, folder, ids):
        """onnxruntime's on its CPU provider."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 2
        session = onnxruntime.InferenceSession(folder / "model.onnx", options, providers=["CPUExecutionProvider"])
        feeds = {"input_ids": numpy.array([ids]), "attention_mask": numpy.ones((1, len(ids)), numpy.int64)}
        for value in session.get_inputs():
            if value.name == "position_ids":
                feeds[value.name] = numpy.arange(len(ids))[None]
            elif value.name.startswith("past_key_values"):
                dtype = numpy.float16 if value.type == "tensor(float16)" else numpy.float32
                feeds[value.name] = numpy.zeros((1, value.shape[1], 0, value.shape[3]), dtype)
        return session.run(["logits"], feeds)[0][0].astype(numpy.float32)

    def assert_close(self, theirs, ours, bound):
        self.assertLess(numpy.abs(theirs - ours).max(), bound * numpy.abs(ours[:, :256]).max())

    def greedy_tokens(self, folder, ids):
        """What the generate() API adds to these tokens."""
        config = onnxruntime_genai.Config(str(folder))
        session = {"session_options": {"intra_op_num_threads": 2}}
        config.overlay(json.dumps({"model": {"decoder": session}}))
        config.clear_providers()
        model = onnxruntime_genai.Model(config)
        params = onnxruntime_genai.GeneratorParams(model)
        length = len(ids) + NEW_TOKENS
        params.set_search_options(max_length=length, min_length=length, do_sample=False)
        generator = onnxruntime_genai.Generator(model, params)
        generator.append_tokens(ids)
        while not generator.is_done():
            generator.generate_next_token()
        return [int(token) for token in generator.get_sequence(0)[len(ids):]]

    def test_the_generate_api_makes_the_same_tokens(self):
        for name, source in self.sources.items():
            folder = self.export(source, "--accuracy-level", "0")
            for length in (9, 70):  # texts of more than 64 tokens have other rotary frequencies in phi3
                with self.subTest(model=name, length=length):
                    prompt = random_ids(length)
                    tokens = self.greedy_tokens(folder, prompt)
                    self.assertEqual(len(tokens), NEW_TOKENS)
                    logits = self.exact_logits(source, prompt + tokens)[length - 1:-1]
                    end = json.loads((folder / "genai_config.json").read_text())["model"].get("eos_token_id", 0)
                    logits[:, end] = -numpy.inf  # min_length forbids it
                    self.assertEqual(tokens, logits.argmax(axis=1).tolist())

    def test_the_graph_gives_the_logits_of_the_source(self):
        for name, source in self.sources.items():
            folder = self.export(source, "--accuracy-level", "0")
            for length in (1, 40, 100):
                with self.subTest(model=name, length=length):
                    ids = random_ids(length)
                    self.assert_close(self.graph_logits(folder, ids), self.exact_logits(source, ids), CPU_BOUND)

    def test_the_graph_for_directml_gives_them_in_fp16(self):
        for name, source in self.sources.items():
            folder = self.export(source, "--layout", "dml")
            for length in (1, 40, 100):
                with self.subTest(model=name, length=length):
                    ids = random_ids(length)
                    theirs, ours = self.graph_logits(folder, ids), self.exact_logits(source, ids)
                    self.assert_close(theirs, ours, DML_BOUND)
                    theirs_of_ours = ours[numpy.arange(length), theirs.argmax(axis=1)]
                    self.assert_close(theirs_of_ours[:, None], ours.max(axis=1)[:, None], DML_BOUND)

    def test_the_generate_api_runs_the_graph_for_directml(self):
        source = self.sources["llama-rtn"]
        folder = self.export(source, "--layout", "dml")
        prompt = random_ids(40)
        tokens = self.greedy_tokens(folder, prompt)
        ours = self.exact_logits(source, prompt + tokens)[len(prompt) - 1:-1]
        self.assert_close(ours[numpy.arange(NEW_TOKENS), tokens][:, None], ours.max(axis=1)[:, None], DML_BOUND)

    def test_salient_reads_what_it_wrote(self):
        for name, source in self.sources.items():
            for arguments, bound in (([], CPU_BOUND), (["--layout", "dml"], DML_BOUND)):
                with self.subTest(model=name, arguments=arguments):
                    ids = random_ids(100)
                    folder = self.export(source, *arguments)
                    self.assert_close(self.exact_logits(folder, ids), self.exact_logits(source, ids), bound)

    def test_the_way_back_gives_the_same_linears(self):
        for name, source in self.sources.items():
            if name in ("llama-act-order", "llama-dense", "llama-q8_0"):
                continue  # which AutoAWQ cannot hold
            for arguments in ([], ["--layout", "dml"]):
                with self.subTest(model=name, arguments=arguments):
                    folder = self.export(source, *arguments)
                    back = self.folder / f"{folder.name}-back"
                    self.run_well("export", folder, "--format", "awq", "--output", back)
                    before, after = (load_file(model / "model.safetensors") for model in (source, back))
                    packed = [tensor for tensor in before
                              if tensor.rpartition(".")[2] in ("qweight", "qzeros", "scales")]
                    self.assertGreaterEqual(len(packed), 24)
                    for tensor in packed:
                        self.assertEqual(before[tensor].tobytes(), after[tensor].tobytes(), tensor)
                    for tensor, values in before.items():
                        if name.startswith("gemma") and "norm" in tensor:
                            continue  # stored less 1, and in a graph as they are
                        numpy.testing.assert_array_equal(after[tensor], values, tensor)

    def test_the_way_by_another_format_makes_no_difference(self):
        for name, source in self.sources.items():
            with self.subTest(model=name):
                direct = self.export(source, "--layout", "dml")
                detour = self.export(self.export(source), "--layout", "dml")
                self.assertEqual(*((folder / "model.onnx.data").read_bytes() for folder in (direct, detour)))
        folders = [self.sources["llama-rtn"], self.export(self.sources["llama-rtn"])]
        packed = []
        for folder in folders:
            output = self.folder / f"{folder.name}-compressed"
            self.run_well("export", folder, "--format", "compressed-tensors", "--output", output)
            packed.append(load_file(output / "model.safetensors"))
        self.assertEqual(packed[0].keys(), packed[1].keys())
        for tensor, values in packed[0].items():
            numpy.testing.assert_array_equal(packed[1][tensor], values, tensor)

    def test_int8_activations_are_the_default_on_the_cpu(self):
        folder = self.export(self.sources["llama-rtn"])
        self.assertIn(b"accuracy_level", (folder / "model.onnx").read_bytes())
        for arguments in (["--accuracy-level", "0"], ["--layout", "dml"]):
            folder = self.export(self.sources["llama-rtn"], *arguments)
            self.assertNotIn(b"accuracy_level", (folder / "model.onnx").read_bytes())

    def test_the_files_of_the_tokenizer_come_along(self):
        source = self.sources["llama-rtn"]
        folder = self.export(source)
        for name in ("tokenizer.json", "tokenizer_config.json"):
            self.assertEqual(json.loads((folder / name).read_text()), json.loads((source / name).read_text()))
        self.assertFalse((folder / "config.json").exists())

    def test_the_tokenizer_of_a_gguf_file_comes_along(self):
        folder = self.export(self.sources["llama-q8_0"])
        vocabulary = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
        self.assertEqual(vocabulary["a"], 97)
        self.assertTrue((folder / "tokenizer_config.json").exists())

    def test_what_a_graph_cannot_hold_is_refused_and_leaves_nothing(self):
        tensors = load_file(self.folder / "llama" / "model.safetensors")
        tensors["model.norm.weight"] = numpy.full(64, 70000, numpy.float32)
        source = self.folder / "large"
        source.mkdir()
        (source / "config.json").write_text((self.folder / "llama" / "config.json").read_text())
        save_file(tensors, source / "model.safetensors")
        output = self.folder / "refused"
        result = program.run("export", source, "--format", "onnx", "--layout", "dml", "--output", output)
        self.expect_sentence(result, source, "final_norm", "70000", "fp16")
        self.assertEqual(list(self.folder.glob("refused*")), [])

    def test_a_tied_embedding_table_is_stored_once(self):
        size = (self.export(self.sources["qwen2-rtn"]) / "model.onnx.data").stat().st_size
        table = 257 * 64 * 4
        untied = (self.export(self.sources["llama-rtn"]) / "model.onnx.data").stat().st_size
        self.assertLess(size, untied - table + 4096)


if __name__ == "__main__":
    if not MODEL_PROBE.exists():
        print(f"{MODEL_PROBE} has not been built")
        sys.exit(77)
    program.main()
