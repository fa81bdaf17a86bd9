#!/bin/sh
# Everything that needs a GPU, in one command and under eight minutes:
#
#     sh benchmarks/gpu_session.sh OUT [WHEELS]
#
# For a machine with an NVIDIA GPU, a torch in `python3` and no network. WHEELS is a folder with the
# wheels of the doctor's dependencies that are missing there, made beforehand by
#
#     pip download -d WHEELS --only-binary=:all: click msgspec nvidia-ml-py packaging psutil \
#         pyelftools hatchling editables pathspec pluggy trove-classifiers
#
# OUT receives the captured facts, reports and figures; date, device and commands are in `session.txt`.
set -u
OUT=$1
WHEELS=${2:-}
HERE=$(cd "$(dirname "$0")/.." && pwd)
SITE=$(mktemp -d)
mkdir -p "$OUT"
OUT=$(cd "$OUT" && pwd)
cd "$HERE" || exit 2

if [ -n "$WHEELS" ]; then
    python3 -m pip install -q --no-index --no-deps --no-compile --target "$SITE" "$WHEELS"/*.whl || exit 2
fi
export PYTHONPATH="$HERE:$HERE/checks:$SITE"
# Run from the source tree there are no entry points; this is what an installation would write.
mkdir -p "$SITE/envdoctor-0.dist-info"
printf 'Metadata-Version: 2.1\nName: envdoctor\nVersion: 0\n' > "$SITE/envdoctor-0.dist-info/METADATA"
printf '[envdoctor.plugins]\nbuiltin = envdoctor_checks:plugin\n' \
    > "$SITE/envdoctor-0.dist-info/entry_points.txt"

doctor() {
    echo "\$ envdoctor $*" >> "$OUT/session.txt"
    timeout 300 python3 -m envdoctor "$@" 2>> "$OUT/stderr.txt"
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
timeout 120 python3 benchmarks/plain_gpu.py > "$OUT/plain.json" 2>> "$OUT/stderr.txt"
python3 benchmarks/gpu_agreement.py "$OUT/calibrate.json" "$OUT/plain.json" \
    > "$OUT/agreement.txt" 2>&1
echo "agreement: exit $?" >> "$OUT/session.txt"
# Whether a second measurement lies in the interval of the first.
doctor calibrate --python "$PY" --devices gpu --precision bf16 --no-pipeline \
    --baseline "$OUT/calibrate.json" --json > "$OUT/again.json"
doctor calibrate --python "$PY" --devices cpu --no-pipeline > "$OUT/cpu.txt"
rm -rf "$SITE"
cat "$OUT/session.txt" "$OUT/agreement.txt"
