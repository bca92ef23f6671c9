"""The machine as a search sees it, beside what its libraries say."""

from __future__ import annotations

import types
from collections.abc import Iterator

import pynvml
import pytest

from autodistill.environment import cores, gpu_free_bytes, gpu_names

GPUS = {"GPU-aa": "NVIDIA H100", "GPU-bb": "NVIDIA L4", "MIG-cc": "NVIDIA H100 MIG 1g.10gb"}


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """NVML of a machine with two GPUs, and a slice that is reached by its UUID alone."""

    def by_index(index: int) -> str:
        if index > 1:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_INVALID_ARGUMENT)
        return list(GPUS.values())[index]

    def by_uuid(uuid: str) -> str:
        if uuid not in GPUS:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
        return GPUS[uuid]

    changes = {
        "nvmlInit": lambda: None,
        "nvmlShutdown": lambda: None,
        "nvmlDeviceGetCount": lambda: 2,
        "nvmlDeviceGetHandleByIndex": by_index,
        "nvmlDeviceGetHandleByUUID": by_uuid,
        "nvmlDeviceGetName": lambda handle: handle,
        "nvmlDeviceGetMemoryInfo": lambda handle: types.SimpleNamespace(free=1000 * len(handle)),
    }
    for name, value in changes.items():
        monkeypatch.setattr(pynvml, name, value)
    gpu_names.cache_clear()
    yield
    gpu_names.cache_clear()


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        (None, ("NVIDIA H100", "NVIDIA L4")),
        ("1", ("NVIDIA L4",)),
        ("1, 0", ("NVIDIA L4", "NVIDIA H100")),
        ("GPU-bb", ("NVIDIA L4",)),
        ("MIG-cc", ("NVIDIA H100 MIG 1g.10gb",)),
        ("0,7,1", ("NVIDIA H100",)),  # CUDA stops at the first that there is not
        ("-1", ()),
        ("", ()),
    ],
)
def test_gpus_are_those_that_cuda_would_show(
    visible: str | None, expected: tuple[str, ...], two_gpus: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert gpu_names() == expected
    assert gpu_free_bytes() == tuple(1000 * len(name) for name in expected)


def test_a_machine_without_a_driver_has_no_gpus(two_gpus: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def init() -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    monkeypatch.setattr(pynvml, "nvmlInit", init)
    assert gpu_names() == gpu_free_bytes() == ()


def test_cores_heed_what_is_asked_of_joblib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")
    assert cores() == 1
