"""What an import brings in, and how long it takes."""

import pathlib
import subprocess
import sys


# Not the folder of the sources, which a new interpreter would find before the package that was built.
HERE = pathlib.Path(__file__).parent


def fresh(code):
    return subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=HERE
    ).stdout.strip()


def test_imports_nothing_heavy():
    code = "import sys, ncollapse; print(*sorted({'numpy', 'torch', 'matplotlib', 'typing'} & set(sys.modules)))"
    before = fresh("import sys; print(*sorted({'numpy', 'torch', 'matplotlib', 'typing'} & set(sys.modules)))")
    assert fresh(code) == before


def test_is_imported_in_fifty_milliseconds():
    # Time of the processor, the least of several: others may use the machine.
    code = "import time; start = time.process_time(); import ncollapse; print(time.process_time() - start)"
    assert min(float(fresh(code)) for _ in range(5)) < 0.05


def test_never_imports_torch():
    code = """
import sys, ncollapse as nc, numpy as np
accumulator = nc.Accumulator(2, 3)
accumulator.update(np.eye(3)[[0, 1, 2, 0]], [0, 1, 0, 1])
nc.metrics(accumulator, np.ones((2, 3)))
nc.measure(np.eye(3)[[0, 1, 2, 0]], [0, 1, 0, 1], np.eye(2, 3))
nc.predict([3, 2], widths=3, layer_decay=1e-3, feature_decay=1e-3).gram()
print('torch' in sys.modules, 'matplotlib' in sys.modules)
"""
    assert fresh(code) == "False False"


def test_has_types_and_a_version():
    import importlib.metadata
    import pathlib

    import ncollapse

    folder = pathlib.Path(ncollapse.__file__).parent
    assert (folder / "py.typed").exists() and (folder / "_native.pyi").exists()
    assert ncollapse.__version__ and importlib.metadata.version("ncollapse")
    assert all(hasattr(ncollapse, name) for name in ncollapse.__all__)
    for name in ("predict", "limits", "descend", "metrics", "measure", "measure_batches"):
        assert "Parameters" in getattr(ncollapse, name).__doc__, name


def test_stubs_name_what_is_there():
    import ast
    import pathlib

    import ncollapse
    from ncollapse import _native

    tree = ast.parse((pathlib.Path(ncollapse.__file__).parent / "_native.pyi").read_text())
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            theirs = {name for name in vars(getattr(_native, node.name)) if not name.startswith("_")}
            ours = {part.name for part in node.body if isinstance(part, ast.FunctionDef) and part.name != "__init__"}
            assert ours == theirs, node.name
    theirs = {name for name in dir(_native) if not name.startswith("_")}
    ours = {node.name for node in tree.body if isinstance(node, (ast.ClassDef, ast.FunctionDef))}
    assert ours == theirs
