"""`salient devices`: what models can run on here. No speed is judged."""

import json

import program
import tiny_model


class DevicesTest(program.ProgramTest):
    def test_the_cpu_and_its_kernels_are_listed(self):
        sets = program.instruction_sets(tiny_model.write_model(self.folder / "model"))
        cpu, *_ = json.loads(self.run_well("devices", "--threads", "2", "--json").stdout)
        self.assertEqual((cpu["device"], cpu["threads"], cpu["kernels"]), ("cpu", 2, sets[0]))
        self.assertEqual(cpu["kernel_sets"], sets)
        self.assertNotIn("bandwidth_best", cpu)
        table = self.run_well("devices").stdout
        self.assertIn(cpu["name"], table)
        self.assertIn(", ".join(sets), table)

    def test_memory_is_measured_and_set_against_models(self):
        cpu, *_ = json.loads(self.run_well("devices", "--measure", "--json").stdout)
        self.assertGreaterEqual(cpu["bandwidth_best"], cpu["bandwidth_median"])
        self.assertEqual([limit["model"] for limit in cpu["limits"]], ["mistral-7b", "phi-3-medium", "phi-3-mini"])
        for limit in cpu["limits"]:
            self.assertAlmostEqual(limit["tokens_per_second"] * limit["bytes_per_token"] / 1e9 / cpu["bandwidth_best"], 1)
        self.assertIn("words/s at most", self.run_well("devices", "--measure").stdout)

    def test_an_instruction_set_can_be_forced(self):
        cpu, *_ = json.loads(self.run_well("devices", "--json", env={"SALIENT_ISA": "scalar"}).stdout)
        self.assertEqual(cpu["kernels"], "scalar")


if __name__ == "__main__":
    program.main()
