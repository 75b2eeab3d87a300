"""Links of pages to files outside of docs/, which GitHub follows and a site cannot.

A picture becomes a file of the site. Anything else becomes a link to the repository, if it is there.
"""

from __future__ import annotations

import logging
import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

logger = logging.getLogger("mkdocs.hooks.repository_links")

_FENCED = re.compile(r"^(```.*?^```)", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"(\]\()([^)\s#]*)(#[^)\s]*)?(\))")
_PICTURES = {".png", ".jpg", ".svg"}


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Rewrite the links of a page that lead out of docs/.

    Args:
        markdown: the text of the page.
        page: the page.
        config: of the site.
        files: of the site; pictures of the repository are added.
    """
    repository = Path(config.config_file_path).parent
    folder = Path(config.docs_dir).relative_to(repository).joinpath(page.file.src_uri).parent

    def rewritten(match: re.Match[str]) -> str:
        target, anchor = match[2], match[3] or ""
        place = posixpath.normpath(posixpath.join(folder.as_posix(), target))
        if not target or ":" in target or target.startswith("/") or not _leaves(place, config, repository):
            return match[0]
        path = repository / place
        if not path.exists():
            logger.warning("'%s' links to '%s', which is not in the repository", page.file.src_uri, target)
        if path.suffix in _PICTURES:
            _add_picture(place, repository, config, files)
            return f"{match[1]}{posixpath.relpath(place, posixpath.dirname(page.file.src_uri) or '.')}{match[4]}"
        kind = "tree" if path.is_dir() else "blob"
        return f"{match[1]}{(config.repo_url or '').rstrip('/')}/{kind}/main/{place}{anchor}{match[4]}"

    parts = _FENCED.split(markdown)
    return "".join(part if part.startswith("```") else _LINK.sub(rewritten, part) for part in parts)


def _leaves(place: str, config: MkDocsConfig, repository: Path) -> bool:
    """Whether a path of the repository is no page or picture of the site: a folder, or outside of docs/."""
    docs = Path(config.docs_dir).relative_to(repository).as_posix()
    return not place.startswith(f"{docs}/") or (repository / place).is_dir()


def _add_picture(place: str, repository: Path, config: MkDocsConfig, files: Files) -> None:
    if files.get_file_from_path(place) is None:
        files.append(File(place, str(repository), config.site_dir, config.use_directory_urls))
