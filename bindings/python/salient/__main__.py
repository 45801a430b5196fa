"""`python -m salient` is the program `salient`, which the package has in bin/."""

import os
import pathlib
import subprocess
import sys


def main() -> int:
    program = pathlib.Path(__file__).parent / "bin" / ("salient.exe" if os.name == "nt" else "salient")
    arguments = [str(program), *sys.argv[1:]]
    if os.name == "nt":
        return subprocess.run(arguments, check=False).returncode
    os.execv(program, arguments)


if __name__ == "__main__":
    sys.exit(main())
