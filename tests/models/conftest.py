from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hub_server import NOWHERE


@pytest.fixture
def hub_at(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """Sets the endpoint that is taken for the hub; its cache is empty at first, and kept between calls."""
    import huggingface_hub.constants as constants
    from huggingface_hub import hf_api

    original = hf_api.HfApi.__init__
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))

    def point(endpoint: str) -> None:
        monkeypatch.setattr(constants, "ENDPOINT", endpoint)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", endpoint + "/{repo_id}/resolve/{revision}/{filename}")
        monkeypatch.setattr(
            hf_api.HfApi, "__init__", lambda self, *args, **kwargs: original(self, *args, **(kwargs | {"endpoint": endpoint}))
        )

    return point


@pytest.fixture
def no_hub(hub_at: Callable[[str], None]) -> None:
    """There is no hub."""
    hub_at(NOWHERE)
