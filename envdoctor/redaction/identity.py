"""Who somebody is, and on which machine: homes, users, hosts, addresses, serial numbers.

Each gets a placeholder with a number, so that a reader still tells two of them apart. What a fix
needs stays: identifiers of GPUs, PCI addresses, versions, hashes.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping

from envdoctor.controls import without_surrogates
from envdoctor.record import Record
from envdoctor.redaction.secrets import Rule
from envdoctor.shell import quote

_ENDS = r"(?![\w@+\udc80-\udcff-]|\.\w)"
"""What follows a whole name: `/home/ann` is not in `/home/anna`, nor in `/home/ann.old`, and bytes
that are not UTF-8 (PEP 383) go on with it."""

_BEGINS = r"(?:(?<![\w.~-])|(?<=-[A-Za-z])|(?<=-isystem)|(?<=-iquote)|(?<=-idirafter))"
"""What comes before a path: nothing of a longer one, or an option of a compiler."""

_SLASHES = r"(?:(?<=:/)/(?=/)|(?!(?<=:)///)(?<!:/)/+)"
"""The slashes that a path begins with: one or more, but those of `file:///` are two and one."""

_NAME = r"[^\s/\\'\"`:;,()\[\]{}<>|&*$]*[^\s/\\'\"`:;,()\[\]{}<>|&*$.!?]"

_SHARED_NAMES = (
    " root user users guest ubuntu debian fedora centos rocky alma admin administrator ec2-user"
    " azureuser opc jovyan runner vscode codespace gitpod jenkins docker nobody nvidia cuda torch"
    " pytorch python python3 conda miniconda miniconda3 anaconda anaconda3 mamba micromamba test"
    " tests build app home work workspace data lib lib64 bin opt usr var tmp etc mnt media proc sys"
    " dev run src site share local scratch shared public nfs linuxbrew colab kaggle sagemaker-user"
    " dgx gpu node host server localhost www-data envdoctor site-packages dist-packages include"
    " checks nvml nccl cudnn triton numpy "
)
"""Names of users that many machines have, and of folders: they tell nobody from another."""


_USERS = {"USER": "<user>", "LOGNAME": "<login-user>", "SUDO_USER": "<sudo-user>"}
"""Variables that hold a name of the user, and what stands in place of it."""


def _is_shared(name: str) -> bool:
    return f" {name.lower()} " in _SHARED_NAMES


class Person(Record):
    """Who uses the doctor, and where. `users` are the variables of the environment that hold a
    name of the user, with the name."""

    homes: tuple[str, ...] = ()
    users: Mapping[str, str] = {}
    host: str = ""


def this_person() -> Person:
    """The user of this process. Asks no directory service, which can hang."""
    home = os.path.expanduser("~")
    users = {name: os.environ[name] for name in _USERS if os.environ.get(name)}
    customary = {f"/home/{name}" for name in users.values()}
    homes = {home, os.path.realpath(home), *(one for one in customary if _is_same(one, home))}
    return Person(homes=tuple(homes), users=users, host=os.uname().nodename)


def variables_of(person: Person) -> dict[str, str]:
    """Placeholders of the user's own names, each with the variable that the shell puts there."""
    return {_USERS[variable]: f"${variable}" for variable in person.users}


def _is_same(folder: str, home: str) -> bool:
    try:
        return os.path.samefile(folder, home)
    except (OSError, ValueError):
        return False


class Placeholders:
    """The names that were replaced in one document, each with its number."""

    def __init__(self) -> None:
        self._known: dict[str, dict[str, str]] = {}

    def of(self, kind: str, name: str) -> str:
        """`<kind-1>` for the first name of a kind."""
        known = self._known.setdefault(kind, {})
        return known.setdefault(name, f"<{kind}-{len(known) + 1}>")


def identity_rules(person: Person, placeholders: Placeholders) -> Iterator[Rule]:
    """The rules for all that identifies somebody; the person's own names come first."""
    yield from _own_homes(person.homes)
    yield from _users({name: _USERS[one] for one, name in reversed([*person.users.items()])})
    yield from _other_homes(placeholders)
    yield from _host(person.host, placeholders)
    yield from _addresses(placeholders)


def _own_homes(homes: Iterable[str]) -> Iterator[Rule]:
    """Also as a command has them, with quotes around each part that needs some."""
    bare = [home.rstrip("/") for home in homes]
    spelled = {
        spelling
        for home in bare
        if len(home) > 1
        for spelling in (
            home,
            without_surrogates(home),
            quote(without_surrogates(home)),
            quote(home),
        )
    }
    for home in sorted(spelled, key=len, reverse=True):
        parts = r"/+(?:\./+)*".join(map(re.escape, home.strip("/").split("/")))
        last = home.rsplit("/", 1)[1].lower()
        yield Rule(hints=(last,), pattern=rf"{_BEGINS}{_SLASHES}{parts}{_ENDS}", replacement="~")


