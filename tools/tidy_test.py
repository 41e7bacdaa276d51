"""Tests that the text of the tree follows tools/tidy, and that each rule of tools/tidy reports its findings."""
import importlib.machinery
import importlib.util
import pathlib
import subprocess
import sys

import pytest

TIDY = pathlib.Path(__file__).resolve().parent / "tidy"


@pytest.fixture
def tidy(tmp_path, monkeypatch):
    """tools/tidy as a module that checks the files under `tmp_path`."""
    loader = importlib.machinery.SourceFileLoader("tidy", str(TIDY))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("tidy", loader))
    loader.exec_module(module)
    module.phrases()  # read from the real tree
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "base_names", lambda: {file.name for file in tmp_path.rglob("*") if file.is_file()})
    return module


def rules(tidy, name, text):
    file = tidy.ROOT / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return [(line, rule) for line, rule, _ in tidy.findings(name)]


def test_the_tree_has_no_findings():
    result = subprocess.run([sys.executable, str(TIDY)], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("name, text, expected", [
    ("long.cc", "int a;\n" + "x" * 121 + "\n", [(2, "length")]),
    ("fits.cc", "x" * 120 + "\n", []),
    ("table.md", "| " + "x" * 200 + " |\n", []),
    ("prose.md", "word " * 30 + "\n", [(1, "length")]),
    ("link.md", "https://example.com/" + "x" * 200 + "\n", []),
    ("huge.cc", "int a;\n" * 801, [(801, "size")]),
    ("huge.md", "word\n" * 801, []),
])
def test_lines_and_files_have_a_limit(tidy, name, text, expected):
    assert rules(tidy, name, text) == expected


@pytest.mark.parametrize("name, text, line", [
    ("comment.cc", "int a;  // a list a mesh\n", 1),
    ("block.h", "int a;\n// First line.\n// So many are skipped.\n", 3),
    ("message.cc", 'Fail("nobody waits likewise");\n', 1),
    ("doc.md", "# Title\n\nA line for people.\n", 3),
    ("doc.py", '"""A list.\n\nPrices are dear."""\n', 3),
    ("comment.py", "a = 1  # so much\n", 1),
    ("script.sh", "#!/bin/sh\ntrue  # anew\n", 2),
    ("some.proto", "// Where there is none, zero.\n", 1),
])
def test_phrases_are_found_in_comments_messages_and_documents(tidy, name, text, line):
    found = rules(tidy, name, text)
    assert found and set(found) == {(line, "phrase")}


@pytest.mark.parametrize("name, text", [
    ("code.cc", "int likewise = so_many(beside);\n"),
    ("include.cc", '#include "anew/dear.h"\n'),
    ("fence.md", "```\nlikewise\n```\n"),
    ("code.md", "The flag `likewise` exists.\n"),
])
def test_phrases_in_code_are_not_text(tidy, name, text):
    assert rules(tidy, name, text) == []


def test_a_sentence_does_not_start_with_a_clause(tidy):
    assert rules(tidy, "a.h", "// What is cut stays cut.\n") == [(1, "clause")]
    assert rules(tidy, "b.h", "// Cuts a leaf. Who waits is told.\n") == [(1, "clause")]
    assert rules(tidy, "c.md", "# What it does not do\n\nWhat does a plan cost?\n") == []


def test_a_todo_gives_its_reason(tidy):
    assert rules(tidy, "a.cc", "// TODO: later\n") == [(1, "todo")]
    assert rules(tidy, "b.cc", "// TODO(UCX 1.17 has the call): use it\n") == []


def test_paths_in_text_exist(tidy):
    (tidy.ROOT / "plan").mkdir()
    (tidy.ROOT / "plan/plan.h").write_text("")
    assert rules(tidy, "plan/a.h", "// See plan/plan.h, plan.h and base/none.h.\n") == [(1, "path")]
    assert rules(tidy, "doc.md", "[a](plan/plan.h) [b](plan/none.h) `plan/plan.h` `none.h`\n") == [(1, "path"), (1, "path")]


def test_an_unknown_path_is_refused():
    result = subprocess.run([sys.executable, str(TIDY), "no/such/folder"], text=True, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT)
    assert result.returncode == 1 and "no/such/folder" in result.stdout
