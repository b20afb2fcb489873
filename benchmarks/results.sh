#!/usr/bin/env bash
# Runs on real images whose figures docs/results.md once had, from one seed (now withdrawn).
#
#   bash benchmarks/results.sh DATA WEIGHTS OUT [dsb|codex|transfer|ablation …]
#
# DATA holds dsb2018/ and codex_2ch/, WEIGHTS unet2d_nuclei_broad/. All runs use random encoder
# weights (nothing is downloaded) and short schedules. With one seed and the twin they took two cores
# about an hour and a half; at today's standard evidence they take several times that. A finished run
# is not run again.
set -euo pipefail
data=$1 weights=$2 out=$3
shift 3
parts=("${@:-dsb codex transfer ablation}")

short=(--student.encoder-weights random --training.batch-size 8 --training.crop 128
       --training.learning-rate 0.002 --training.validate-every 75 --training.patience None)

run() { # run NAME ABBE-ARGUMENTS…: distil into $out/NAME unless that is done
    local name=$1
    shift
    grep -qs '"complete": true' "$out/$name/summary.json" ||
        abbe distill "$@" --out "$out/$name" --resume
}

dsb() {
    local set=(--data.path "$data/dsb2018" --data.where kind fluo --data.channels nucleus)
    run dsb-teacher supervised "${set[@]}" --student.architecture unet-resnet50 \
        --student.input-channels nucleus "${short[@]}" --training.steps 300
    local few=("${set[@]}" --data.labelled 20 --student.input-channels nucleus "${short[@]}"
               --training.crop 96 --training.steps 150)
    run dsb-unet2d-mobilenetv3 cmkd "${few[@]}" --student.architecture unet-mobilenetv3 \
        --teacher.kind bioimageio --teacher.path "$weights/unet2d_nuclei_broad" \
        --teacher.input-channels nucleus --teacher.options divisor 16
    run dsb-resnet50-mobilenetv3 cmkd "${few[@]}" --student.architecture unet-mobilenetv3 \
        --teacher.kind run --teacher.path "$out/dsb-teacher"
    run dsb-resnet50-efficientnet cmkd "${few[@]}" --student.architecture unet-efficientnet-b0 \
        --teacher.kind store --teacher.path "$out/dsb-resnet50-mobilenetv3/targets.zarr" --evidence quick
    for teacher in resnet50 unet2d; do # the same answers, not computed again
        run "dsb-$teacher-resnet18" cmkd "${few[@]}" --student.architecture unet-resnet18 \
            --teacher.kind store --teacher.path "$out/dsb-$teacher-mobilenetv3/targets.zarr"
    done
}

codex() {
    python benchmarks/codex.py "$data/codex_2ch" "$out/codex-data"
    local set=(--data.path "$out/codex-data" --data.channels nucleus cytoplasm membrane)
    local taught=(cmkd "${set[@]}" --teacher.kind masks
                  --teacher.path "$data/codex_2ch/labels/DeepCell-0.9.0_membrane"
                  --teacher.options name Mesmer-0.9 --student.input-channels nucleus
                  --student.architecture unet-resnet18 "${short[@]}")
    run codex-one-crop "${taught[@]}" --data.labels labels/one-crop --training.steps 400
    run codex-no-label "${taught[@]}" --data.labels labels/test-only --training.steps 400
    for name in codex-one-crop codex-no-label; do
        [ -f "$out/$name/evaluations/expert2/summary.json" ] ||
            abbe evaluate "$out/$name" --name expert2 "${set[@]}" --data.labels labels/expert2
    done
}

transfer() { # each student as it is on the other sets; the demo's teacher also teaches there
    grep -qs '"complete": true' "$out/demo/student/summary.json" || abbe demo --out "$out/demo"
    local dsb=(--data.path "$data/dsb2018" --data.where kind fluo --data.channels nucleus
               --data.labelled 20)
    local codex=(--data.path "$out/codex-data" --data.channels nucleus cytoplasm membrane
                 --data.labels labels/one-crop)
    local simulated=(--data.kind simulated --data.count 240 --data.size 128 --data.seed 2
                     --data.split fraction --data.fractions 0.6 0.1 0.3)
    on demo/student codex2ch "${codex[@]}" --distil
    on demo/student dsb2018 "${dsb[@]}" --distil --teacher-channels nucleus nucleus nucleus
    on codex-one-crop dsb2018 "${dsb[@]}"
    on codex-one-crop simulated "${simulated[@]}"
    on dsb-resnet50-mobilenetv3 codex2ch "${codex[@]}"
    on dsb-resnet50-mobilenetv3 simulated "${simulated[@]}"
}

on() { # on RUN NAME ARGUMENTS…: evaluate a run on another set unless that is done
    local run=$1 name=$2
    shift 2
    [ -f "$out/$run/evaluations/$name/summary.json" ] ||
        abbe evaluate "$out/$run" --name "$name" "$@"
}

ablation() {
    python benchmarks/ablation.py "$out/ablation" --steps 200 \
        --codex "$out/codex-data" "$data/codex_2ch/labels/DeepCell-0.9.0_membrane"
}

for part in ${parts[*]}; do "$part"; done
