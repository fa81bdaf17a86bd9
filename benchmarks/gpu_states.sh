#!/bin/sh
# A real driver with one thing taken away, and what the doctor says of it:
#
#     sh benchmarks/gpu_states.sh OUT PYTHON
#
# For root on a machine with an NVIDIA GPU, with `envdoctor` on the PATH and a torch in PYTHON.
# Every change is made in a mount namespace or an environment of its own; the machine and the GPU
# are left as they are. OUT receives the report of each state, and states.txt with one line for each:
# what was expected (written before any of them was seen), what was found, and the outcomes.
# STATES="NAME ..." tries those alone.
set -u
[ $# -eq 2 ] || { echo "usage: gpu_states.sh OUT PYTHON" >&2; exit 2; }
mkdir -p "$1" || exit 2
OUT=$(cd "$1" && pwd)
PY=$2
WORK=$(mktemp -d)
chmod 755 "$WORK"  # another user looks into it
trap 'rm -rf "$WORK"' EXIT

# state NAME EXPECTED COMMAND...: the command receives the check as its arguments.
state() {
    name=$1
    expected=$2
    shift 2
    case " ${STATES:-$name} " in *" $name "*) ;; *) return ;; esac
    "$@" envdoctor check --python "$PY" --expect gpu --companions none --timeout 60 --json \
        > "$OUT/$name.json" 2> "$OUT/$name.err"
    python3 - "$name" "$expected" "$?" "$OUT/$name.json" >> "$OUT/states.txt" <<'SUMMARY'
import json, sys
name, expected, code, path = sys.argv[1:]
try:
    report = json.load(open(path))
except ValueError as error:
    sys.exit(print(f"OFF {name}: no report ({error}), exit {code}"))
errors = [one for one in report["findings"] if one["severity"] in ("error", "warning")]
found = ", ".join(f"{one['name']} ({one['code']})" for one in errors) or "healthy"
right = expected in ([one["name"] for one in errors[:1]] or ["healthy"])
outcomes = ", ".join(f"{one['action']} {one['subject']}: {one['state']}" for one in report["outcomes"])
print("ok " if right else "OFF", f"{name}: expected {expected}, found {found}; {outcomes}; exit {code}")
SUMMARY
}

# in_mounts SCRIPT COMMAND...: the command after the script, in mounts of its own.
in_mounts() {
    script=$1
    shift
    unshare --mount sh -c "$script; exec \"\$@\"" sh "$@"
}

# without PATTERN COMMAND...: with a /dev that lacks the NVIDIA nodes of the pattern.
without() {
    pattern=$1
    shift
    in_mounts "mkdir -p $WORK/dev && mount --rbind /dev $WORK/dev && mount -t tmpfs none /dev &&
        cp -a $WORK/dev/null $WORK/dev/zero $WORK/dev/full $WORK/dev/random $WORK/dev/urandom \
            $WORK/dev/tty $WORK/dev/nvidia* /dev/ && mkdir /dev/shm && mount -t tmpfs none /dev/shm &&
        rm -r /dev/$pattern" "$@"
}

# file_gone FILE COMMAND...: with a copy of its folder that lacks the file, in its place.
file_gone() {
    folder=$(dirname "$1")
    pattern=$(basename "$1")
    shift
    in_mounts "mkdir -p $WORK/layer && mount -t tmpfs none $WORK/layer && mkdir $WORK/layer/u $WORK/layer/w &&
        mount -t overlay overlay -o lowerdir=$folder,upperdir=$WORK/layer/u,workdir=$WORK/layer/w $folder &&
        rm $folder/$pattern" "$@"
}

