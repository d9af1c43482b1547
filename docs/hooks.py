"""What the site adds to docs/: pages of the repository's root, and links that leave the folder.

A page links to files as they lie in the checkout, so that links work where the repository is read.
On the site a link that leaves docs/ leads to ``repo_url``; where none is set, the path is printed.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT_PAGES = {
    "changelog.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
    "security.md": "SECURITY.md",
}
_LINK = re.compile(r"(?<!!)\[(?P<text>[^\]\[]+)\]\((?P<target>[^)\s]+)\)")


def on_files(files: Any, *, config: Any) -> Any:
    """Add the pages that lie in the root of the repository."""
    root = Path(config.config_file_path).parent
    for page, source in ROOT_PAGES.items():
        files.append(File.generated(config, page, content=(root / source).read_text("utf-8")))
    return files


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Any) -> str:
    """Rewrite the links of one page."""
    del files
    return rewritten(markdown, page.file.src_uri, config.repo_url)


def rewritten(markdown: str, page: str, repo_url: str | None) -> str:
    """A page's text with its links as the site has them.

    Args:
        markdown: links are relative to the page's source in the repository.
        page: path of the page in the site, as in ``integrate/ios.md``.
        repo_url: of the repository, if it is known.
    """
    source = ROOT_PAGES.get(page, f"docs/{page}")
    pages = {path: site for site, path in ROOT_PAGES.items()}

    def rewrite(link: re.Match[str]) -> str:
        text, target = link["text"], link["target"]
        if target.startswith("#") or ":" in target:
            return link[0]
        path, _, anchor = target.partition("#")
        there = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        if there in pages or there.startswith("docs/"):
            inside = pages.get(there, there.removeprefix("docs/"))
            relative = posixpath.relpath(inside, posixpath.dirname(page) or ".")
            return f"[{text}]({relative}{'#' + anchor if anchor else ''})"
        if repo_url:
            return f"[{text}]({repo_url.rstrip('/')}/blob/HEAD/{there})"
        return text if there in text else f"{text} (`{there}`)"

    return _LINK.sub(rewrite, markdown)
