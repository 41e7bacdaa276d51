"""Generates the Python modules of the .proto files in alpa/_proto/. Run it after a checkout, and when the files change:

    python client/python/generate.py

protoc makes the modules import each other from `proto`, the folder of the .proto files. `proto` is also a package on
PyPI. This script therefore generates the modules in a temporary folder and rewrites their imports to `alpa._proto`.
"""

import pathlib
import re
import sys
import tempfile

from grpc_tools import protoc

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TARGET = HERE / "alpa" / "_proto"
FILES = ["graph", "inventory", "plan", "job_service", "tensor_service"]
IMPORT = re.compile(r"^from proto import (\w+_pb2)", re.MULTILINE)


def _write_if_changed(path, text):
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


def main():
    with tempfile.TemporaryDirectory() as scratch:
        includes = pathlib.Path(protoc.__file__).parent / "_proto"
        arguments = ["protoc", f"-I{ROOT}", f"-I{includes}", f"--python_out={scratch}", f"--grpc_python_out={scratch}"]
        code = protoc.main(arguments + [f"proto/{name}.proto" for name in FILES])
        if code != 0:
            return code
        TARGET.mkdir(parents=True, exist_ok=True)
        for source in sorted(pathlib.Path(scratch, "proto").glob("*.py")):
            _write_if_changed(TARGET / source.name, IMPORT.sub(r"from alpa._proto import \1", source.read_text()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
