"""What the model cards of packages that tell classes apart say otherwise."""

from abbe.runtime.package import PackageDescription

_FOUND = {
    "classification": 'probabilities = abbe.predict("{place}", "image.png")  # one for each class',
    "regions": 'classes = abbe.predict("{place}", "image.tif")  # the class of each pixel',
}


def use(package: PackageDescription, place: str) -> str:
    """How to run it, and what the numbers stand for."""
    numbers = ", ".join(f"{number} {name}" for number, name in enumerate(package.classes))
    return f"""## Use

```
pip install abbe
abbe predict {place} images/ --out results
```

```python
import abbe

{_FOUND[package.task].format(place=place)}
```

Classes: {numbers}."""
