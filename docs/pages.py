"""A hook of the site (mkdocs.yml): README.md is its first page, and files that pages link to outside docs/ are below repository/.

So links are written once, for readers of the repository.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!\w+:|#)([^)\s#]+)(#[^)\s]*)?\)")
SHOWN = {".md", ".html", ".yaml", ".svg", ".png", ".py", ".ipynb"}


def target_of(source: Path, link: str) -> Path | None:
    """The file that a link of a page means; of a folder its README.md. None if the site has nothing to show for it."""
    path = (source.parent / link).resolve()
    path = path / "README.md" if path.is_dir() else path
    return path if path.is_file() and path.suffix in SHOWN else None


def uri_of(path: Path) -> str:
    """A file's address on the site, before its suffix is changed."""
    if path == ROOT / "README.md":
        return "index.md"
    return path.relative_to(DOCS).as_posix() if path.is_relative_to(DOCS) else f"repository/{path.relative_to(ROOT).as_posix()}"


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add README.md, and what pages link to outside docs/."""
    waiting = [Path(file.abs_src_path) for file in files.documentation_pages() if file.abs_src_path]
    waiting += [ROOT / "README.md", ROOT / "examples" / "README.md"]
    while waiting:
        path = waiting.pop()
        if files.get_file_from_path(uri_of(path)) is None:
            files.append(File.generated(config, uri_of(path), abs_src_path=str(path)))
        if path.suffix != ".md":
            continue
        linked = [target_of(path, link) for _, _, link, _ in LINK.findall(path.read_text(encoding="utf-8"))]
        waiting += [item for item in linked if item is not None and files.get_file_from_path(uri_of(item)) is None]
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links to where their files are on the site; a link to what the site lacks becomes its text."""
    source = Path(page.file.abs_src_path or ROOT)

    def moved(match: re.Match[str]) -> str:
        image, text, link, anchor = match.groups()
        target = target_of(source, link)
        if target is None:
            return text
        place = posixpath.relpath(uri_of(target), posixpath.dirname(page.file.src_uri) or ".")
        return f"{image}[{text}]({place}{anchor or ''})"

    return LINK.sub(moved, markdown)


def on_page_content(html: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Docstrings name the settings in one place (`option.takes`); on the site they are the keywords of the signature."""
    return html.replace("{settings}", "the keywords are described in Settings")
