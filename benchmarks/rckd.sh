#!/usr/bin/env bash
# RCKD on H&E pictures: the runs of docs/rckd.md.
#
#   python benchmarks/pathology_data.py DATA LAID_OUT
#   bash benchmarks/rckd.sh LAID_OUT IMAGENET.pt OUT [teacher pretrain types colour …]
#
# IMAGENET.pt are MobileNetV2's weights in timm's layout, with which the teacher's encoder begins.
# Encoders of the students begin with random weights; schedules are short, so that two cores do it.
# What is finished is not done again.
set -euo pipefail
laid=$1 imagenet=$2 out=$3
shift 3
parts=("${@:-teacher types colour lesions lesions-contrastive efficientnet}")

taught=(--teacher.path "$out/teacher" --student.encoder-weights random
        --pretrain-data.kind folder --pretrain-data.path "$laid/tiles"
        --pretraining.steps 400 --pretraining.batch-size 16 --pretraining.crop 96)

curve() { # curve NAME ARGUMENTS…
    local name=$1
    shift
    abbe curve rckd "$@" --out "$out/$name" --resume
}

teacher() { # a U-Net on labelled nuclei
    grep -qs '"complete": true' "$out/teacher/summary.json" ||
        abbe distill supervised --data.path "$laid/nuclei" --student.input-channels red green blue \
            --student.architecture unet-timm-mobilenetv2_100 --student.encoder-weights "$imagenet" \
            --training.steps 300 --training.batch-size 4 --training.learning-rate 0.001 \
            --training.validate-every 100 --out "$out/teacher" --resume
}

types() { # which of two types a nucleus has
    curve types "${taught[@]}" --data.kind folder --data.path "$laid/types" --data.group picture \
        --training.steps 120 --training.batch-size 16 --training.crop 64 \
        --training.learning-rate 0.0005 --training.validate-every 40 \
        --fractions 0.05 0.1 0.25 1 --seeds 0 --initialisations random contrastive rckd rckd+contrastive
}

stained=(--data.kind folder --data.path "$laid/colour" --fine-tuning.task segmentation
         --training.steps 80 --training.batch-size 8 --training.crop 128
         --training.learning-rate 0.001 --training.validate-every 40
         --fractions 0.05 0.25 1 --seeds 0 1 --initialisations random rckd)

colour() { # nuclei in stained pictures: segmentation
    curve colour "${taught[@]}" "${stained[@]}"
}

ultrasound=(--teacher.kind none --data.kind folder --data.path "$laid/lesions" --seeds 0 1
            --training.steps 120 --training.batch-size 16 --training.crop 128
            --training.learning-rate 0.0005 --training.validate-every 40 --fractions 0.1 0.25 1)

lesions() { # far from what was pretrained on: encoders of the types' run, as given
    curve lesions "${ultrasound[@]}" --initialisations random given \
        --student.encoder-weights "$out/types/pretraining/rckd/encoder.safetensors"
}

lesions-contrastive() {
    curve lesions-contrastive "${ultrasound[@]}" --initialisations given \
        --student.encoder-weights "$out/types/pretraining/contrastive/encoder.safetensors"
}

efficientnet() { # the same pictures, with EfficientNet-B0
    curve efficientnet "${taught[@]}" "${stained[@]}" --student.architecture unet-efficientnet-b0
}

reading() { # tiles straight from the slides in OUT/slides: the log says how long training waits
    grep -qs '"complete": true' "$out/reading/summary.json" ||
        abbe distill rckd --teacher.kind run --teacher.path "$out/teacher" --evidence quick \
            --student.input-channels red green blue --student.architecture unet-csat-like \
            --student.encoder-weights random \
            --pretrain-data.kind slides --pretrain-data.path "$out/slides" \
            --pretraining.steps 60 --pretraining.batch-size 16 --pretraining.crop 224 \
            --data.kind folder --data.path "$laid/colour" --fine-tuning.task segmentation \
            --training.steps 4 --training.batch-size 4 --training.crop 128 --out "$out/reading"
}

for part in ${parts[*]}; do "$part"; done
