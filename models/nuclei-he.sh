#!/usr/bin/env bash
# Makes the starter package nuclei-he, again and anywhere: nuclei in H&E, red, green and blue.
#
#   bash models/nuclei-he.sh NUCLS DSB WEIGHTS OUT [PACKAGE]
#
# NUCLS holds fifteen fields of NuCLS (images/, labels/; train_1 to train_10, test_1 to test_5; CC0), DSB
# is DSB-2018 as for nuclei.sh, of whose stained images (kind colour; CC0) 59 are for training. WEIGHTS
# as for nuclei.sh. Trains on 67 images, chooses on 13, scores on 21. About six minutes on two cores
# that compute bf16.
set -euo pipefail
nucls=$1 dsb=$2 weights=$3 out=$4 package=${5:-src/abbe/starter/nuclei-he}

python models/he_data.py "$nucls" "$dsb" "$out/he-data"
abbe distill supervised --out "$out/nuclei-he" --title "Nuclei in H&E" --data.path "$out/he-data" \
    --student.architecture unet-timm-tf_efficientnet_lite0 --student.encoder-weights "$weights" \
    --student.depth 4 --student.decoder-widths 64 32 16 8 \
    --student.input-channels red green blue --student.normalisation range \
    --training.steps 360 --training.batch-size 12 --training.crop 192 \
    --training.learning-rate 0.002 --training.validate-every 60 \
    --training.augmentation.scale 0.6 1.6 --training.augmentation.gamma 0.6 1.6 \
    --training.augmentation.brightness 0.3
python models/examples.py "$out/examples"
cp "$out/nuclei-he/summary.json" models/nuclei-he.json
abbe export "$out/nuclei-he" --out "$package" --compact --tile 512 \
    --example "$out/examples/nuclei-he.png" --intended-use "Nuclei in H&E, in research" \
    --not-tested-on "cytology" "other stains than H&E" --data-licence CC0-1.0 --encoder-licence Apache-2.0 \
    --notes "The encoder began with EfficientNet-Lite0's ImageNet weights (Apache-2.0)." \
    "Trained on NuCLS (10 fields) and the stained images of DSB-2018 (70), both CC0." \
    "These weights may be used under Apache-2.0, as Abbe may." "The test image is simulated."
