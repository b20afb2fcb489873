"""Ask a service of `abbe serve --api` about an image; Python's own library is enough.

python client.py http://127.0.0.1:8000 nuclei cells.png

The token, where one is needed, is read from the variable ABBE_TOKEN.
"""

import json
import os
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path


def predict(service: str, package: str, image: Path, **query: str) -> bytes:
    """The service's answer; waits and asks again while too much waits there."""
    query = {"name": f"image{image.suffix}", **query}  # the ending tells; the name may be private
    address = f"{service}/v1/packages/{package}/predict?{urllib.parse.urlencode(query)}"
    headers = {"Content-Type": "application/octet-stream"}
    if token := os.environ.get("ABBE_TOKEN"):
        headers["Authorization"] = f"Bearer {token}"
    request = urllib.request.Request(address, image.read_bytes(), headers, method="POST")
    for _ in range(20):
        try:
            with urllib.request.urlopen(request, timeout=600) as response:
                return response.read()
        except urllib.error.HTTPError as error:
            if error.code != 503:
                words = json.load(error)["error"]
                raise SystemExit(f"{image}: {error.code}: {words}") from error
            time.sleep(int(error.headers["Retry-After"]))
    raise SystemExit(f"{image}: the service has too much to do")


if __name__ == "__main__":
    service, package, image = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    found = json.loads(predict(service, package, image, answer="json"))
    print(f"{found['count']} objects")
    for each in found["objects"]:
        print(f"{each['label']}: {each['area_px']} px at {each['x']:.1f}, {each['y']:.1f}")
    outlines = image.with_suffix(".geojson")
    outlines.write_bytes(predict(service, package, image, answer="geojson"))
    print(f"{outlines}: for QuPath")
