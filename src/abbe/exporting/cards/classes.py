"""What the model cards of packages that tell classes apart say otherwise."""

from abbe.runtime.package import PackageDescription

_FOUND = {
    "classification": 'probabilities = abbe.predict("{name}", "image.png")  # one for each class',
    "regions": 'classes = abbe.predict("{name}", "image.tif")  # the number of each pixel\'s class',
}


def use(package: PackageDescription) -> str:
    """How to run it, and what the numbers stand for."""
    numbers = ", ".join(f"{number} {name}" for number, name in enumerate(package.classes))
    return f"""## Use

```
pip install abbe
abbe predict {package.name} images/ --out results
```

```python
import abbe

{_FOUND[package.task].format(name=package.name)}
```

Classes: {numbers}."""
