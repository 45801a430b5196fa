"""Models from a hub: what a pull brings, how it survives a bad network, and what it says when there is nothing to get."""

import contextlib
import json
import os
import pathlib
import resource
import shutil
import signal
import subprocess
import sys
import time

import fake_hub
import program
import tiny_model

NAME = "tiny/model"
CARD = b"---\nlicense: mit\n---\n# A card\n"
WEIGHTS = "model.safetensors"


class HubTest(program.ProgramTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        folder = tiny_model.write_model(cls.folder / "model")
        cls.needed = {path.name: path.read_bytes() for path in folder.iterdir()} | {"README.md": CARD, "LICENSE": b"MIT"}
        cls.files = cls.needed | {"pytorch_model.bin": b"b" * 5000, "training_args.bin": b"t", "tf_model.h5": b"h",
                                  "onnx/model.onnx": b"o" * 5000, ".gitattributes": b"*.bin lfs\n"}

    def setUp(self):
        self.home = self.folder / self.id().rpartition(".")[2]
        self.hub = self.start(fake_hub.FakeHub({NAME: dict(self.files)}))

    def start(self, hub):
        self.addCleanup(hub.close)
        return hub

    @property
    def cache(self):
        return self.home / "hub"

    @property
    def repository(self):
        return self.cache / ("models--" + NAME.replace("/", "--"))

    def settings(self, **changes):
        return {"HF_ENDPOINT": self.hub.address, "HF_HOME": str(self.home), **changes}

    def salient(self, *arguments, options=None, **changes):
        return program.run(*arguments, env=self.settings(**changes), **(options or {}))

    def pull_well(self, *arguments, **changes):
        result = self.salient("pull", *arguments, **changes)
        self.assertEqual(result.returncode, 0, result.stderr)
        return pathlib.Path(result.stdout.strip())

    def failure(self, *arguments, **changes):
        """The one sentence that a pull ends with; nothing is left under a final name."""
        sentence = self.expect_sentence(self.salient("pull", *(arguments or [NAME]), **changes))
        self.assertEqual(self.names_in_snapshots(), [])
        return sentence

    def names_in_snapshots(self):
        return sorted(path.name for path in self.repository.glob("snapshots/*/**/*") if not path.is_dir())

    def blobs(self):
        with contextlib.suppress(FileNotFoundError):
            return sorted(path.name for path in (self.repository / "blobs").iterdir())
        return []

    def expect_whole(self, path, files=None):
        files = self.needed if files is None else files
        found = {file.relative_to(path).as_posix(): file.read_bytes() for file in path.rglob("*") if file.is_file()}
        self.assertEqual(found, files)


class PullTest(HubTest):
    def test_brings_what_a_model_needs_and_no_more(self):
        result = self.salient("pull", NAME)
        self.assertEqual(result.returncode, 0, result.stderr)
        path = pathlib.Path(result.stdout.strip())
        self.expect_whole(path)
        self.assertEqual(path, self.repository / "snapshots" / fake_hub.COMMIT)
        self.assertIn("licence mit", result.stderr)
        self.assertIn("downloading", result.stderr)
        self.assertEqual(self.blobs(), sorted(map(fake_hub.etag_of, self.needed.values())))
        self.assertTrue((path / WEIGHTS).is_symlink())
        self.assertFalse(pathlib.Path(os.readlink(path / WEIGHTS)).is_absolute())
        again = self.salient("pull", NAME)
        self.assertIn("all 6 files are in", again.stderr)
        self.assertEqual(len(self.hub.requested(WEIGHTS)), 1)

    def test_a_listing_of_many_pages_is_read_to_its_end(self):
        self.hub.page_size = 3
        self.expect_whole(self.pull_well(NAME))
        self.assertEqual(len(self.hub.requested("/tree/")), 4)

    def test_a_name_stands_for_a_model_in_every_command(self):
        text = self.folder / "text.txt"
        text.write_text("the quick brown fox " * 20)
        for arguments in (["generate", NAME, "--prompt", "a", "--max-tokens", "3"], ["inspect", NAME],
                          ["perplexity", NAME, "--base", NAME, "--data", text, "--window", "32"],
                          ["quantize", NAME, "--method", "rtn", "--output", self.folder / "from-hub"],
                          ["chat", NAME]):
            result = self.salient(*arguments)
            self.assertEqual(result.returncode, 0, result.stderr)
            self.assertEqual("downloading" in result.stderr, arguments[0] == "generate", result.stderr)
        offline = self.salient("generate", NAME, "--prompt", "a", "--max-tokens", "3", HF_HUB_OFFLINE="1")
        self.assertEqual(offline.returncode, 0, offline.stderr)

    def test_a_path_that_exists_wins(self):
        tiny_model.write_model(self.folder / NAME)
        result = self.salient("inspect", NAME, "--json", options={"cwd": self.folder})
        self.assertEqual(json.loads(result.stdout)["model"], NAME)
        self.assertEqual(self.hub.requests, [])

    def test_one_gguf_file_of_several(self):
        tiny_model.write_gguf(self.folder / "tiny.gguf")
        content = (self.folder / "tiny.gguf").read_bytes()
        self.hub.models[NAME] = {"a-Q4.gguf": content, "a-Q8.gguf": b"8" * 2000, "README.md": CARD}
        sentence = self.failure(NAME)
        self.assertIn("holds 2 models, name one: tiny/model/a-Q4.gguf, tiny/model/a-Q8.gguf", sentence)
        path = self.pull_well(NAME + "/a-Q4.gguf")
        self.assertEqual(path.read_bytes(), content)
        self.assertEqual(self.hub.requested("a-Q8"), [])
        self.assertEqual(self.salient("inspect", NAME + "/a-Q4.gguf").returncode, 0)

    def test_a_short_name_stands_for_the_variant_of_a_device(self):
        repository = "microsoft/Phi-3-mini-4k-instruct-onnx"
        cpu, dml = "cpu_and_mobile/cpu-int4-rtn-block-32-acc-level-4", "directml/directml-int4-awq-block-128"
        variant = {"genai_config.json": b"{}", "model.onnx": b"o" * 2000, "model.onnx.data": b"d" * 3000}
        files = {f"{folder}/{name}": content for folder in (cpu, dml) for name, content in variant.items()}
        self.hub.models[repository] = files | {"LICENSE": b"MIT"}
        self.hub.models["microsoft/Phi-3-mini-4k-instruct"] = dict(self.files)
        result = self.salient("pull", "phi-3-mini-4k", "--json")
        self.assertIn(f"phi-3-mini-4k: {repository}/{cpu}, quantized, for cpu; --base pulls", result.stderr)
        about = json.loads(result.stdout)
        self.assertEqual((about["repository"], about["folder"], about["format"]), (repository, cpu, "onnx"))
        self.expect_whole(pathlib.Path(about["path"]), variant)
        self.assertEqual(self.hub.requested("directml"), [])
        self.expect_whole(self.pull_well("phi-3-mini-4k", "--device", "dml"), variant)
        result = self.salient("pull", "phi-3-mini-4k", "--base")
        self.assertIn("phi-3-mini-4k: microsoft/Phi-3-mini-4k-instruct\n", result.stderr)
        self.expect_whole(pathlib.Path(result.stdout.strip()))

    def test_a_variant_that_has_moved_is_missed_with_a_list_of_those_there_are(self):
        self.hub.models["microsoft/Phi-3-mini-4k-instruct-onnx"] = {
            "gpu/int4/genai_config.json": b"{}", "gpu/int4/model.onnx": b"o"}
        sentence = self.failure("phi-3-mini-4k")
        self.assertIn("there is no model at cpu_and_mobile/cpu-int4-rtn-block-32-acc-level-4; there are "
                      "microsoft/Phi-3-mini-4k-instruct-onnx/gpu/int4", sentence)

    def test_a_short_name_without_a_variant_stands_for_the_base(self):
        self.hub.models["HuggingFaceTB/SmolLM2-135M-Instruct"] = dict(self.files)
        self.assertIn("the base", self.salient("pull", "smollm2-135m").stderr)

    def test_what_is_no_name_is_said_to_be_none(self):
        for name in ("nonsense", "../up/x", "a/b/../c", ""):
            with self.subTest(name=name):
                sentence = self.failure(name)
                self.assertIn("is no model's name, expected OWNER/NAME[@revision][/SUB/FOLDER]", sentence)
                self.assertIn("phi-3-mini-4k", sentence)

    def test_a_revision_is_kept_apart(self):
        path = self.pull_well(f"{NAME}@{fake_hub.COMMIT}")
        self.expect_whole(path)
        self.assertEqual(list((self.repository / "refs").iterdir()), [])
        self.assertIn("has no revision v9 (404)", self.expect_sentence(self.salient("pull", NAME + "@v9")))


class BadNetworkTest(HubTest):
    def test_goes_on_after_three_cuts(self):
        self.hub.cuts[WEIGHTS] = 3
        self.expect_whole(self.pull_well(NAME))
        first = [headers.get("Range") or headers.get("range") for _, headers in self.hub.requested(WEIGHTS)]
        self.assertEqual(len(first), 4)
        self.assertIsNone(first[0])
        starts = [int(text.removeprefix("bytes=").rstrip("-")) for text in first[1:]]
        self.assertEqual(starts, sorted(set(starts)))
        self.assertGreater(starts[0], 0)

    def test_other_content_than_promised_is_refused(self):
        content = self.files[WEIGHTS]
        self.hub.wrong[WEIGHTS] = content[:-1] + bytes([content[-1] ^ 1])
        self.assertIn(f"{WEIGHTS}: its SHA-256 is ", self.failure())
        self.assertFalse([blob for blob in self.blobs() if blob.startswith(fake_hub.etag_of(content))])
        shutil.rmtree(self.home)
        del self.hub.wrong[WEIGHTS]
        self.hub.wrong["config.json"] = self.files["config.json"].replace(b"llama", b"lambs")
        self.assertIn("config.json: its git blob id is ", self.failure())
        self.hub.wrong.clear()
        self.expect_whole(self.pull_well(NAME))

    def test_a_size_that_differs_is_refused(self):
        self.hub.wrong[WEIGHTS] = self.files[WEIGHTS] + b"more"
        size = len(self.files[WEIGHTS])
        self.assertIn(f"the server sends {size + 4} bytes, expected {size}", self.failure())

    def test_a_partial_file_that_is_wrong_is_fetched_anew(self):
        incomplete = self.repository / "blobs" / (fake_hub.etag_of(self.files[WEIGHTS]) + ".incomplete")
        incomplete.parent.mkdir(parents=True)
        incomplete.write_bytes(b"not the beginning of it")
        self.expect_whole(self.pull_well(NAME))
        self.assertFalse(incomplete.exists())

    def test_a_server_that_is_busy_is_asked_again(self):
        self.hub.failures = {"/tree/": [(429, {"Retry-After": "1"}), (0, {})],
                             WEIGHTS: [(503, {"Retry-After": "1"}), (500, {}), (0, {})]}
        self.expect_whole(self.pull_well(NAME))

    def test_a_server_that_stays_busy_is_named(self):
        self.hub.failures = {"/revision/": [(429, {"Retry-After": "3600"})]}
        sentence = self.failure()
        self.assertIn("429 Too Many Requests and asks to come back in 3600 seconds", sentence)
        self.assertIn("HF_TOKEN", sentence)
        self.hub.failures = {"/revision/": [(503, {"Retry-After": "3600"})]}
        self.assertIn("503 Service Unavailable and asks to come back in 3600 seconds: the hub is not available",
                      self.failure())

    def test_a_server_that_trickles_is_left(self):
        self.hub.slow.add(WEIGHTS)
        begin = time.monotonic()
        sentence = self.failure(SALIENT_STALL_TIMEOUT="0.3")
        self.assertIn("bytes within 0.3 seconds", sentence)
        self.assertLess(time.monotonic() - begin, 30)
        self.assertEqual(len(self.hub.requested(WEIGHTS)), 4)
        self.assertIn(fake_hub.etag_of(self.files[WEIGHTS]) + ".incomplete", self.blobs())
        self.hub.slow.clear()
        self.expect_whole(self.pull_well(NAME))

    def test_nobody_answers(self):
        sentence = self.failure(HF_ENDPOINT="http://127.0.0.1:9")
        self.assertIn("http://127.0.0.1:9 cannot be reached", sentence)
        self.assertIn("HF_HUB_OFFLINE=1", sentence)

    def test_a_redirect_to_another_host_goes_without_the_token(self):
        other = self.start(fake_hub.FakeHub({NAME: dict(self.files)}))
        self.hub.redirect_to = other.address
        self.expect_whole(self.pull_well(NAME, HF_TOKEN="hf_secret"))
        self.assertEqual({headers.get("Authorization") or headers.get("authorization")
                          for _, headers in self.hub.requests}, {"Bearer hf_secret"})
        self.assertEqual(len(other.requests), len(self.needed))
        for _, headers in other.requests:
            self.assertNotIn("hf_secret", str(headers))

    def test_an_interrupted_pull_ends_with_a_sentence_and_the_next_goes_on(self):
        self.hub.cuts[WEIGHTS] = 1
        self.hub.failures = {WEIGHTS: [(0, {}), (503, {"Retry-After": "60"}), (0, {})]}
        process = subprocess.Popen([program.PROGRAM, "pull", NAME], env=program.environment(**self.settings()),
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.wait_for(lambda: len(self.hub.requested(WEIGHTS)) == 2)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=20)
        self.assertEqual(process.returncode, 1, error)
        self.assertIn("salient: tiny/model: the download was interrupted; the next one goes on from there", error)
        self.assertEqual(self.names_in_snapshots(), [])
        self.expect_whole(self.pull_well(NAME))
        _, headers = self.hub.requested(WEIGHTS)[-1]
        self.assertIn(f"bytes={len(self.files[WEIGHTS]) // 3}-", headers.values())

    def test_an_interruption_does_not_wait_for_a_silent_server(self):
        self.hub.slow.add(WEIGHTS)
        process = subprocess.Popen([program.PROGRAM, "pull", NAME], env=program.environment(**self.settings()),
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.wait_for(lambda: self.hub.requested(WEIGHTS))
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=20)
        self.assertEqual(process.returncode, 1, error)
        self.assertIn("interrupted", error)

    def test_two_pulls_at_once_do_not_disturb_each_other(self):
        self.hub.cuts[WEIGHTS] = 1
        processes = [subprocess.Popen([program.PROGRAM, "pull", NAME], env=program.environment(**self.settings()),
                                      stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(4)]
        for process in processes:
            output, error = process.communicate(timeout=60)
            self.assertEqual(process.returncode, 0, error)
            self.expect_whole(pathlib.Path(output.strip()))
        self.assertEqual(len(self.hub.requested(WEIGHTS)), 2)  # the cut one, and the rest of it

    def wait_for(self, condition):
        for _ in range(1000):
            if condition():
                return
            time.sleep(0.02)
        self.fail("it did not happen")


class RefusalTest(HubTest):
    def test_a_gated_model_says_how_to_get_it(self):
        self.hub.gated.add(NAME)
        page = f"{self.hub.address}/{NAME}"
        sentence = self.failure()
        self.assertIn(f"is gated (401): accept its licence at {page}, then set HF_TOKEN", sentence)
        sentence = self.failure(HF_TOKEN="hf_other")
        self.assertIn(f"the account of HF_TOKEN may not read it (403): accept its licence at {page}", sentence)
        self.expect_whole(self.pull_well(NAME, HF_TOKEN="hf_good"))

    def test_the_token_of_a_login_is_used(self):
        self.hub.gated.add(NAME)
        self.home.mkdir(parents=True)
        (self.home / "token").write_text("hf_good\n")
        self.expect_whole(self.pull_well(NAME))

    def test_a_model_that_is_missing_says_what_to_check(self):
        self.assertIn("tiny/none: the hub has no public model of this name (401): check the spelling",
                      self.failure("tiny/none"))
        self.assertIn("(404): check the spelling", self.failure("tiny/none", HF_TOKEN="hf_good"))
        result = self.salient("generate", "tiny/none", "--prompt", "a")
        self.assertIn("is neither a file here nor in the cache", result.stderr)
        self.expect_sentence(result, "no public model of this name")

    def test_names_that_lead_elsewhere_are_refused(self):
        for path in ("../../escaped", "/tmp/escaped", "a/../../escaped", "a\\..\\escaped", "C:/escaped", "esc\0aped",
                     "..", "a//escaped"):
            with self.subTest(path=path):
                self.hub.models[NAME] = dict(self.files) | {path: b"x"}
                self.assertIn("the hub names a file \"", self.failure())
        self.assertEqual(list(self.folder.rglob("*escaped*")), [])

    def test_answers_that_make_no_sense_are_refused(self):
        entry = {"type": "file", "path": "config.json", "size": 3, "oid": "1" * 40}
        for tree, part in [({}, "expected a list of files"), ([1], "expected an object"), (b"{", "is not JSON"),
                           ([entry | {"size": "3"}], "size is \"3\", expected a number of bytes"),
                           ([entry | {"size": -3}], "size is -3"), ([entry | {"oid": "../x"}], "expected a hash"),
                           ([entry | {"path": 7}], "path is 7, expected a text"),
                           (b"[" * 100000, "is not JSON"), (b" " * (17 << 20), "is larger than 16777216 bytes")]:
            with self.subTest(part=part):
                self.hub.tree = tree
                self.assertIn(part, self.failure())
        self.hub.tree = None
        for information, part in [([], "expected an object"), ({}, "has no field sha"), ({"sha": 1}, "sha is 1"),
                                  ({"sha": "../../x"}, "expected the id of a commit")]:
            with self.subTest(part=part):
                self.hub.information = information
                self.assertIn(part, self.failure())

    def test_a_disk_that_is_too_small_is_seen_before(self):
        entries = fake_hub.tree_of(self.files)
        next(entry for entry in entries if entry["path"] == WEIGHTS)["lfs"]["size"] = 1 << 60
        self.hub.tree = entries
        self.assertIn("HF_HUB_CACHE names another place", self.failure())
        self.assertEqual(self.hub.requested(WEIGHTS), [])

    def test_a_disk_that_gets_full_leaves_nothing_wrong(self):
        def limit():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

        sentence = self.failure(options={"preexec_fn": limit})
        self.assertIn(".incomplete: cannot be written: ", sentence)
        self.assertEqual(len(self.hub.requested(WEIGHTS)), 1)
        self.expect_whole(self.pull_well(NAME))

    def test_a_cache_that_cannot_be_made_is_named(self):
        self.home.mkdir(parents=True)
        (self.home / "hub").write_text("a file in the way")
        self.assertIn("the folder cannot be made", self.failure())

    def test_weights_of_other_programs_are_named(self):
        self.hub.models[NAME] = {"config.json": b"{}", "pytorch_model.bin": b"x" * 2000}
        self.assertIn("its weights are in pytorch_model.bin; Salient reads safetensors", self.failure())


class SharedCacheTest(HubTest):
    """The cache is huggingface_hub's: each finds what the other has brought."""

    def python(self, code, **changes):
        result = subprocess.run([sys.executable, "-c", code], env=program.environment(
            HF_HUB_DISABLE_XET="1", HF_HUB_DISABLE_TELEMETRY="1", HF_HUB_DISABLE_PROGRESS_BARS="1",
            **self.settings(**changes)), capture_output=True, text=True, timeout=120, check=False)
        self.assertEqual(result.returncode, 0, result.stderr)
        return result.stdout.strip()

    def test_huggingface_hub_finds_what_was_pulled(self):
        path = self.pull_well(NAME)
        code = "import huggingface_hub as hub\n"
        code += f"print(hub.snapshot_download('{NAME}', local_files_only=True))\n"
        code += f"print(hub.hf_hub_download('{NAME}', '{WEIGHTS}', local_files_only=True))\n"
        code += f"print(hub.hf_hub_download('{NAME}', 'config.json'))\n"
        code += "print(*(repo.repo_id for repo in hub.scan_cache_dir().repos))"
        requests = len(self.hub.requested(WEIGHTS))
        self.assertEqual(self.python(code).splitlines(),
                         [str(path), str(path / WEIGHTS), str(path / "config.json"), NAME])
        self.assertEqual(len(self.hub.requested(WEIGHTS)), requests)

    def test_what_huggingface_hub_has_downloaded_is_found(self):
        path = self.python(f"import huggingface_hub as hub\nprint(hub.snapshot_download('{NAME}'))")
        result = self.salient("generate", NAME, "--prompt", "a", "--max-tokens", "3", HF_HUB_OFFLINE="1")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn(path, result.stderr)
        self.assertEqual(str(self.pull_well(NAME, HF_HUB_OFFLINE="1")), path)
        requests = len(self.hub.requested(WEIGHTS))
        self.assertEqual(str(self.pull_well(NAME)), path)
        self.assertEqual(len(self.hub.requested(WEIGHTS)), requests)

    def test_offline_says_that_a_model_is_not_there(self):
        self.assertIn("is not whole in the cache", self.failure(HF_HUB_OFFLINE="1"))
        self.assertEqual(self.hub.requests, [])

    def test_models_lists_what_is_there(self):
        self.assertIn("holds no models; salient pull NAME brings one", self.salient("models").stdout)
        self.assertEqual(json.loads(self.salient("models", "--json").stdout), [])
        path = self.pull_well(NAME)
        table = self.salient("models").stdout.splitlines()
        self.assertEqual(table[0].split(), ["model", "size", "format", "licence"])
        self.assertEqual([line.split()[0] for line in table[1:]], [NAME])
        expected = {"name": NAME, "repository": NAME, "revision": "main", "commit": fake_hub.COMMIT, "folder": "",
                    "path": str(path), "format": "safetensors", "license": "mit",
                    "bytes": sum(map(len, self.needed.values()))}
        self.assertEqual(json.loads(self.salient("models", "--json").stdout), [expected])


if __name__ == "__main__":
    program.main()
