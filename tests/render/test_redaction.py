"""What of secrets and persons survives the filter: nothing, wherever it came from; and nothing of
what a diagnosis needs is taken for one."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from detect_secrets.core.scan import scan_line
from detect_secrets.settings import transient_settings
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from envdoctor.redaction import Filter
from envdoctor.redaction.identity import Person
from envdoctor.redaction.secrets import SECRETS, Rule
from envdoctor.redaction.tokens import TOKENS
from tests.support.doctor import envdoctor
from tests.support.patients import Patient, empty_patient, fake_torch

ANN = Person(homes=("/home/ann",), users={"USER": "ann"}, host="gpu-box-7")


def written(text: str, host: str = ANN.host) -> str:
    return Filter(Person(homes=ANN.homes, users=ANN.users, host=host)).text(text)


# --- secrets x fields, with a second judge ---

FORMED = "|".join(
    f"(?:{'|'.join(map(re.escape, begins))})(?:{rest.split('(?!')[0]})" for begins, rest in TOKENS
)
CHARACTERS = st.text("abcdefghjkmnpqrstuvwxyzABCDEFGHJKMNPQRSTUVWXYZ23456789", min_size=20)
HEX = st.text("0123456789abcdef", min_size=40, max_size=40)

PLACES = (
    "{}",
    "error: {} was refused",
    "`{}`: no",
    '"{}"',
    "/opt/x/{}/lib.so",
    "lib_{}.so",
    "https://host/{}/simple",
    "x @ https://host/x.whl?y={}&z=1",
    "A={} B=1",
    "x\n{}\ny",
    "({})",
    "first,{},last",
)
ASSIGNED = (
    "HF_TOKEN={}",
    "password: {}",
    'password = "{}"',
    "'api_key': '{}'",
    '{{"secret": "{}"}}',
    "--token {} x",
    "https://host/x?access_token={}",
    "https://user:{}@host/simple",
    "https://{}@host/simple",
    "user:{}@host",
    "Authorization: Bearer {}",
    "Authorization: Basic {}",
    "X-Api-Key: {}",
    "Cookie: session={}",
    "machine h login u password {}",
    "AWS_SECRET_ACCESS_KEY={}",
    "DefaultEndpointsProtocol=https;AccountKey={};x",
    "wandb_key={}",
    "-----BEGIN EC PRIVATE KEY-----\n{}\n-----END EC PRIVATE KEY-----",
    "BEGIN OPENSSH PRIVATE KEY {}",
)
JUDGES = (
    *("ArtifactoryDetector", "AWSKeyDetector", "AzureStorageKeyDetector", "BasicAuthDetector"),
    *("CloudantDetector", "DiscordBotTokenDetector", "GitHubTokenDetector", "GitLabTokenDetector"),
    *("IbmCloudIamDetector", "IbmCosHmacDetector", "IPPublicDetector", "JwtTokenDetector"),
    *("KeywordDetector", "MailchimpDetector", "NpmDetector", "OpenAIDetector"),
    *("PrivateKeyDetector", "PypiTokenDetector", "SendGridDetector", "SlackDetector"),
    *("SoftlayerDetector", "SquareOAuthDetector", "StripeDetector", "TelegramBotTokenDetector"),
    "TwilioKeyDetector",
)
"""All of detect-secrets but the two that take what looks random for a secret, as hashes do."""


@pytest.fixture(scope="module")
def judge() -> Iterator[None]:
    with transient_settings({"plugins_used": [{"name": name} for name in JUDGES]}):
        yield


def accused(text: str) -> list[str]:
    """What detect-secrets finds in a text, but placeholders."""
    found = (one for line in text.splitlines() for one in scan_line(line))
    return [f"{one.type}: {one.secret_value}" for one in found if "<" not in str(one.secret_value)]


def hidden(secret: str, place: str) -> None:
    text = written(place.format(secret))
    body = secret[-16:]
    assert body not in text
    assert not accused(text), text


@pytest.mark.parametrize("row", range(len(TOKENS)))
@settings(max_examples=6, deadline=None, suppress_health_check=[*HealthCheck])
@given(data=st.data())
def test_a_token_of_a_known_form_is_hidden(row: int, judge: None, data: st.DataObject) -> None:
    begins, rest = TOKENS[row]
    begin = data.draw(st.sampled_from(begins))
    ascii_only = st.characters(codec="ascii")
    body = data.draw(st.from_regex(re.compile(rest, re.ASCII), fullmatch=True, alphabet=ascii_only))
    hidden(begin + body, data.draw(st.sampled_from(PLACES)))


@settings(max_examples=100, deadline=None, suppress_health_check=[*HealthCheck])
@given(secret=CHARACTERS, place=st.sampled_from(ASSIGNED))
def test_whatever_stands_where_a_secret_stands_is_hidden(
    judge: None, secret: str, place: str
) -> None:
    hidden(secret, place)


@pytest.mark.heavy
@pytest.mark.timeout(3600)
@settings(max_examples=20_000, deadline=None, suppress_health_check=[*HealthCheck])
@given(
    secrets=st.lists(CHARACTERS | HEX | st.from_regex(FORMED, fullmatch=True), min_size=1),
    data=st.data(),
)
def test_no_document_of_secrets_holds_one(
    judge: None, secrets: list[str], data: st.DataObject
) -> None:
    places = [data.draw(st.sampled_from(ASSIGNED)) for _ in secrets]
    document = {"texts": [place.format(one) for one, place in zip(secrets, places, strict=True)]}
    text = json.dumps(Filter(ANN).values(document))
    assert not [one for one in secrets if len(one) >= 20 and one[-16:] in text]
    assert not accused(text)


@pytest.mark.parametrize(
    "text",
    [
        "6789012345:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsawQ",
        "0123456789abcdef0123456789abcdef-us12",
        "MTk4NjIyNDgzNDcxOTI1MjQ4.Cl2FMQ.ZnCjm1XVW7vRze4b7Cq4se7kKWs",
        "SK0123456789abcdef0123456789abcdef",
        "abc8Q~abcdefghijklmnopqrstuvwxyz0123456",
        "aB3dE6gH9jK2mN.atlasv1." + "x7" * 32,
        "https://hooks.slack.com/services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX",
        "https://discord.com/api/webhooks/1234567890/abcdefABCDEF",
        "wandb: key 0123456789abcdef0123456789abcdef01234567 x",
        "lib_0123456789abcdef0123456789abcdef01234567.so",
        "aws Kx8sG2pQ9zR4tY7uW1vB3nM6cL5jH0fD8aSeXqZo",
        "aws Kx8sG2pQ9z/4tY7uW1vB3n+6cL5jH0fD8aSeXqZo",
        "user:p@ss/word@host",
        "https://user:p@ss/word@host/simple",
        "PuTTY-User-Key-File-2: ssh-rsa",
    ],
)
def test_forms_without_a_beginning_of_their_own_are_hidden(judge: None, text: str) -> None:
    shown = written(text)
    assert re.search("<(token|credentials|private key)>", shown)
    assert not accused(shown)


@pytest.mark.parametrize("rule", SECRETS[:-1], ids=lambda rule: rule.pattern[:40])
@settings(max_examples=8, deadline=None, suppress_health_check=[*HealthCheck])
@given(data=st.data())
def test_no_rule_is_passed_over(rule: Rule, data: st.DataObject) -> None:
    """What a pattern finds has one of the hints or shapes that say when it is asked."""
    text = data.draw(st.from_regex(re.compile(rule.pattern, re.ASCII | re.DOTALL)))
    low = text.lower()
    hinted = any(hint in low for hint in rule.hints)
    assert hinted or any(re.search(shape, text) for shape in rule.shapes), text


# --- who and where ---


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # Homes, however they are spelled.
        ("-I/home/ann/inc -isystem/home/ann/inc", "-I~/inc -isystem~/inc"),
        ("-Wl,-rpath,/home/ann/lib", "-Wl,-rpath,~/lib"),
        ("//home//ann/x /home/./ann/x", "~/x ~/x"),
        ("/home/ann;/home/ann|/home/ann)", "~;~|~)"),
        ("/proc/self/root/home/ann/x", "/proc/self/root/home/<user>/x"),
        ("//root/x", "//<user-1>/x"),
        (
            "/nfs/home/bob/x /export/data/home/bob",
            "/nfs/home/<user-1>/x /export/data/home/<user-1>",
        ),
        ("/mnt/c/Users/Bob/x", "/mnt/c/Users/<user-1>/x"),
        ("C:\\Users\\bob\\x", "C:\\Users\\<user-1>\\x"),
        ("/home/b/bob/x", "/home/b/<user-1>/x"),
        ("PATH=~bob/bin:/usr/bin", "PATH=~<user-1>/bin:/usr/bin"),
        # Users.
        ("/scratch/ann/env", "/scratch/<user>/env"),
        ("/tmp/torchinductor_ann/x", "/tmp/torchinductor_<user>/x"),
        ("owned by ann, user=ann", "owned by <user>, user=<user>"),
        ("ann@host7: no", "<user>@host7: no"),
        ("/opt/annotations/ann.py ann", "/opt/annotations/ann.py ann"),
        # Hosts.
        ("gpu-box-7: no", "<host>: no"),
        ("gpu-box-7.corp.example.com: no", "<host>: no"),
        ("http://gpu-box-7:8080/simple", "http://<host>:8080/simple"),
        ("http://wheels.corp/simple", "http://<host-1>/simple"),
        ("scp bob@node3:/x", "scp <user-1>@<host-1>:/x"),
        ("my-gpu-box-7 gpu-box-70 gpu-box-7_x", "my-gpu-box-7 gpu-box-70 gpu-box-7_x"),
        # Addresses.
        ("a.b@corp.example.com, a.b@corp.example.com.", "<email-1>, <email-1>."),
        ("connect to 10.0.0.5:29500 failed", "connect to <ip-1>:29500 failed"),
        ("[10.0.1.6]:29500 10.0.0.5<40123>", "[<ip-1>]:29500 <ip-2><40123>"),
        ("MASTER_ADDR=10.0.0.5", "MASTER_ADDR=<ip-1>"),
        ("192.168.1.7 and 203.0.113.9", "<ip-1> and <ip-2>"),
        ("inet 10.3.2.106/24", "inet <ip-1>/24"),
        ("http://10.1.2.3/simple", "http://<ip-1>/simple"),
        ("fe80::1ff:fe23:4567:890a%eth0", "<ip-1>%eth0"),
        ("2001:db8:85a3:0:0:8a2e:370:7334", "<ip-1>"),
        ("ether 02:42:ac:11:00:02 x", "ether <mac-1> x"),
        ("00-1B-63-84-45-E6", "<mac-1>"),
        ("enx001b638445e6", "enx<mac-1>"),
        ("Serial Number : 1560223001234", "Serial Number : <serial-1>"),
        ("S/N: ABC1234567", "S/N: <serial-1>"),
    ],
)
def test_who_and_where_is_not_written(text: str, expected: str) -> None:
    assert written(text) == expected


def test_placeholders_tell_two_apart_and_one_again() -> None:
    values = ["from host 10.0.0.5 and host 10.0.0.6", {"x": ["host 10.0.0.5", "a@b.example.com"]}]
    assert Filter(ANN).values(values) == [
        "from host <ip-1> and host <ip-2>",
        {"x": ["host <ip-1>", "<email-1>"]},
    ]


# --- false alarms ---

SHA1 = "d990dada86a8ad94882b5c23e859b88c0c255bda"
UUID = "8932f937-d72c-4106-c12f-20bd9faed9f6"
NEEDED = f"""
12.4.1.0
10.3.2.106
535.104.05
driver 535.104.05 supports CUDA 12.2
driver from 470.57.02 to 535.104.05
Windows driver 31.0.15.3623
nvidia-curand-cu12 10.3.2.106
nvidia-curand-cu12==10.3.2.106
nvidia_curand_cu12-10.3.2.106.dist-info
torch requires nvidia-cublas-cu12==12.4.5.8; platform_system == "Linux"
nvidia-cusparse-cu12: 12.1.0.106 -> 12.3.1.170
from 12.1.3.1 to 12.4.5.8
loaded from 9.1.0.70, upgrade to 8.9.2.26
TensorRT 10.0.1.6
version 100.2.3.4
libcublas.so.12.4.5.8
/usr/lib/x86_64-linux-gnu/libstdc++.so.6.0.30
nvidia-driver-535=535.183.01-0ubuntu0.22.04.1
libcudnn8=8.9.7.29-1+cuda12.2
libnccl2 2.21.5-1+cuda12.4
kernel 5.15.0-91-generic
127.0.0.1:29500 http://127.0.0.1:8080/ 0.0.0.0
torch 2.6.0+cu124
2.1.0a0+git1234567
{SHA1}
git {SHA1}
git_version: {SHA1}
torch @ git+https://github.com/pytorch/pytorch@{SHA1}
build-id {SHA1}
BuildID[sha1]={SHA1}
AMD clang version 17.0.0 (https://github.com/RadeonOpenCompute/llvm-project roc-6.0.0 {SHA1})
sha256:{"0a" * 32}
sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU
CUDA_VISIBLE_DEVICES=GPU-{UUID}
MIG-{UUID}
MIG-GPU-{UUID}/1/0
0000:3b:00.0
00000000:3B:00.0
GPU at 0000:01:00.0 (10de:2684)
nvidia-smi -i 00000000:3B:00.0
sm_90 compute_90 sm_120a 8.6+PTX
TORCH_CUDA_ARCH_LIST=7.0;7.5;8.0;8.6;9.0+PTX
cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64
cpython-311-x86_64-linux-gnu
PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True,max_split_size_mb:128
CUBLAS_WORKSPACE_CONFIG=:4096:8
cuda>=12.6,driver>=560.28,brand=tesla
Requires-Dist: tokenizers>=0.21,<1
tokenizers==0.20.1
undefined symbol: _ZN3c104cuda9SetDeviceEi
_ZN2at4_ops10zeros_like4callERKNS_6TensorESt8optionalIN3c1010ScalarTypeEE
undefined symbol: cublasLtGetStatusString, version libcublasLt.so.12
(libfoo.so:memcpy@GLIBC_2.14) libfoo@libbar.so.12
at::native::add c10::cuda::CUDAStream std::vector<int>
nvcr.io/nvidia/pytorch:24.05-py3@sha256:{"0a" * 32}
pip install git+ssh://git@github.com/a/b.git git@github.com:org/repo.git
PATH=/opt/homebrew/opt/python@3.11/bin:/usr/local/opt/openssl@3/lib
user@1000.service getty@tty1.service
site-packages/~orch/__init__.py ~orch-2.6.0.dist-info
AttributeError: module 'torch' has no attribute 'token'
TypeError: f() got an unexpected keyword argument 'auth'
unexpected token: identifier, Invalid token: torch.float32
max_tokens=4096 pad_token=None token=True
signature: (Tensor self) -> Tensor
secret key: none
RuntimeError: CUDA error: no kernel image is available for execution on the device
Tesla V100-SXM2-16GB, NVIDIA A100-SXM4-80GB, TITAN Xp
AMD EPYC 7742 64-Core Processor, Intel(R) Xeon(R) Gold 6248R CPU @ 3.00GHz
/opt/conda/envs/pt/lib/python3.11/site-packages/torch/lib/libtorch_cuda.so
/usr/share/home/index.html /home/linuxbrew/.linuxbrew/bin
2026-11-23T12:00:00+00:00 12:34:56
python -m pip install torch==2.6.0 --index-url https://download.pytorch.org/whl/cu124
conda install -c conda-forge "numpy<2"
dpkg -S /usr/lib/x86_64-linux-gnu/libcuda.so.1 | cut -d: -f1
export LD_LIBRARY_PATH=/opt/a:/opt/b CUDA_VISIBLE_DEVICES=0,1
0-15,32-47 00-11-22 eth0 mlx5_0:1
https://docs.nvidia.com/deploy/cuda-compatibility/#a=b
""".strip().splitlines()


@pytest.mark.parametrize("host", ["gpu-box-7", "a100", "titan", "tesla", "torch", "localhost"])
@pytest.mark.parametrize("text", NEEDED)
def test_what_a_diagnosis_needs_is_written_as_it_is(text: str, host: str) -> None:
    assert written(text, host) == text


NUMBER = st.integers(0, 99)


@given(st.lists(NUMBER, min_size=4, max_size=4), st.sampled_from(["{}", "cuRAND {}", "x=={}"]))
def test_no_version_of_four_numbers_is_an_address(numbers: list[int], place: str) -> None:
    text = place.format(".".join(map(str, numbers)))
    assert written(text) == text


def test_the_recorded_machines_are_written_as_they_are(shared: Path) -> None:
    """Their texts are real and hold no secret; what identifies somebody was taken out."""
    allowed = re.compile(r"<(user|host|ip)-\d+>")
    for file in sorted((shared / "cases" / "machines").glob("*.json")):
        text = json.dumps(json.loads(file.read_text()), ensure_ascii=False)
        shown = json.dumps(Filter(ANN).values(json.loads(text)), ensure_ascii=False)
        if shown != text:
            assert {one[0] for one in allowed.finditer(shown)}, file.name
            assert not re.search("<(token|secret|credentials|email|mac|serial)", shown), file.name


# --- every place that a secret can come from ---

SECRET = "hf_QwErTyUiOpAsDfGhJkLzXcVbNm"
KEY = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def full_of_secrets(tmp_path: Path) -> Patient:
    patient = empty_patient(tmp_path / f"env_{SECRET}")
    fake_torch(patient, f"raise OSError('https://user:{KEY}@host/x {SECRET} wandb key {KEY}')")
    site = patient.site_packages
    info = next(site.glob("torch-*.dist-info"))
    (info / "INSTALLER").write_text(f"{SECRET}\n")
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: torch\nVersion: 2.13.0\n"
        f"Requires-Dist: x @ https://user:{KEY}@host/x-1.0.whl?token={KEY}\n"
        f"Requires-Dist: y @ git+https://{SECRET}@host/y.git\n"
    )
    (info / "RECORD").write_text(
        f"torch/lib_{SECRET}.so,,10\ntorch/lib_{KEY}.so,,10\ntorch/__init__.py,,1\n"
    )
    (site / "torch/version.py").write_text(
        f"__version__ = '2.13.0+{SECRET}'\ncuda = '{SECRET}'\nhip = '{KEY}'\n"
        f"git_version = '{SECRET}'\n"
    )
    return patient


RECORDED = str(Path(__file__).parents[1] / "captured" / "healthy-cpu.json")


@pytest.mark.parametrize(
    "arguments",
    [
        ("check",),
        ("check", "--json"),
        ("check", "--format", "markdown"),
        ("collect",),
        ("libs", "--json"),
        ("prescribe", "--json"),
        ("diff", "--json", RECORDED),
        ("check", "--json", "-o", f"report-{SECRET}.json"),
        ("check", "--json", "--facts", f"{SECRET}-{KEY}.json"),
        ("check", "--only", f"{SECRET}"),
        ("fits", f"torch=={SECRET}"),
    ],
    ids=" ".join,
)
def test_no_place_lets_one_through(
    judge: None, full_of_secrets: Patient, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    variables = ("TORCH_LOGS", "NCCL_SOCKET_IFNAME", "PYTHONPATH", "LD_LIBRARY_PATH", "NCCL_DEBUG")
    env = dict.fromkeys(variables, f"{SECRET}-{KEY}")
    target = (
        ()
        if "fits" in arguments or "--facts" in arguments
        else (*("--python", full_of_secrets.root),)
    )
    run = envdoctor(*arguments, *target, env=env, cwd=tmp_path)
    assert run.no_traceback
    written_to = [path.read_text() for path in tmp_path.glob("report-*.json")]
    for text in (run.stdout, run.stderr, *written_to):
        assert SECRET[4:] not in text
        assert KEY not in text
        assert not accused(text)
    assert run.stdout or run.stderr
