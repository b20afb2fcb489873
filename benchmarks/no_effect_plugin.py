"""The entry point of `no_effect.py`: its recipes, its images and its network."""

from abbe.config.recipes import RECIPES, RecipeKeys
from abbe.registry import DATASETS, ENCODERS

DATASETS["pool"] = "no_effect_recipe:pool"
ENCODERS["micro"] = "no_effect_recipe:micro"
for name, place in {"no-effect": "NoEffect", "helps": "Helps", "harms": "Harms"}.items():
    RECIPES[name] = RecipeKeys(
        f"no_effect_recipe:{place}", ("evidence", "seeds", "baselines", "loss", "evaluation")
    )
