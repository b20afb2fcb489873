"""The entry point of `no_effect.py`: its recipe, its images and its network."""

from abbe.config.recipes import RECIPES, RecipeKeys
from abbe.registry import DATASETS, ENCODERS

DATASETS["pool"] = "no_effect_recipe:pool"
ENCODERS["micro"] = "no_effect_recipe:micro"
RECIPES["no-effect"] = RecipeKeys(
    "no_effect_recipe:NoEffect", ("evidence", "seeds", "baselines", "loss", "evaluation")
)
