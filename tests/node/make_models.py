"""Makes the models that the tests in Node talk to: one that knows of no tools, one whose template does."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "python"))
import structured_test  # noqa: E402

folder = pathlib.Path(sys.argv[1])
structured_test.write_model(folder / "plain")
structured_test.write_model(folder / "hermes", "<tool_call>")