# refused PATTERN COMMAND...: with nodes of that pattern that only root may open.
refused() {
    pattern=$1
    shift
    in_mounts "mkdir -p $WORK/dev && mount -t tmpfs none $WORK/dev && for node in $pattern; do
        [ -d \$node ] || { cp -a \$node $WORK/dev && chmod 600 $WORK/dev/\${node##*/} &&
            mount --bind $WORK/dev/\${node##*/} \$node; }; done" "$@"
}

cat > $WORK/as_user << 'SCRIPT'
#!/bin/sh
exec setpriv --reuid 65534 --regid 65534 --clear-groups env HOME=/nonexistent "$@"
SCRIPT
chmod 755 $WORK/as_user
PATH=$WORK:$PATH

LIBCUDA=$("$PY" -c '
import ctypes; ctypes.CDLL("libcuda.so.1")
print(next(line.split()[-1] for line in open("/proc/self/maps") if "/libcuda.so" in line))')
DRIVER=$(dirname "$LIBCUDA")
UUID=$(nvidia-smi --query-gpu=uuid --format=csv,noheader | head -1)
{
    date -u +%Y-%m-%dT%H:%M:%SZ
    echo "$LIBCUDA"
    ls -l /dev/nvidia* "$DRIVER" 2>&1
    ldconfig -p | grep -E 'libcuda|libnvidia'
    env | grep -E 'CUDA|NVIDIA|LD_|TORCH'
    grep -r . /proc/driver/nvidia 2> /dev/null
    cat /proc/devices /proc/modules | grep -i nvidia
    nvidia-smi
    nvidia-smi topo -m
    for device in /sys/bus/pci/devices/*; do
        grep -q 0x10de "$device/vendor" || continue
        ls -l "$device"
        for file in vendor device class revision subsystem_vendor subsystem_device numa_node enable \
            current_link_speed max_link_speed current_link_width max_link_width resource; do
            grep -s . "$device/$file" /dev/null
        done
    done
    grep -r . /sys/module/nvidia/version /sys/module/nvidia/parameters 2> /dev/null
    id
    ulimit -a
    cat /sys/kernel/mm/transparent_hugepage/* /sys/devices/system/clocksource/clocksource0/*
    grep -i huge /proc/meminfo
    cat /proc/1/cgroup /proc/self/mountinfo
    dmesg 2> /dev/null | tail -50
} > "$OUT/machine.txt" 2>&1
: > "$OUT/states.txt"

state as-it-is healthy env
state uuid-prefix healthy env CUDA_VISIBLE_DEVICES="$(echo "$UUID" | cut -c1-12)"
state index-out-of-range cuda-visible-devices env CUDA_VISIBLE_DEVICES=7
state uuid-of-another cuda-visible-devices env CUDA_VISIBLE_DEVICES=GPU-00000000-dead-beef-0000-000000000000
state twice cuda-visible-devices env CUDA_VISIBLE_DEVICES=0,0
state own-network healthy unshare --net
state own-users healthy unshare --user --map-root-user
state little-address-space healthy sh -c 'ulimit -v 30000000; exec "$@"' sh
state no-proc-driver healthy in_mounts 'mount -t tmpfs none /proc/driver'
# The driver's libraries make a missing node anew where root asks.
state root-makes-nodes healthy without 'nvidia*'
state uvm-node-missing cuda-unknown-uvm without nvidia-uvm as_user
state control-node-missing device-nodes-missing without nvidiactl as_user
state gpu-node-missing device-nodes-missing without 'nvidia[0-9]' as_user
state nodes-missing device-nodes-missing without 'nvidia*' as_user
state nodes-refused device-permission refused '/dev/nvidia*' as_user
state uvm-node-refused device-permission refused '/dev/nvidia-uvm' as_user
state other-user healthy as_user
state bare-environment healthy env -i PATH="$PATH" HOME=$WORK
state mps-of-nobody healthy env CUDA_MPS_PIPE_DIRECTORY=$WORK/mps-of-nobody
state libcuda-empty driver-without-libcuda in_mounts ": > $WORK/empty; mount --bind $WORK/empty $LIBCUDA"
state libcuda-gone libcuda-missing file_gone "$DRIVER/libcuda.so*"
state nvml-gone healthy file_gone "$DRIVER/libnvidia-ml.so*"
state ptx-compiler-gone healthy file_gone "$DRIVER/libnvidia-ptxjitcompiler.so*"
STUB=$(find -L /usr/local/cuda* /opt -path '*stubs/libcuda.so' 2> /dev/null | head -1)
if [ -n "$STUB" ]; then
    mkdir -p $WORK/stub && cp "$STUB" $WORK/stub/libcuda.so.1
    state stub driver-stub env LD_LIBRARY_PATH=$WORK/stub
fi
COMPAT=$(find -L /usr/local/cuda* -path '*compat/libcuda.so.1' 2> /dev/null | head -1)
[ -z "$COMPAT" ] || state compat cuda-compat-wrong env LD_LIBRARY_PATH="$(dirname "$COMPAT")"
"$PY" -c '
import sys, time, torch
held = torch.empty(int(torch.cuda.mem_get_info()[0]) - 200 * 2**20, dtype=torch.uint8, device="cuda")
print("held", flush=True); time.sleep(40)' > $WORK/held 2>&1 &
HOLDER=$!
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do grep -q held $WORK/held && break; sleep 1; done
state memory-held gpu-memory-taken env
kill "$HOLDER"
cat "$OUT/states.txt"
