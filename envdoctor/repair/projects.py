"""The words of managers that keep a project: what is installed is entered in a file of it.

Sources: the manuals of uv (projects, indexes), Poetry (package sources), PDM (package indexes;
`pdm sync`), Pipenv (specifying package indexes) and pixi (PyPI dependencies with an index; `pixi
reinstall`). All but pixi were run against a small index: uv 0.13, Poetry 2.5, PDM 2.29, Pipenv
2026.10.
"""

from collections.abc import Iterable, Mapping

from envdoctor.repair.changes import Batch, Change
from envdoctor.repair.manager import Lines, Manager, names_in, split_requirement
from envdoctor.repair.pip_interface import PIP, UV
from envdoctor.repair.site import Site
from envdoctor.shell import assignment, command


def _of_project(site: Site, option: str) -> tuple[str, ...]:
    """The option that names the project, where its folder is known."""
    return (option, site.project) if site.project else ()


def _in_project(site: Site) -> Lines:
    """Where to run what follows, if it could not be said by an option."""
    if site.project is None:
        yield f"# in the project of {_on_one_line(site.target)}"


def _on_one_line(path: str) -> str:
    """A path for a comment, which ends with its line."""
    return path if path.isprintable() else repr(path)


def _uv_project(site: Site, change: Change) -> Lines:
    """The index is entered as explicit: uv would take numpy and all else from it as well."""
    project = _of_project(site, "--project")
    for batch in change.batches:
        if batch.source is not None:
            yield f"# in {_on_one_line(f'{site.project}/pyproject.toml')}:"
            yield "#   [[tool.uv.index]]"
            yield f'#   name = "{batch.source.name}"'
            yield f'#   url = "{batch.source.url}"'
            yield "#   explicit = true"
            yield "#   [tool.uv.sources]"
            for name in names_in(batch.requirements):
                yield f'#   {name} = {{ index = "{batch.source.name}" }}'
    if change.dropped:
        yield command("uv", "remove", *project, *change.dropped)
    wanted = [one for batch in change.batches for one in batch.requirements]
    if wanted:
        yield command("uv", "add", *project, *wanted)


def _uv_again(site: Site, batch: Batch) -> Lines:
    names = names_in(batch.requirements)
    again = [word for name in names for word in ("--reinstall-package", name)]
    yield command("uv", "sync", *_of_project(site, "--project"), "--inexact", *again)


def _uv_sync(site: Site) -> Lines:
    yield command("uv", "sync", *_of_project(site, "--project"), "--inexact")


def _poetry(site: Site, change: Change) -> Lines:
    poetry = ("poetry", *_of_project(site, "--directory"))
    lines: list[str] = []
    if change.dropped:
        lines.append(command(*poetry, "remove", *change.dropped))
    for batch in change.batches:
        source = batch.source
        taken = ("--source", source.name) if source else ()
        if source is not None:
            words = ("source", "add", "--priority=explicit", source.name, source.url)
            lines.append(command(*poetry, *words))
        lines.append(command(*poetry, "add", *taken, *batch.requirements))
    if lines:
        yield from _in_project(site)
        yield from lines


def _poetry_again(site: Site, batch: Batch) -> Lines:
    yield from PIP.uninstall(site, names_in(batch.requirements))
    yield from _poetry_sync(site)


def _poetry_sync(site: Site) -> Lines:
    yield from _in_project(site)
    yield command("poetry", *_of_project(site, "--directory"), "install")


def _pdm(site: Site, change: Change) -> Lines:
    project = _of_project(site, "--project")
    lines: list[str] = []
    if change.dropped:
        lines.append(command("pdm", "remove", *project, *change.dropped))
    for batch in change.batches:
        source = batch.source
        if source is not None:
            key = f"pypi.{source.name}.url"
            lines.append(command("pdm", "config", *project, "--local", key, source.url))
        lines.append(command("pdm", "add", *project, *_with_local(batch)))
    if lines:
        yield from _in_project(site)
        yield from lines


def _with_local(batch: Batch) -> tuple[str, ...]:
    """Requirements that only that source meets: to PDM all sources are equal."""
    local = f"+{batch.source.local}" if batch.source and batch.source.local else ""
    return tuple(
        one + local if "==" in one and "+" not in one else one for one in batch.requirements
    )


