"""Takes an image out of a registry with skopeo, to look at it independently of the product."""

import subprocess
from pathlib import Path

from support.flatten import FlatImage, flatten_layout
from support.registry import Registry


def pushed_image(
    registry: Registry, name: str, place: Path, *, user: tuple[str, str] | None = None
) -> FlatImage:
    """The image `name` (`repository:tag` or `repository@digest`) with its layers applied."""
    place.mkdir(parents=True)
    credentials = [f"--src-creds={user[0]}:{user[1]}"] if user else []
    command = ["skopeo", "copy", "--quiet", "--src-tls-verify=false", *credentials]
    subprocess.run(
        [*command, f"docker://{registry.host}/{name}", f"oci:{place}:latest"],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return flatten_layout(place)
