"""Generates alpa/_proto/ before the package is built from a checkout. A source distribution contains alpa/_proto/."""

import pathlib
import sys

import setuptools

HERE = pathlib.Path(__file__).resolve().parent

if (HERE.parent.parent / "proto" / "graph.proto").exists():
    sys.path.insert(0, str(HERE))
    import generate

    if generate.main() != 0:
        sys.exit("protoc failed; its message is above")
setuptools.setup()
