#!/bin/bash
# TaskProlog of slurm.conf: looks at the user's environment, as the user, where a job asks for it:
#
#   export ENVDOCTOR_PROLOG=warn      says in the output of the job what is wrong
#   export ENVDOCTOR_PROLOG=cancel    and ends the task where torch cannot work
#
# What Slurm reads from its standard output are lines like `print TEXT`, which go into the output of the task.
# A task prolog that ends with anything but 0 cancels the task: here only with `cancel`, and only where envdoctor
# ended with 1, a finding. With 3 (something could not be tried) and 4 (envdoctor itself failed) the task starts.
# `--scope user` leaves the GPUs to the prolog of the node.
set -u
wish=${ENVDOCTOR_PROLOG:-}
# Once a node is enough.
[ -n "$wish" ] && [ "${SLURM_LOCALID:-0}" = 0 ] || exit 0
home=${ENVDOCTOR_HOME:-/opt/envdoctor} # a virtual environment that holds envdoctor

code=0
text=$(timeout -k 5 120 "$home/bin/envdoctor" check --scope user --timeout 90 --plain 2>&1) || code=$?
[ "$code" != 0 ] || exit 0
while IFS= read -r line; do
  printf 'print %s\n' "$line"
done <<<"$text"
[ "$wish" = cancel ] && [ "$code" = 1 ] && exit 1
exit 0
