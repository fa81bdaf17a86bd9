"""A Python that starts otherwise than its environment wants, or does not come through its start."""

import os
import re

from envdoctor.api import (
    Code,
    Evidence,
    Findings,
    Interpreter,
    Layer,
    Severity,
    Site,
    Target,
    TorchAbsent,
    TorchImport,
    check,
    interpreters,
)

PYVENV_CFG_GONE = Code(
    id="ED115",
    name="pyvenv-cfg-gone",
    family="pyvenv-cfg-gone",
    severity=Severity.ERROR,
    topic="python",
    layer=Layer.INTERPRETER,
    breaks="import:torch",
    message="a virtual environment has lost its pyvenv.cfg",
    detailed="`{folder}` has lost its pyvenv.cfg, so that its Python is that of the base and does "
    "not read the packages there",
    explains=("ED400",),
)
LINK_PAST_ENVIRONMENT = Code(
    id="ED119",
    name="link-past-environment",
    family="link-past-environment",
    severity=Severity.ERROR,
    topic="python",
    layer=Layer.INTERPRETER,
    breaks="import:torch",
    message="a link to the Python of a virtual environment is not that environment",
    detailed="`{target}` is a link to the Python of `{folder}`, and started by it, Python is that "
    "of the base and does not read the packages there",
    explains=("ED400",),
)
SITE_FAILS = Code(
    id="ED116",
    name="python-site-fails",
    family="python-site-fails",
    severity=Severity.ERROR,
    topic="python",
    layer=Layer.INTERPRETER,
    breaks="import:torch",
    message="the start of Python ends in the module `site`",
    detailed="the start of Python ends in the module `site`, which reads .pth files: {text}",
)

_OF_SITE = "init_import_site"
_NO_UTF_8 = re.compile(r"UnicodeDecodeError: .*")
_LAST = re.compile(r"^\w[\w.]*(?:Error|Exception|Exit)\b.*", re.MULTILINE)
"""The line of a traceback that names the exception."""


@check(PYVENV_CFG_GONE)
def pyvenv_cfg_gone(
    absent: TorchAbsent, target: Target, interpreter: Interpreter, site: Site
) -> Findings:
    """The folder of the target has packages for this very Python, with torch, and no pyvenv.cfg.

    So it is where a copy or a rule of .gitignore left that one file out.
    """
    folder = os.path.dirname(os.path.dirname(target.path))
    own = "{}/lib/python{}.{}/".format(folder, *interpreter.version_info[:2])
    found = next((one for one in absent.elsewhere if one.startswith(own)), None)
    if not absent.absent or found is None or found == interpreter.user_site:
        return
    if interpreter.prefix == folder:
        return
    python = "{}/bin/python{}.{}".format(interpreter.base_prefix, *interpreter.version_info[:2])
    yield PYVENV_CFG_GONE.finding(
        folder=folder,
        evidence=(
            Evidence(label="torch", value=found, source="the folder of the target"),
            Evidence(label="sys.prefix", value=interpreter.prefix, source="the interpreter"),
        ),
        fixes=interpreters.with_pyvenv_cfg_again(site, python),
    )


@check(LINK_PAST_ENVIRONMENT)
def link_past_the_environment(
    absent: TorchAbsent, target: Target, interpreter: Interpreter
) -> Findings:
    """The target is a link from elsewhere to an environment's Python, and torch lies there.

    The only folder of this release of Python that is looked into and is none of its own is the one
    behind such a link.
    """
    end = "/lib/python{}.{}/site-packages".format(*interpreter.version_info[:2])
    mine = (os.path.dirname(os.path.dirname(target.path)), interpreter.prefix)
    found = [
        one.removesuffix(end)
        for one in absent.elsewhere
        if one.endswith(end) and one != interpreter.user_site
    ]
    behind = next((one for one in found if one not in (*mine, interpreter.base_prefix)), None)
    if not absent.absent or behind is None:
        return
    yield LINK_PAST_ENVIRONMENT.finding(
        target=target.path,
        folder=behind,
        evidence=(
            Evidence(label="torch", value=f"{behind}{end}", source="the folder behind the link"),
            Evidence(label="sys.prefix", value=interpreter.prefix, source="the interpreter"),
        ),
        fixes=(
            interpreters.try_in_target(
                f"{behind}/bin/python",
                "import torch",
                summary="start it by its own path; in place of the link a script that does so "
                "works as well",
            ),
        ),
        notes=("Python looks for pyvenv.cfg beside the path that it was started by (PEP 405)",),
    )


@check(SITE_FAILS)
def python_fails_in_site(imported: TorchImport, target: Target) -> Findings:
    """The interpreter exits before it begins, in what it does with .pth files.

    Python up to 3.12 reads them in the locale's encoding, and one line that is not ends it.
    """
    if imported.outcome != "exit" or _OF_SITE not in imported.output_tail:
        return
    encoding = _NO_UTF_8.search(imported.output_tail)
    last = _LAST.findall(imported.output_tail)
    text = encoding[0] if encoding else last[-1] if last else "it does not say why"
    folders = target.site_packages or (os.path.dirname(os.path.dirname(target.path)),)
    without = interpreters.try_without_site(target.path)
    yield SITE_FAILS.finding(
        text=text,
        evidence=(
            Evidence(label="it printed", value=imported.output_tail, source="the interpreter"),
        ),
        fixes=(interpreters.find_path_file_of_another_encoding(folders), without)
        if encoding
        else (without,),
    )
