"""What the site adds to the pages in docs/: pages of the repository's root, and links that leave it.

A page links to files as they lie in the checkout, so that links work where the repository is read.
On the site a link that leaves docs/ leads to ``repo_url``; where none is set, the path is printed.
"""

from __future__ import annotations

import posixpath
import re
from typing import Any

from mkdocs.structure.files import File

ROOT_PAGES = {
    "changelog.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
    "security.md": "SECURITY.md",
}
_LINK = re.compile(r"(?<!!)\[(?P<text>[^\]\[]+)\]\((?P<target>[^)\s]+)\)")
_REPO_SUFFIX = "/blob/HEAD/"


def on_files(files: Any, *, config: Any) -> Any:
    """Add the pages that lie in the root of the repository."""
    from pathlib import Path

    root = Path(config.config_file_path).parent
    for page, source in ROOT_PAGES.items():
        files.append(File.generated(config, page, content=(root / source).read_text("utf-8")))
    return files


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Any) -> str:
    """Rewrite the links of one page."""
    del files
    name = page.file.src_uri
    repository_path = ROOT_PAGES.get(name, f"docs/{name}")
    return _LINK.sub(lambda link: rewrite(link, name, repository_path, config.repo_url), markdown)


def rewrite(link: re.Match[str], page: str, repository_path: str, repo_url: str | None) -> str:
    """One link as the site shows it.

    Args:
        link: ``[text](target)``.
        page: path of the page in the site, as in ``integrate/ios.md``.
        repository_path: path of its source in the repository.
        repo_url: of the repository, if it is known.
    """
    text, target = link["text"], link["target"]
    if target.startswith("#") or ":" in target:
        return link[0]
    path, _, anchor = target.partition("#")
    there = posixpath.normpath(posixpath.join(posixpath.dirname(repository_path), path))
    pages = {source: site for site, source in ROOT_PAGES.items()}
    if there in pages or there.startswith("docs/"):
        inside = pages.get(there, there.removeprefix("docs/"))
        relative = posixpath.relpath(inside, posixpath.dirname(page) or ".")
        return f"[{text}]({relative}{'#' + anchor if anchor else ''})"
    if repo_url:
        return f"[{text}]({repo_url.rstrip('/')}{_REPO_SUFFIX}{there})"
    return text if there in text else f"{text} (`{there}`)"
