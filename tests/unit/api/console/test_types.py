"""The types of the console's modules, by TypeScript's compiler, where there is one."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from api.console.files import STATIC


def test_types_fit() -> None:
    compiler = os.environ.get("TSC") or shutil.which("tsc")
    if compiler is None:
        pytest.skip("no tsc on this machine (npm install -g typescript)")
    done = subprocess.run([compiler, "-p", str(Path(STATIC).parent)], capture_output=True, text=True, timeout=120)
    assert done.stdout == ""
    assert done.returncode == 0