def _other_homes(placeholders: Placeholders) -> Iterator[Rule]:
    """Homes of people as Linux, macOS and Windows lay them out, also below a mount (`/mnt/c`).

    /home/linuxbrew (docs.brew.sh), /home/kubernetes (Container-Optimized OS), /Users/Shared and
    /Users/Public belong to nobody.
    """

    def other_home(found: re.Match[str]) -> str:
        return f"{found['before']}{placeholders.of('user', found['name'])}"

    yield Rule(
        hints=("/home/", "/users/", "\\users\\"),
        pattern=rf"(?P<before>(?:{_BEGINS}(?!/usr/)(?:/+[\w.-]+){{0,2}}?/+(?:home|[Uu]sers)/+"
        r"|\b[A-Za-z]:\\+Users\\+)(?:(?P<letter>[a-z])/+(?=(?P=letter)))?)"
        rf"(?!(?:linuxbrew|kubernetes|Shared|Public|Default)(?:[/\\]|$))(?P<name>{_NAME})",
        replacement=other_home,
    )
    yield Rule(
        hints=("/root",),
        pattern=rf"{_BEGINS}(?P<before>{_SLASHES})(?P<name>root){_ENDS}",
        replacement=other_home,
    )
    yield Rule(
        hints=("~",),
        pattern=r"(?P<before>(?<=[:=\s])~)(?P<name>[a-z_][\w-]*)(?=/)",
        replacement=other_home,
    )


_BEFORE_USER = (
    r"\b(?:user(?:name)?|owner|owned by|belongs to|login|account|uid)(?:[ =(]|: ?)['\"`(]?"
)


def _users(users: Mapping[str, str]) -> Iterator[Rule]:
    """A name of a user where one stands: as a part of a path, before an `@`, after `user`."""
    for name, placeholder in users.items():
        if len(name) < 2 or _is_shared(name):
            continue
        bare = "|".join(map(re.escape, {name, without_surrogates(name)}))
        bare = f"(?:{bare})"
        yield Rule(
            hints=(name.lower(),),
            pattern=rf"(?P<before>{_BEFORE_USER}|/(?:torchinductor_)?|(?<![\w.@/-])(?={bare}@)){bare}"
            r"(?=['\"`:;,.)\]]*(?:[@/\s]|\Z))",
            replacement=rf"\g<before>{placeholder}",
        )


def _host(nodename: str, placeholders: Placeholders) -> Iterator[Rule]:
    """The name of this machine, and names in addresses that are private by their ending.

    A name like `titan` or `a100` is also a word: it counts where a host stands only.
    """
    short = nodename.partition(".")[0]
    if len(short) >= 2 and not _is_shared(short):
        bare = re.escape(short)
        anywhere = len(short) >= 8 and re.search(r"[\d-]", short) is not None
        domain = r"(?:\.[a-z][\w-]*)*"
        yield Rule(
            hints=(short.lower(),),
            pattern=rf"(?<![\w.-]){bare}{domain}(?![\w-])"
            if anywhere
            else rf"(?:(?<=@)|(?<=://)){bare}{domain}(?=[:/\s'\"]|\Z)"
            rf"|(?<![\w.-]){bare}{domain}(?=:\d{{2,5}}\b)"
            rf"|(?:(?<=host )|(?<=host=)|(?<=hostname )|(?<=node )|(?<=host: )|(?<=host ['`\"]))"
            rf"{bare}{domain}(?![\w-])",
            replacement="<host>",
        )
    yield Rule(
        # Endings that no public name has (RFC 6762, appendix G; RFC 8375; internal: ICANN 2024).
        hints=(".local", ".internal", ".intranet", ".lan", ".corp", ".private", ".home"),
        pattern=r"(?i)(?:(?<=://)|(?<=@))[\w.-]+\.(?:local|internal|intranet|lan|corp|private"
        r"|home|home\.arpa|localdomain)(?![\w-]|\.\w)",
        replacement=lambda found: placeholders.of("host", found[0].lower()),
    )


