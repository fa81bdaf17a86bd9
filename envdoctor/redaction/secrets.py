"""What is secret in a text: tokens by their form, and whatever stands where a secret stands.

A rule is compiled where a text holds one of its hints, and not before: a report rarely has any.
"""

import re
from collections.abc import Callable
from itertools import pairwise

from envdoctor.record import Record
from envdoctor.redaction.tokens import BEGINS, TOKENS

Replacement = str | Callable[[re.Match[str]], str]


class Rule(Record):
    """A pattern and what stands in place of its finds.

    Every text in which the pattern finds something has one of the `hints`, which are in lower case,
    or something of one of the `shapes`, which are patterns that cost little. `long` says that a
    hint stands in a word of `LONG` characters, `followed` that one of these stands shortly behind.
    """

    pattern: str
    replacement: Replacement
    hints: tuple[str, ...] = ()
    shapes: tuple[str, ...] = ()
    long: bool = False
    followed: str = ""


LONG = 14
"""No token has fewer characters."""

LONG_WORDS = re.compile(rf"[\w.~=+%-]{{{LONG},}}")

TOKEN = "<token>"
SECRET = "<secret>"

_KEYS = (
    r"(?:access|account|api|app|application|auth|client|consumer|encryption|license|master"
    r"|private|secret|service|session|shared|signing|storage|subscription|user|write|read)"
    r"[_-]?(?:access[_-]?)?key"
)
_CERTAIN = rf"pass(?:word|wd|phrase)|pwd|secret|credentials?|{_KEYS}|apikey|accesskey"
_LIKELY = r"(?:auth|access|id|refresh|session|csrf|xsrf|bot|oauth)?[_-]?token|_auth(?:token)?"
_LIKELY += r"|sig|signature|[a-z0-9]+[_-]key|auth|pw|pass"

_VALUE = r"(?P<value>[^\s&;,'\"`<>=|)\]}][^\s&;,'\"`|)\]}]*)"
_QUOTED = r"(?P<quote>\\?[\"'])(?P<text>[^\s<\"'][^\"'\n]*)(?P=quote)"

_ASSIGNED = (
    rf"(?i)(?<![a-z])(?P<name>(?P<certain>{_CERTAIN})|{_LIKELY})"
    rf"(?P<between>\\?[\"']?\s{{0,3}}(?P<sign>:=|=>|=|:)\s{{0,3}})(?:{_QUOTED}|{_VALUE})"
)
_HINTS_OF_NAMES = ("pass", "pwd", "secret", "credential", "key", "token", "auth", "sig", "pw")

_NO_SECRETS = r"(?i)(?:none|null|true|false|yes|no|on|off|\W*|\d{1,5}|[a-z]{1,5})\Z"
_DOTTED = r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+\Z"
_PATH = r"~?/(?:[\w.-]+/)*[\w.-]*\Z"


def _hidden_value(found: re.Match[str]) -> str:
    """The assignment without its value, if the value may be one."""
    value = found["text"] or found["value"]
    if not _may_be_secret(value, certain=bool(found["certain"]), sign=found["sign"], found=found):
        return found[0]
    quote = found["quote"] or ""
    return f"{found['name']}{found['between']}{quote}{SECRET}{quote}"


def _may_be_secret(value: str, *, certain: bool, sign: str, found: re.Match[str]) -> bool:
    if re.match(_NO_SECRETS, value) or (
        found["name"].lower() in ("pwd", "pw") and re.match(_PATH, value)
    ):
        return False
    has_digit = any(map(str.isdigit, value))
    if sign == ":":
        # In prose a colon follows many a word: "unexpected token: identifier".
        likely = has_digit and len(value) >= 8 and not re.match(_DOTTED, value)
        return len(value) >= 6 and (certain or likely)
    if certain or "token" in found["name"].lower():
        return len(value) >= 4
    random = has_digit or (value.isalnum() and len(value) >= 20)
    return len(value) >= 12 and random and not re.match(_PATH, value)


