#!/usr/bin/env bash
# DSB-2018 with 5, 20 and all labels over five seeds, against every baseline (docs/results.md).
#
#   bash benchmarks/evidence.sh DATA OUT
#
# DATA holds dsb2018/. Random encoder weights (nothing is downloaded) and 150 steps. On two cores
# about half an hour. A finished run is not run again, and one that was stopped goes on.
set -euo pipefail
data=$1 out=$2

set=(--data.path "$data/dsb2018" --data.where kind fluo --data.channels nucleus
     --student.input-channels nucleus --student.encoder-weights random --training.batch-size 8
     --training.learning-rate 0.002 --training.validate-every 75 --training.patience None)

run() { # run NAME ABBE-ARGUMENTS…
    grep -qs '"complete": true' "$out/$1/summary.json" ||
        abbe distill "${@:2}" --out "$out/$1" --resume
}

run teacher supervised "${set[@]}" --student.architecture unet-resnet50 --training.crop 128 \
    --training.steps 300
for labels in 20 5 all; do
    run "labels-$labels" cmkd "${set[@]}" --data.labelled "$labels" --evidence full \
        --student.architecture unet-mobilenetv3 --training.crop 96 --training.steps 150 \
        --teacher.kind run --teacher.path "$out/teacher"
done
python benchmarks/tables.py "$out"/labels-{all,20,5} --metrics dice f1@0.5 pq
