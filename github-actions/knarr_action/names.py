"""Names of images."""


def with_lower_case(name: str) -> str:
    """An image's name with its repository in lower case, as registries want it; tag and digest stay."""
    head, at, digest = name.partition("@")
    path, slash, last = head.rpartition("/")
    last, colon, tag = last.partition(":")
    return f"{path.lower()}{slash}{last.lower()}{colon}{tag}{at}{digest}"
