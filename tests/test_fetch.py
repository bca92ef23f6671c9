"""Files of PyPI releases: found as pip would, checked by hash, kept once."""

from __future__ import annotations

import errno
import hashlib
import multiprocessing
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from autodistill.errors import DataError, DiskError, ModelError
from autodistill.fetch import PYPI, fetch_from_pypi, pip_settings

CONTENT = b"a release" * 1000
SHA = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Pip is told nothing but what a test tells it."""
    import os

    for name in list(os.environ):
        if name.startswith("PIP_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("HOME", str(tmp_path))


class Index:
    """A simple index with one project, `thing`, of versions 1.0 and 2.0; counts the files it sent."""

    def __init__(self) -> None:
        self.sent = 0
        self.login = ""
        index = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *args: object) -> None:
                pass

            def do_GET(self) -> None:
                index.login = self.headers.get("Authorization", "")
                links = "".join(f'<a href="/files/thing-{version}.tar.gz#sha256={SHA}">x</a>' for version in ("1.0", "2.0"))
                links += '<a href="/files/thing-1.0-py3-none-any.whl">x</a>'
                pages = {
                    "/simple/thing/": links.encode(),
                    "/files/thing-1.0.tar.gz": CONTENT,
                    "/files/thing-1.0-py3-none-any.whl": b"wheel",
                }
                body = pages.get(self.path)
                index.sent += self.path.startswith("/files/") and body is not None
                self.send_response(200 if body is not None else 404)
                self.send_header("Content-Type", "text/html" if self.path.startswith("/simple") else "application/octet-stream")
                self.send_header("Content-Length", str(len(body or b"")))
                self.end_headers()
                self.wfile.write(body or b"")

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def index() -> Iterator[Index]:
    server = Index()
    yield server
    server.server.shutdown()
    server.server.server_close()


def test_fetched_once(index: Index, monkeypatch: pytest.MonkeyPatch, isolated_cache: Path) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", f"http://{index.address}/simple")
    path = fetch_from_pypi("thing", "1.0", "*.tar.gz", SHA)
    assert path.read_bytes() == CONTENT
    assert path.parent == isolated_cache / "downloads"
    assert fetch_from_pypi("thing", "1.0", "*.tar.gz", SHA) == path
    assert index.sent == 1
    assert not list(path.parent.glob("*.part"))


def test_another_file_than_the_expected_is_not_kept(index: Index, monkeypatch: pytest.MonkeyPatch, isolated_cache: Path) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", f"http://{index.address}/simple")
    with pytest.raises(ModelError, match=r"thing-1\.0-py3-none-any\.whl has the SHA-256 [0-9a-f]{16}…, expected"):
        fetch_from_pypi("thing", "1.0", "*.whl", SHA, error=ModelError)
    assert [file.suffix for file in (isolated_cache / "downloads").iterdir()] == [".lock"]


def test_what_was_tried_is_told(index: Index, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://someone:secret@127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", f"http://{index.address}/simple file://{tmp_path}/nothing")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "gone"))
    with pytest.raises(DataError) as caught:
        fetch_from_pypi("thing", "3.0", "*.tar.gz", SHA)
    text = str(caught.value)
    assert "thing 3.0 could not be fetched" in text
    assert "http://***@127.0.0.1:9/simple: ConnectError" in text
    assert "secret" not in text
    assert f"http://{index.address}/simple: has no thing 3.0" in text
    assert "gone: ValueError: Invalid find link" in text
    assert "Check the network, or name an index" in text
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS")
    with pytest.raises(DataError, match="no index: pip is told --no-index"):
        fetch_from_pypi("thing", "3.0", "*.tar.gz", SHA)


def test_a_dead_index_does_not_hide_another(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", f"http://{index.address}/simple")
    assert fetch_from_pypi("thing", "1.0", "*.tar.gz", SHA).read_bytes() == CONTENT


def test_a_file_that_the_index_names_but_does_not_have(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", f"http://{index.address}/simple")
    with pytest.raises(DataError, match="Download failed: .*404"):
        fetch_from_pypi("thing", "2.0", "*.tar.gz", SHA)


def test_user_and_password_of_an_index_are_sent(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", f"http://someone:secret@{index.address}/simple")
    fetch_from_pypi("thing", "1.0", "*.tar.gz", SHA)
    assert index.login == "Basic c29tZW9uZTpzZWNyZXQ="


def test_a_folder_of_files_is_a_source(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    links = tmp_path / "links"
    links.mkdir()
    (links / "thing-1.0.tar.gz").write_bytes(CONTENT)
    monkeypatch.setenv("PIP_FIND_LINKS", str(links))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    assert fetch_from_pypi("thing", "1.0", "*.tar.gz", SHA).read_bytes() == CONTENT
    assert (links / "thing-1.0.tar.gz").is_file()


def test_settings_of_pip(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert pip_settings().indexes == (PYPI,)
    file = tmp_path / "pip.conf"
    file.write_text(
        "[global]\nindex-url = https://one/simple\ncert = /some.pem\ntrusted-host = one\n[install]\nextra_index_url =\n  https://two\n  https://three\n"
    )
    monkeypatch.setenv("PIP_CONFIG_FILE", str(file))
    settings = pip_settings()
    assert settings.indexes == ("https://one/simple", "https://two", "https://three")
    assert (settings.cert, settings.trusted_hosts) == ("/some.pem", ("one",))
    monkeypatch.setenv("PIP_INDEX_URL", "https://four/simple")
    assert pip_settings().indexes[0] == "https://four/simple"


def test_a_cert_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_CERT", "/no/such.pem")
    with pytest.raises(DataError, match=r"pip's setting cert names /no/such\.pem, which cannot be read"):
        fetch_from_pypi("thing", "1.0", "*.tar.gz", SHA)


def test_a_cache_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("AUTODISTILL_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError, match="cannot be kept in .*set AUTODISTILL_CACHE to a folder that can be written"):
        fetch_from_pypi("thing", "1.0", "*.tar.gz", SHA)


def test_a_full_disk_is_not_the_fault_of_an_index(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setenv("PIP_INDEX_URL", f"http://{index.address}/simple")
    monkeypatch.setattr("unearth.PackageFinder.download", full)
    with pytest.raises(DiskError, match=r"No space left on device\. Make room or give another cache folder with AUTODISTILL_CACHE$"):
        fetch_from_pypi("thing", "1.0", "*.tar.gz", SHA)


def _fetch(_: int) -> str:
    return str(fetch_from_pypi("thing", "1.0", "*.tar.gz", SHA))


@pytest.mark.slow
def test_processes_at_once_fetch_once(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", f"http://{index.address}/simple")
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert len(set(pool.map(_fetch, range(2), chunksize=1))) == 1
    assert index.sent == 1


@pytest.mark.slow
def test_pypi_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PIP_CONFIG_FILE")
    path = fetch_from_pypi("vaderSentiment", "3.3.2", "*.tar.gz", "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9")
    assert path.stat().st_size == 2466783
