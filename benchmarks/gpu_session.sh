#!/bin/sh
# Everything that needs a GPU, in one command and under eight minutes (or LIMIT_S seconds):
#
#     sh benchmarks/gpu_session.sh OUT WHEELS
#
# For a machine with an NVIDIA GPU, a torch in `python3` and no network. WHEELS is a folder with the
# wheels of what the doctor needs, made beforehand; for Python 3.12 on x86-64:
#
#     python3 -m pip download --no-deps --only-binary=:all: --python-version 3.12 \
#         --platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 \
#         --platform manylinux2014_x86_64 --platform manylinux_2_12_x86_64 --platform any \
#         -d WHEELS click msgspec nvidia-ml-py packaging psutil pyelftools
#
# OUT receives gpu_session.tar.gz, written anew after each step: facts with the calibration, reports
# and figures; date, device, commands and exit codes are in its `session.txt`.
set -u
END=$(($(date +%s) + ${LIMIT_S:-440}))
[ $# -eq 2 ] || { echo "usage: gpu_session.sh OUT WHEELS" >&2; exit 2; }
mkdir -p "$1" || exit 2
OUT=$(cd "$1" && pwd)
WHEELS=$(cd "$2" && pwd) || exit 2
HERE=$(cd "$(dirname "$0")/.." && pwd)
SITE=$(mktemp -d)
trap 'rm -rf "$SITE"' EXIT
RESULTS="$SITE/gpu_session"
mkdir "$RESULTS"
chmod 755 "$SITE"  # one of the states is that of another user
cd "$HERE" || exit 2

# The doctor gets an environment of its own, so that nothing of it is seen by the target.
python3 -m venv --without-pip "$SITE/doctor" || exit 2
DOCTOR="$SITE/doctor/bin/python"
PACKAGES=$("$DOCTOR" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
for wheel in "$WHEELS"/*.whl; do
    python3 -m zipfile -e "$wheel" "$PACKAGES" || exit 2
done
cp -R envdoctor checks/envdoctor_checks "$PACKAGES" || exit 2
printf '#!/bin/sh\nexec "%s" -P -m envdoctor "$@"\n' "$DOCTOR" > "$SITE/envdoctor"
chmod +x "$SITE/envdoctor"
PY=$(command -v python3)
PATH="$SITE:$PATH"

# What goes to stderr is kept with the time of day.
mkfifo "$SITE/errors"
touch "$SITE/stderr.txt"
while IFS= read -r line; do echo "$(date +%T) $line"; done < "$SITE/errors" \
    >> "$SITE/stderr.txt" &
exec 3> "$SITE/errors"

say() {
    echo "$*" >> "$RESULTS/session.txt"
}

# step SECONDS FILE COMMAND ...: its output into FILE, within so many seconds and before the end.
# After an interrupt the doctor writes what it has measured until then.
step() {
    seconds=$1
    file=$2
    shift 2
    say "\$ $*"
    began=$(date +%s)
    room=$((END - began))
    if [ "$room" -lt 15 ]; then
        say "skipped: the time is over"
        return
    fi
    [ "$seconds" -lt "$room" ] || seconds=$room
    timeout -s INT -k 20 "$seconds" "$@" > "$RESULTS/$file" 2>&3
    say "exit $?, $(($(date +%s) - began)) s"
    keep
}

keep() {
    cp "$SITE/stderr.txt" "$RESULTS"
    tar -czf "$OUT/gpu_session.tar.gz" -C "$SITE" gpu_session
}

{
    date -u +%Y-%m-%dT%H:%M:%SZ
    nvidia-smi --query-gpu=name,driver_version,power.limit,clocks.max.sm --format=csv
    python3 -c 'import torch; print("torch", torch.__version__, "CUDA", torch.version.cuda)'
} > "$RESULTS/session.txt" 2>&1

step 20 nvidia_smi.xml nvidia-smi -q -x
step 200 collect.txt envdoctor collect --calibrate --python "$PY" -o "$RESULTS/facts.json"
step 30 report.json envdoctor check --facts "$RESULTS/facts.json" --json
step 20 nvml_agreement.txt python3 benchmarks/nvml_agreement.py \
    "$RESULTS/facts.json" "$RESULTS/nvidia_smi.xml"
step 30 report.txt envdoctor check --facts "$RESULTS/facts.json"
# The plain script takes the batches that the calibration chose.
BATCHES=$(python3 benchmarks/gpu_agreement.py --batches "$RESULTS/report.json")
case $BATCHES in
    *bf16=*) AMP=bf16 ;;
    *fp16=*) AMP=fp16 ;;
    *) AMP=fp32 ;;
esac
if [ -n "$BATCHES" ]; then
    # shellcheck disable=SC2086
    step 90 plain.jsonl python3 benchmarks/plain_gpu.py $BATCHES
    step 60 again.json envdoctor calibrate --python "$PY" --devices cuda:0 --precision "$AMP" \
        --no-pipeline --no-ceilings --baseline "$RESULTS/report.json" --json
    step 30 agreement.txt python3 benchmarks/gpu_agreement.py \
        "$RESULTS/report.json" "$RESULTS/plain.jsonl" "$RESULTS/again.json"
else
    say "no GPU was measured: nothing is compared with the plain script"
fi
step 150 states.log sh benchmarks/gpu_states.sh "$RESULTS/states" "$PY"
if [ -n "$BATCHES" ]; then
    # Beside a program that keeps the GPU busy.
    python3 benchmarks/plain_gpu.py "$AMP=64" "$AMP=64" > "$RESULTS/competitor.jsonl" 2>&1 &
    COMPETITOR=$!
    sleep 5
    step 40 busy.json envdoctor calibrate --python "$PY" --devices cuda:0 --precision "$AMP" \
        --no-pipeline --no-ceilings --json
    kill "$COMPETITOR"
    step 60 gpt2.json envdoctor calibrate --model gpt2 --python "$PY" --devices cuda:0 \
        --precision "$AMP" --json
    step 120 compiled.json envdoctor calibrate --python "$PY" --devices cuda:0 --precision "$AMP" \
        --compile --no-pipeline --no-ceilings --json
fi
step 30 libs.json envdoctor libs --python "$PY" --json
# Two ranks on one GPU, which NCCL refuses.
step 60 collective.txt envdoctor collective --backend nccl --nproc 2 --python "$PY"
# What a user sees without any command, the CPU included.
step 120 everything.txt envdoctor --plain --budget 3 --python "$PY"
keep
cat "$RESULTS/session.txt"
[ ! -f "$RESULTS/agreement.txt" ] || cat "$RESULTS/agreement.txt"
