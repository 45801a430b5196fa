"""Makes the models that the page's tests talk to: two quick ones, and one slow enough to be interrupted."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "python"))
import tiny_model  # noqa: E402

folder = pathlib.Path(sys.argv[1])
tiny_model.write_model(folder / "first", seed=1)
tiny_model.write_model(folder / "second", seed=2)
tiny_model.write_model(folder / "slow", seed=3, hidden_size=512, intermediate_size=1024, num_hidden_layers=8,
                       num_attention_heads=8, num_key_value_heads=4, head_dim=64, max_position_embeddings=16384)