def _hidden_password(found: re.Match[str]) -> str:
    """The user and password before a host; a package and its version are none."""
    return found[0] if found["password"].startswith("//") else "<credentials>@"


_COMMITS = (
    r"(?i)(?:git|commit|revision|rev|sha-?1?|build-?id|hash|tree|head|version|@|\+|g)"
    r"['\"`]?\]?\s*(?:is|of|id|[=:@#/({\[]|)\s*['\"`]?\Z|(?:llvm|clang|github\.com)[^\n]*\Z"
)
"""What comes before the name of a commit or the identifier of a build."""


def _hidden_key(found: re.Match[str]) -> str:
    """40 hexadecimal digits are a key (Weights & Biases), unless they name a commit."""
    alone = len(found.string) == 40
    commit = alone or re.search(_COMMITS, found.string[max(0, found.start() - 60) : found.start()])
    return found[0] if commit else TOKEN


def _hidden_random(found: re.Match[str]) -> str:
    """40 characters of base64 are an Amazon secret key if they look drawn by lot: those of names
    and paths are of one kind for several characters."""
    kinds = [(one.isupper(), one.islower(), one.isdigit()) for one in found[0]]
    changes = sum(before != after for before, after in pairwise(kinds))
    return TOKEN if changes >= 17 and len(set(kinds)) >= 3 else found[0]


