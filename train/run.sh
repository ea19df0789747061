#!/bin/sh
# From data to a model file and its card: train/run.sh DATA WORK [MINUTES of training all weights]
# A step whose result is in WORK is skipped: run it again to go on. To make a result anew delete it, all later ones and WORK/last.pt.
set -eu
[ $# -ge 2 ] || { sed -n 2,3p "$0" >&2; exit 2; }
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
data=$1 work=$2 minutes=${3:-0}
python=${PYTHON:-python3}
threads=${THREADS:-2}
device=${DEVICE:-cpu}
drop=${DROP:-0.01} # the loss of mean nDCG by quantising that is an error
mkdir -p "$work"

# The one that native.py finds
program=$(PYTHONPATH="$here" "$python" -c 'import native; print(native.program())')

# step RESULT COMMAND...: the command makes the result, whole or not at all
step() {
    result=$1; shift
    if [ -e "$result" ]; then echo "== $result is there"; return; fi
    echo "== $result"
    "$@"
    [ -e "$result" ] || { echo "run.sh: $result was not made" >&2; exit 1; }
}
py() { script=$1; shift; "$python" "$here/$script" --data "$data" "$@"; }

# Its result is a file only when the command has succeeded.
into() { out=$1; shift; "$@" > "$out.tmp"; mv "$out.tmp" "$out"; }

# $TOKENIZER, $EMBED, $CALIBRATE, $TUNE, $ROUND, $ANSWER, $TRAIN: more options, split at spaces
step "$work/tok/tokenizer.json" py tokenizer.py --out "$work/tok" ${TOKENIZER:-}
tok=$work/tok/tokenizer.json
step "$work/embed.npz" py embed.py --tokenizer "$tok" --cache "$work/cache" --out "$work/embed.npz" --threads "$threads" --device "$device" ${EMBED:-}
on="--tokenizer $tok --threads $threads"
calibrate() { py calibrate.py $on --cache "$work/cache" "$@"; }
step "$work/start.json" calibrate --embeddings "$work/embed.npz" --init "$here/constants.json" --out "$work/start.json" --lr 0.02 --cover 2 --steps 200 --rounding q4_0 ${CALIBRATE:-}
for n in 1 2 3 4; do
    step "$work/tuned$n.json" calibrate --embeddings "$work/start.npz" --init "$work/start.json" --out "$work/tuned$n.json" \
        --steps 400 --lr 0.01 --vector-lr 1e-3 --cover 1 --seed $((n + 1)) --rounding q4_0 ${TUNE:-}
done
step "$work/average.json" "$python" "$here/average.py" "$work/tuned1.json" "$work/tuned2.json" "$work/tuned3.json" "$work/tuned4.json" --out "$work/average.json"
step "$work/rounded.json" calibrate --embeddings "$work/average.npz" --init "$work/average.json" --out "$work/rounded.json" \
    --steps 150 --lr 0.003 --vector-lr 1e-3 --cover 1 --seed 6 --rounding q4_1 ${ROUND:-}
step "$work/answer.json" py answer.py $on --cache "$work/cache" --weight xb-=0 --embeddings "$work/rounded.npz" --init "$work/rounded.json" --out "$work/answer.json" ${ANSWER:-}
train() {
    if [ "${PROCESSES:-1}" -gt 1 ]; then
        "$python" -m torch.distributed.run --standalone --nproc-per-node "$PROCESSES" "$here/train.py" --data "$data" "$@"
    else
        py train.py "$@"
    fi
}
step "$work/train.json" train --tokenizer "$tok" --embeddings "$work/answer.npz" --constants "$work/answer.json" --work "$work" --minutes "$minutes" --resume \
    --threads "$threads" --device "$device" ${TRAIN:-}
step "$work/f32.json" py evaluate.py --model "$work/export" --check --threads "$threads" --out "$work/f32.json"
step "$work/mini.gguf" "$program" quantize "$work/export" "$work/mini.gguf" --type q8_0 --embedding-type q4_k
step "$work/shipped.json" py evaluate.py --model "$work/mini.gguf" --threads "$threads" --against "$work/f32.json" --drop "$drop" --out "$work/shipped.json"
step "$work/eval.json" into "$work/eval.json" "$program" eval --data "$data/dev" --baseline given --model "$work/mini.gguf" \
    --threads "$threads" --device cpu --format json --quiet
"$python" "$here/card.py" --data "$data" --work "$work" --card "${CARD:-$here/../models/mini.md}" --out "$work/mini.md"