def _pdm_again(site: Site, batch: Batch) -> Lines:
    """PDM cannot be asked for one package alone."""
    yield from _pdm_sync(site, "--reinstall")


def _pdm_without(site: Site, names: tuple[str, ...]) -> Lines:
    """PDM's environments have no pip; it takes out itself what its lock does not list."""
    yield from _pdm_sync(site, "--clean")


def _pdm_sync(site: Site, *options: str) -> Lines:
    yield from _in_project(site)
    yield command("pdm", "sync", *_of_project(site, "--project"), *options)


def _pipenv(site: Site, change: Change) -> Lines:
    """Pipenv leaves `torch==2.6.0` where it is, whichever build it is, as pip does."""
    lines: list[str] = []
    if change.dropped:
        lines.append(_pipenv_line(site, "uninstall", *change.dropped))
    again = [one for batch in change.batches if batch.again for one in batch.requirements]
    evicted = tuple(dict.fromkeys((*change.evicted, *names_in(again))))
    if evicted:
        lines += PIP.uninstall(site, evicted)
    for batch in change.batches:
        index = ("--index", batch.source.url) if batch.source else ()
        lines.append(_pipenv_line(site, "install", *index, *batch.requirements))
    if lines:
        yield from _in_project(site)
        yield from lines


def _pipenv_again(site: Site, batch: Batch) -> Lines:
    yield from PIP.uninstall(site, names_in(batch.requirements))
    yield from _pipenv_sync(site)


def _pipenv_sync(site: Site) -> Lines:
    yield from _in_project(site)
    yield _pipenv_line(site, "sync")


def _pipenv_line(site: Site, *words: str) -> str:
    where = assignment("PIPENV_PIPFILE", f"{site.project}/Pipfile") + " " if site.project else ""
    return where + command("pipenv", *words)


def _pixi(site: Site, change: Change) -> Lines:
    """The index of a PyPI dependency is named in the manifest alone; what needs none is added."""
    manifest = _of_project(site, "--manifest-path")
    entered = [batch for batch in change.batches if batch.source is not None]
    added = [one for batch in change.batches if not batch.source for one in batch.requirements]
    if entered:
        yield from _pixi_entries(site, entered)
    elif added or change.dropped:
        yield from _in_project(site)
    for name in change.dropped:
        yield command("pixi", "remove", *manifest, "--pypi", name)
    if added:
        yield command("pixi", "add", *manifest, "--pypi", *added)
    elif entered:
        yield command("pixi", "install", *manifest)


def _pixi_entries(site: Site, batches: Iterable[Batch]) -> Lines:
    file = f"{site.project}/pixi.toml" if site.project else f"pixi.toml of {site.target}"
    yield f"# in {_on_one_line(file)}, under [pypi-dependencies]:"
    for batch in batches:
        url = batch.source.url if batch.source else ""
        for name, version in map(split_requirement, batch.requirements):
            yield f'#   {name} = {{ version = "{version}", index = "{url}" }}'


def _pixi_sync(site: Site) -> Lines:
    yield from _in_project(site)
    yield command("pixi", "install", *_of_project(site, "--manifest-path"))


def _pixi_again(site: Site, batch: Batch) -> Lines:
    environment = (site.prefix or "").partition("/.pixi/envs/")[2]
    where = ("--environment", environment) if environment not in ("", "default") else ()
    yield from _in_project(site)
    manifest = _of_project(site, "--manifest-path")
    yield command("pixi", "reinstall", *manifest, *where, *names_in(batch.requirements))


PROJECTS: Mapping[str, Manager] = {
    "uv-project": Manager(
        change=_uv_project, reinstall=_uv_again, uninstall=UV.uninstall, sync=_uv_sync
    ),
    "pixi": Manager(change=_pixi, reinstall=_pixi_again, uninstall=PIP.uninstall, sync=_pixi_sync),
    "poetry": Manager(
        change=_poetry, reinstall=_poetry_again, uninstall=PIP.uninstall, sync=_poetry_sync
    ),
    "pdm": Manager(change=_pdm, reinstall=_pdm_again, uninstall=_pdm_without, sync=_pdm_sync),
    "pipenv": Manager(
        change=_pipenv, reinstall=_pipenv_again, uninstall=PIP.uninstall, sync=_pipenv_sync
    ),
}
"""By their names."""
