"""The examples, as users run them; short versions of those that train."""

import importlib.util
import pathlib
import subprocess
import sys

import pytest

EXAMPLES = pathlib.Path(__file__).parent.parent / "examples"


def run(name, *arguments):
    command = [sys.executable, str(EXAMPLES / name), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_two_processes_of_torch_have_the_bits_of_one():
    pytest.importorskip("torch", reason="PyTorch is not installed")
    assert "to the last bit that of one" in run("torch_distributed.py")


def test_a_tree_of_dask_has_the_bits_of_one_process():
    pytest.importorskip("distributed", reason="Dask is not installed")
    assert "to the last bit that of one process" in run("dask_tree.py")


def test_digits_collapse(tmp_path):
    pytest.importorskip("torch", reason="PyTorch is not installed")
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    out = run("digits.py", "--epochs", "60", "--every", "20", "--out", str(tmp_path / "digits.png"))
    lines = [line for line in out.splitlines() if line.startswith("epoch")]
    nc1 = [float(line.split()[3]) for line in lines]
    assert len(nc1) == 3 and nc1[2] < nc1[0] / 3
    assert "relative gap" in out


def test_the_lines_of_the_readme_work(tmp_path, monkeypatch):
    text = (EXAMPLES.parent / "README.md").read_text()
    code = text.split("```python")[1].split("```")[0]
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(compile(code, "README.md", "exec"), names)
    assert names["prediction"].rank and names["measured"].has_reached


def test_examples_are_short():
    for path in EXAMPLES.glob("*.py"):
        assert len(path.read_text().splitlines()) < 150, path
        assert importlib.util.spec_from_file_location(path.stem, path) is not None
