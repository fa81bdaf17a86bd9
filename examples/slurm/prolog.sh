#!/bin/bash
# Prolog of slurm.conf: looks at the node before each job, as root. `--scope node` judges the machine alone, so
# that a user's broken environment never takes a node away.
#
# A prolog that ends with anything but 0 drains the node and requeues the job (held, unless slurm.conf says
# nohold_on_prolog_fail). So this one ends with 1 only where envdoctor ended with 1 *and* its report says that
# the machine is at fault. With 2 (bad input), 3 (something could not be looked at), 4 (envdoctor itself failed),
# or where it is missing or takes too long, the job starts and the system's log has a line.
set -u
PATH=/usr/sbin:/usr/bin:/sbin:/bin # Slurm gives prologs none.
home=${ENVDOCTOR_HOME:-/opt/envdoctor} # a virtual environment that holds envdoctor

log() { logger -s -t envdoctor -- "$1" || echo "envdoctor: $1" >&2; }

# A job without GPUs needs none.
options=(check --scope node --timeout 30 --json)
[ -z "${SLURM_JOB_GPUS:-}" ] || options+=(--expect gpu)

code=0
report=$(timeout -k 5 45 "$home/bin/envdoctor" "${options[@]}" 2>/dev/null) || code=$?
case $code in
  0) exit 0 ;;
  1) ;;
  *)
    log "could not tell whether this node is in order (exit code $code); job ${SLURM_JOB_ID:-} starts all the same"
    exit 0
    ;;
esac

cause=$("$home/bin/python" -I -c '
import json, sys
report = json.load(sys.stdin)
if report["fault"] in ("machine", "both"):
    worst = next(one for one in report["findings"] if one["fault"] == "machine")
    print(worst["code"], worst["message"])
' <<<"$report" 2>/dev/null)
[ -n "$cause" ] || exit 0

log "$cause"
# The reason that `sinfo -R` shows; without it that would be "Prolog error".
if command -v scontrol >/dev/null && [ -n "${SLURMD_NODENAME:-}" ]; then
  scontrol update "nodename=$SLURMD_NODENAME" state=drain "reason=envdoctor: ${cause:0:200}" || true
fi
exit 1
