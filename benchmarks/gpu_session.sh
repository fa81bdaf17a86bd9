#!/bin/sh
# Everything that needs a GPU, in one command and under eight minutes:
#
#     sh benchmarks/gpu_session.sh OUT WHEELS
#
# For a machine with an NVIDIA GPU, a torch in `python3` and no network. WHEELS is a folder with the
# wheels of what the doctor needs, for that machine's Python, made beforehand by
#
#     pip download --no-deps -d WHEELS click msgspec nvidia-ml-py packaging psutil pyelftools
#
# OUT receives the captured facts, reports and figures; date, device and commands are in `session.txt`.
set -u
OUT=$1
WHEELS=$(cd "$2" && pwd)
HERE=$(cd "$(dirname "$0")/.." && pwd)
SITE=$(mktemp -d)
mkdir -p "$OUT"
: > "$OUT/stderr.txt"
OUT=$(cd "$OUT" && pwd)
cd "$HERE" || exit 2

# The doctor gets an environment of its own, so that nothing of it is seen by the target.
python3 -m venv --without-pip "$SITE/doctor" || exit 2
DOCTOR="$SITE/doctor/bin/python"
PACKAGES=$("$DOCTOR" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
python3 -m pip install -q --no-index --no-deps --no-compile --target "$PACKAGES" "$WHEELS"/*.whl \
    || exit 2
printf '%s\n%s\n' "$HERE" "$HERE/checks" > "$PACKAGES/envdoctor.pth"
mkdir "$PACKAGES/envdoctor-0.dist-info"
printf 'Metadata-Version: 2.1\nName: envdoctor\nVersion: 0\n' \
    > "$PACKAGES/envdoctor-0.dist-info/METADATA"
printf '[envdoctor.plugins]\nbuiltin = envdoctor_checks:plugin\n' \
    > "$PACKAGES/envdoctor-0.dist-info/entry_points.txt"

doctor() {
    echo "\$ envdoctor $*" >> "$OUT/session.txt"
    timeout 300 "$DOCTOR" -m envdoctor "$@" 2>> "$OUT/stderr.txt"
    echo "exit $?" >> "$OUT/session.txt"
}

{
    date -u +%Y-%m-%dT%H:%M:%SZ
    nvidia-smi --query-gpu=name,driver_version,power.limit,clocks.max.sm --format=csv
    python3 -c 'import torch; print(torch.__version__, torch.version.cuda)'
} > "$OUT/session.txt" 2>&1

PY=$(command -v python3)
doctor collect --python "$PY" -o "$OUT/facts.json"
doctor check --python "$PY" --expect gpu --json > "$OUT/check.json"
doctor check --facts "$OUT/facts.json" > "$OUT/check.txt"
doctor calibrate --python "$PY" --devices gpu --json > "$OUT/calibrate.json"
# The plain script takes the batches that the calibration chose.
BATCHES=$(python3 - "$OUT/calibrate.json" <<'PY'
import json, sys
runs = json.load(open(sys.argv[1]))["calibration"]["runs"]
largest = {}
for run in runs:
    if run["memory_format"] == "channels_last" and not run["compiled"]:
        largest[run["precision"]] = max(run["batch_size"], largest.get(run["precision"], 0))
print(*(f"{precision}={batch}" for precision, batch in largest.items()))
PY
)
# shellcheck disable=SC2086
timeout 120 python3 benchmarks/plain_gpu.py $BATCHES > "$OUT/plain.json" 2>> "$OUT/stderr.txt"
python3 benchmarks/gpu_agreement.py "$OUT/calibrate.json" "$OUT/plain.json" \
    > "$OUT/agreement.txt" 2>&1
echo "agreement: exit $?" >> "$OUT/session.txt"
# Whether a second measurement lies in the interval of the first.
doctor calibrate --python "$PY" --devices gpu --precision bf16 --no-pipeline \
    --baseline "$OUT/calibrate.json" --json > "$OUT/again.json"
doctor calibrate --python "$PY" --devices cpu --no-pipeline > "$OUT/cpu.txt"
rm -rf "$SITE"
cat "$OUT/session.txt" "$OUT/agreement.txt"