SECRETS: tuple[Rule, ...] = (
    Rule(
        hints=("private key", "putty-user-key-file"),
        pattern=r"(?:-{2,5} ?)?BEGIN (?P<kind>[A-Z0-9 ]*)PRIVATE KEY.*?(?:END (?P=kind)PRIVATE KEY"
        r"(?: BLOCK)?(?: ?-{2,5})?|\Z)|PuTTY-User-Key-File-.*\Z",
        replacement="<private key>",
    ),
    Rule(
        hints=("://",),
        pattern=r"(?<=://)(?!git@)"
        r"(?:[^/\s@:'\"]{1,256}:(?!\d{1,5}(?:[/\s]|$))[^\s'\"]{0,4096}|[^/\s'\"<]{1,4096})@(?=[\w\[<])",
        replacement="<credentials>@",
    ),
    Rule(
        hints=("@",),
        pattern=r"(?<![\w/<:@.=-])[\w.+-]+:(?P<password>(?![:/~.\d]*[/:]|\d{1,5}@)[^\s'\"`,;()<>]{2,})"
        r"@(?!@|[A-Z][A-Z0-9]*_|sha256:|v?\d+(?!\.?\d*\.\d))(?=[\w\[])",
        replacement=_hidden_password,
    ),
    *(
        Rule(
            hints=tuple(begin.lower() for begin in begins),
            long="/" not in rest,
            pattern=f"{BEGINS}(?:{'|'.join(map(re.escape, begins))}){rest}",
            replacement=TOKEN,
        )
        for begins, rest in TOKENS
    ),
    Rule(
        hints=("hooks.", "webhook"),
        pattern=r"(?i)((?:hooks\.slack\.com/(?:services|workflows|triggers)"
        r"|discord(?:app)?\.com/api/webhooks|[\w-]+\.webhook\.office\.com/webhookb2"
        r"|outlook\.office\.com/webhook)/)[^\s'\"<]+",
        replacement=rf"\1{TOKEN}",
    ),
    Rule(
        hints=("authorization", "cookie", "x-api-", "x-auth-", "x-access-", "x-vault-"),
        pattern=r"(?i)(\b(?:(?:proxy-)?authorization|(?:set-)?cookie"
        r"|x-(?:api|auth|access|vault)-[a-z-]*(?:key|token))['\"]?"
        r"\s*[:=]\s*['\"]?(?:(?:basic|bearer|token|digest|negotiate|apikey)\s+)?)"
        r"[^\s'\"<][^\s'\"]{3,}",
        replacement=rf"\1{TOKEN}",
    ),
    Rule(
        hints=("bearer",),
        pattern=r"(?i)\b(bearer\s+)(?=[\w.~+/=-]*[\d.])[\w.~+/=-]{12,}|(?<=bearer )[a-z]{16,}",
        replacement=lambda found: f"{found[1] or ''}{TOKEN}",
    ),
    Rule(
        shapes=("--[A-Za-z-]{0,64}(?i:pass|secret|token|key|cred)",),
        pattern=r"(?i)(?<!\S)(--[a-z-]{0,64}(?:password|passwd|passphrase|secret|token|api-?key"
        r"|access-?key|credentials?))(\s+)(?!-)['\"]?[^\s'\"<]{4,}['\"]?",
        replacement=rf"\1\2{SECRET}",
    ),
    Rule(
        hints=("login ",),
        pattern=r"(\blogin \s*\S+\s+password\s+)[^\s<]\S*",
        replacement=rf"\1{SECRET}",
    ),
    Rule(
        hints=("?", "&"),
        pattern=r"(?i)(?<=[?&])((?:key|code|sig|signature|auth|access|st|jwt|sas|x-amz-[a-z-]+"
        r"|x-goog-[a-z-]+|awsaccesskeyid|googleaccessid)=)[^\s&'\"<]{4,}",
        replacement=rf"\1{SECRET}",
    ),
    Rule(hints=_HINTS_OF_NAMES, followed="=:", pattern=_ASSIGNED, replacement=_hidden_value),
    Rule(
        pattern=r"(?<![A-Za-z0-9])[A-Za-z0-9_~.]{3}\dQ~[\w~.-]{28,}",  # Entra ID
        hints=("q~",),
        replacement=TOKEN,
    ),
    Rule(
        hints=(".atlasv1.",),
        pattern=r"[A-Za-z0-9]{14}\.atlasv1\.[\w=-]{40,}",  # Terraform Cloud
        replacement=TOKEN,
    ),
    Rule(
        hints=("_mmk",),
        pattern=rf"{BEGINS}[A-Za-z0-9]{{6}}_[A-Za-z0-9]{{29}}_mmk",  # MaxMind
        replacement=TOKEN,
    ),
    Rule(
        hints=("-us",),
        pattern=rf"{BEGINS}[0-9a-f]{{32}}-us\d{{1,2}}(?!\d)",  # Mailchimp
        replacement=TOKEN,
    ),
    Rule(
        pattern=rf"{BEGINS}\d{{8,10}}:[A-Za-z0-9_-]{{35}}(?![\w-])",  # Telegram
        shapes=(r":[A-Za-z0-9_-]{35}",),
        replacement=TOKEN,
    ),
    Rule(
        shapes=(r"\.[\w-]{6}\.[\w-]{27}", "[CK][a-f0-9]{32}", r"AP[\dA-F][A-Za-z0-9]{8}"),
        pattern=rf"{BEGINS}(?:"
        r"[MNO][\w-]{23,25}\.[\w-]{6}\.[\w-]{27,}"  # Discord
        r"|(?:AC|SK)[a-f0-9]{32}(?![A-Za-z0-9])"  # Twilio
        r"|AP[\dA-F](?=[A-Za-z]*\d)(?=[A-Za-z0-9]*[a-z])[A-Za-z0-9]{8,}(?![\w.-])"  # Artifactory
        r")",
        replacement=TOKEN,
    ),
    Rule(
        shapes=("[0-9a-f]{40}",),
        pattern=r"(?<![A-Za-z0-9])[0-9a-f]{40}(?![A-Za-z0-9])",
        replacement=_hidden_key,
    ),
    Rule(
        shapes=("[A-Za-z0-9/+]{40,}",),
        pattern=r"(?<![\w/+=.-])(?=[A-Za-z0-9/+]{0,39}\d)[A-Za-z0-9/+]{40}(?![\w/+=.-])",
        replacement=_hidden_random,
    ),
)
"""In this order: what a rule has replaced is not looked at by the next."""
