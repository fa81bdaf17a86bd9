"""A workshop for every test of the loader."""

from pathlib import Path

import pytest

from tests.loader.build import Workshop


@pytest.fixture
def workshop(tmp_path: Path, compiler: str) -> Workshop:
    """Compiles small objects into a folder of this test."""
    return Workshop(folder=tmp_path, compiler=compiler)
