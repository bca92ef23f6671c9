from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # the tests' tensors are small: more threads only wait for each other


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Modules with slow tests come first, so that no process is left alone with them at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(autouse=True)
def isolated_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test has a cache folder of its own, and sees no local mirrors that it did not make."""
    cache = tmp_path / "cache"
    monkeypatch.setenv("AUTODISTILL_CACHE", str(cache))
    monkeypatch.delenv("AUTODISTILL_DATA", raising=False)
    return cache


@pytest.fixture
def float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models compute in float32, so that their outputs can be compared with those of other libraries."""
    monkeypatch.setenv("AUTODISTILL_PRECISION", "float32")


@pytest.fixture(scope="module")
def one_ray(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One Ray for all searches of a module: a search uses the one that runs."""
    from autodistill.settings import SearchSettings
    from autodistill.tuning.ray_backend import ray_running

    folder = tmp_path_factory.mktemp("ray")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUTODISTILL_CACHE", str(folder / "cache"))
        with ray_running(SearchSettings(dataset="d", studies_dir=str(folder), workers=1)):
            yield


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MB, where one can be mounted."""
    place = tmp_path / "disk"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], capture_output=True, check=False).returncode:
        pytest.skip("no tmpfs can be mounted here")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)
