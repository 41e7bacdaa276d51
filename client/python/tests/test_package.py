"""The wheel works without a checkout, at both ends of the version ranges in pyproject.toml.

Builds the wheel, installs it next to the oldest and next to the newest packages, and runs the other tests of this
folder against it. The environments stay in build/python/ of the checkout. The first run takes about one minute
longer, because it downloads their packages from PyPI.
"""

import contextlib
import fcntl
import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import sys
import zipfile

import pytest

HERE = pathlib.Path(__file__).resolve().parent
PACKAGE = HERE.parent
ROOT = PACKAGE.parent.parent
CACHE = ROOT / "build" / "python"
ENDS = {"lowest": [(3, 11)], "newest": [(3, minor) for minor in range(14, 11, -1)]}  # preferred version first

pytestmark = pytest.mark.skipif(not (ROOT / "proto" / "graph.proto").exists(), reason="needs the checkout")


@pytest.fixture(scope="module")
def wheel():
    """Returns the path of the wheel. Builds it in a copy of the checkout if its sources have changed."""
    patterns = ("client/python/*.*", "client/python/alpa/*.py", "client/python/alpa/_proto/*.py", "proto/*.proto")
    sources = sorted(path for pattern in patterns for path in ROOT.glob(pattern)
                     if path.is_file() and not path.name.endswith("_pb2.py"))
    digest = hashlib.sha256()
    for path in sources:
        digest.update(f"{path.relative_to(ROOT)}\n".encode() + path.read_bytes())
    folder = CACHE / f"wheel-{digest.hexdigest()[:16]}"
    with _locked("wheel"):
        if not list(folder.glob("*.whl")):
            for old in CACHE.glob("wheel-*"):
                shutil.rmtree(old)
            copy = folder / "checkout"
            for path in sources:
                target = copy / path.relative_to(ROOT)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, target)
            _run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, copy / "client" / "python")
            shutil.rmtree(copy)
        return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def results(wheel, tmp_path_factory):
    """Installs the wheel at each end of the ranges and runs the tests at both ends at the same time. Leaves out an end
    without a Python. Returns one tuple per end: the packages before the installation, the packages after it, the folder
    of alpa, and the pair (exit code, output) of the tests."""
    found, running = {}, {}
    with contextlib.ExitStack() as stack:
        for end in ENDS:
            interpreter = _interpreter(end)
            if interpreter is None:
                continue
            stack.enter_context(_locked(end))
            python = _environment(end, interpreter)
            _run(python, "-m", "pip", "uninstall", "-q", "-y", "alpa")
            before = _freeze(python)
            # Without an index, pip fails if it has to change the version of a package.
            _run(python, "-m", "pip", "install", "-q", "--no-index", wheel)
            folder = tmp_path_factory.mktemp(end)
            shutil.copytree(HERE, folder / "tests", ignore=shutil.ignore_patterns("__pycache__"))
            environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"JAX_PLATFORMS": "cpu"}
            place = _run(python, "-c", "import alpa; print(alpa.__file__)", cwd=folder, env=environment).strip()
            running[end] = subprocess.Popen([python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"],
                                            cwd=folder, env=environment, text=True, stdout=subprocess.PIPE,
                                            stderr=subprocess.STDOUT)
            found[end] = [before, _freeze(python), place]
        for end, process in running.items():
            output = process.communicate(timeout=600)[0]
            found[end].append((process.returncode, output))
    return found


@pytest.fixture(params=ENDS)
def result(request, results):
    if request.param not in results:
        pytest.skip(f"no Python {' or '.join(f'{a}.{b}' for a, b in ENDS[request.param])} on this machine")
    return results[request.param]


def test_the_wheel_contains_the_protocol_modules(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    for name in ("graph", "inventory", "job_service", "plan", "tensor_service"):
        assert f"alpa/_proto/{name}_pb2.py" in names
    assert not [name for name in names if "test" in name]


def test_installing_the_wheel_moves_no_package(result):
    before, after, _, _ = result
    assert [line for line in after if not line.startswith("alpa")] == before and len(after) == len(before) + 1


def test_the_tests_pass_outside_the_checkout(result):
    _, _, place, (code, output) = result
    assert CACHE in pathlib.Path(place).parents
    assert code == 0, output
    assert re.search(r"\d+ passed", output), output


@pytest.mark.parametrize("end", ENDS)
def test_the_pinned_versions_are_the_ends_of_the_ranges(end):
    pinned = dict(line.replace("-", "_").split("==") for line in _requirements(end).read_text().splitlines()
                  if "==" in line)
    ranges = re.findall(r'^  "(\w+)>=([\d.]+),<([\d.]+)"', (PACKAGE / "pyproject.toml").read_text(), re.MULTILINE)
    assert len(ranges) == 7
    for name, low, high in ranges:
        version = _numbers(pinned[name])
        if end == "lowest":
            assert version[:len(_numbers(low))] == _numbers(low), name
        else:
            last = _numbers(high)
            last[-1] -= 1
            assert version[:len(last)] == last, name


def _numbers(version):
    return [int(part) for part in version.split(".")]


def _requirements(end):
    return HERE / f"requirements-{end}.txt"


def _interpreter(end):
    """Returns the path of a Python for one end. If no such Python is installed, returns None."""
    for major, minor in ENDS[end]:
        name = f"python{major}.{minor}"
        places = [shutil.which(name)]
        places += sorted(pathlib.Path.home().glob(f".pyenv/versions/{major}.{minor}.*/bin/{name}"))
        for place in filter(None, places):
            done = subprocess.run([place, "-c", "import sys, venv; print(*sys.version_info[:2])"], capture_output=True,
                                  text=True, check=False)
            if done.stdout.split() == [str(major), str(minor)]:
                return str(place)
    return None


def _environment(end, interpreter):
    """Returns the path of Python in the virtual environment for one end. If the requirements have changed, rebuilds the
    environment."""
    requirements = _requirements(end)
    stamp = f"{interpreter}\n{requirements.read_text()}"
    folder = CACHE / end
    if not (folder / "stamp").exists() or (folder / "stamp").read_text() != stamp:
        shutil.rmtree(folder, ignore_errors=True)
        _run(interpreter, "-m", "venv", folder)
        _run(folder / "bin" / "python", "-m", "pip", "install", "-q", "--disable-pip-version-check", "-r", requirements)
        (folder / "stamp").write_text(stamp)
    return str(folder / "bin" / "python")


def _freeze(python):
    return _run(python, "-m", "pip", "freeze", "--disable-pip-version-check").splitlines()


def _run(*command, **options):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, f"{command} failed:\n{done.stdout}{done.stderr}"
    return done.stdout


@contextlib.contextmanager
def _locked(name):
    """Locks one of the cached folders, so that no other test process of this checkout uses it."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / f"{name}.lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
