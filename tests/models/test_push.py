"""A student on the hub: a small local server stands for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hub_server import NOWHERE, hub

from autodistill.cli.main import main
from autodistill.errors import RunError, UsageError
from autodistill.export.push import push_to_hub


@pytest.fixture
def student(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HF_TOKEN", "hf_right")
    folder = tmp_path / "student"
    (folder / "onnx").mkdir(parents=True)
    for name, content in {
        "student.json": b"{}",
        "README.md": b"---\nlicense: mit\n---\n# A student\n",
        "onnx/model.onnx": b"\x00\xff",
    }.items():
        (folder / name).write_bytes(content)
    return folder


def test_a_student_is_uploaded_with_its_card_and_its_exports(
    student: Path, hub_at: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    models: dict[str, dict[str, bytes]] = {}
    with hub({}, models=models, token="hf_right") as endpoint:
        hub_at(endpoint)
        assert main(["push", str(student), "me/small"]) == 0
        assert capsys.readouterr().out.splitlines()[-1] == f"{endpoint}/me/small"
        assert models == {"me/small": {str(file.relative_to(student)): file.read_bytes() for file in student.rglob("*") if file.is_file()}}
        (student / "README.md").write_text("---\nlicense: mit\n---\n# Again\n")
        push_to_hub(student, "me/small")
    assert models["me/small"]["README.md"].endswith(b"# Again\n")


def test_what_cannot_be_uploaded_says_why(student: Path, hub_at: Callable[[str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("small", "me/sm all", "me/a/b"):
        with pytest.raises(UsageError, match="it should be OWNER/NAME"):
            push_to_hub(student, name)
    with pytest.raises(UsageError, match="it has no student.json"):
        push_to_hub(student / "onnx", "me/small")
    with hub({}, models={}, token="hf_other") as endpoint:
        hub_at(endpoint)
        with pytest.raises(UsageError, match=r"refuses to write me/small \(401\): its token is not valid"):
            push_to_hub(student, "me/small")
    hub_at(NOWHERE)
    with pytest.raises(RunError, match=r"cannot be reached \(ConnectError\)"):
        push_to_hub(student, "me/small")
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    with pytest.raises(UsageError, match="no token of the Hugging Face hub; log in with `hf auth login`, or set HF_TOKEN"):
        push_to_hub(student, "me/small")
