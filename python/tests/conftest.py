import pathlib
import sys

import pytest

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE))


@pytest.fixture
def networks():
    """Arrays of networks with the numbers that other programs computed from them, those of the command's tests."""
    folder = ROOT / "cli" / "tests"
    if not folder.exists():
        pytest.skip("the networks of the command's tests are not here")
    return folder