_MAIL = (
    r"(?<![\w.+/-])(?!git@)[\w.+-]+@(?!\d)(?:[A-Za-z0-9-]+\.)+"
    r"(?!(?:so|py|service|socket|target|whl|dist|conf|cfg|toml|json|git|d|mount|slice)(?![\w-]))"
    r"[A-Za-z]{2,}(?![\w-]|\.\w|\.\d)"
)
_COPY = r"(?<![\w.+/@-])(?!git@)[a-z_][\w.-]*@(?P<host>[A-Za-z][\w-]*)(?=:[~/])"
_MAC = (
    r"(?i)(?<![\w:.-])[0-9a-f]{2}(?P<sign>[:-])(?:[0-9a-f]{2}(?P=sign)){4}"
    r"(?:[0-9a-f]{2}(?P=sign)){0,14}[0-9a-f]{2}(?![\w:-])"
)
_MAC_SHAPES = tuple(f"{sign}(?:[0-9a-fA-F]{{2}}{sign}){{4}}" for sign in ":-")
_IPV4_SHAPES = (r"\.\d{1,3}\.\d{1,3}\.\d",)
_IPV4 = r"(?<![\w.+~-])(?:\d{1,3}\.){3}\d{1,3}(?![\w+~-]|\.\d)"
_IPV6 = (
    r"(?i)(?<![\w:.])(?:(?:[23][0-9a-f]{3}|f[cd][0-9a-f]{2}|fe[89ab][0-9a-f])(?=(?::[0-9a-f]*){2})"
    r"(?=[0-9a-f:]*::|(?::[0-9a-f]+){7})(?::[0-9a-f]{0,4}){2,7})(?![\w:])"
)
_SERIAL_HINTS = (*(f"serial{sign}" for sign in " :=_-/n\"'`"), "s/n", "asset")
_SERIAL = (
    r"(?i)(?P<before>\b(?:serial(?:[ _-]?(?:number|no|nr|num))?|s/n|asset[ _-]?tag)"
    r"[\"'`]?\s*(?:#|is|of)?\s*[:=]?\s*[\"'`]?)(?P<name>(?=[\w-]*\d[\w-]*\d)[A-Z0-9][A-Z0-9-]{5,})"
    r"(?![\w.])"
)


def _addresses(placeholders: Placeholders) -> Iterator[Rule]:
    def numbered(kind: str) -> Callable[[re.Match[str]], str]:
        return lambda found: placeholders.of(kind, found[0].lower())

    def copied(found: re.Match[str]) -> str:
        user, host = found[0].split("@")
        return f"{placeholders.of('user', user)}@{placeholders.of('host', host)}"

    def address(found: re.Match[str]) -> str:
        return placeholders.of("ip", found[0]) if _is_address(found) else found[0]

    def serial(found: re.Match[str]) -> str:
        return found["before"] + placeholders.of("serial", found["name"])

    yield Rule(hints=("@",), pattern=_MAIL, replacement=numbered("email"))
    yield Rule(hints=("@",), pattern=_COPY, replacement=copied)
    yield Rule(
        hints=("enx", "wlx"),
        pattern=r"(?<![\w-])(?P<kind>enx|wlx)[0-9a-f]{12}(?![0-9a-z])",
        replacement=lambda found: found["kind"] + placeholders.of("mac", found[0]),
    )
    yield Rule(shapes=_MAC_SHAPES, pattern=_MAC, replacement=numbered("mac"))
    yield Rule(shapes=_IPV4_SHAPES, pattern=_IPV4, replacement=address)
    yield Rule(hints=("::", ":0:"), pattern=_IPV6, replacement=numbered("ip"))
    yield Rule(hints=_SERIAL_HINTS, pattern=_SERIAL, replacement=serial)


_ADDRESS_BEFORE = (
    r"(?i)(?:://\S*|@|\[|\b(?:inet|ip|ipv4|host|hostname|addr|address|master_addr|server|peer"
    r"|client|node|socket|remote|listen(?:ing)?|bind|connect(?:ing|ed)?|connection|proxy|gateway"
    r"|ping|route|nc -zv)[\"'`]?(?:\(\))?\s*[:=(]?\s*(?:to|from|on|at|for)?\s*[\"'`(]?)\Z"
)
_ADDRESS_AFTER = r"(?::\d{2,5}(?!\d)|<\d+>|/(?:[89]|[12]\d|3[0-2])(?![\w./])|\]:\d)"
_VERSION_BEFORE = (
    r"(?i)(?:[=<>~!]=?|[-_v]|\.so\.|\bversion|\brelease|\bdriver|\bto version|\bfrom version)"
    r"[\"'`]?[\s:]{0,2}[\"'`]?\Z"
)
_NOBODY = ("127.", "0.0.0.0", "255.255.")


def _is_address(found: re.Match[str]) -> bool:
    """Whether four numbers are an address. CUDA's libraries have versions of four numbers too
    (cuRAND 10.3.2.106), but none begins with 100 or more; below, what stands around it tells."""
    text, numbers = found[0], [int(one) for one in found[0].split(".")]
    if max(numbers) > 255 or text.startswith(_NOBODY):
        return False
    if any(len(one) > 1 and one.startswith("0") for one in text.split(".")):
        return False
    if re.match(_ADDRESS_AFTER, found.string[found.end() : found.end() + 12]):
        return True
    before = found.string[max(0, found.start() - 40) : found.start()]
    if numbers[0] >= 100:
        return not re.search(_VERSION_BEFORE, before) or before.endswith(("addr=", "host=", "ip="))
    return re.search(_ADDRESS_BEFORE, before) is not None and not re.search(_CHANGE, before)


_CHANGE = r"(?i)(?:\d\s+to|version.{0,12}|grade[sd]? (?:to|from)|release.{0,12})\s*\Z"
"""What stands between two versions: `from 12.1.3.1 to 12.4.5.8`."""
