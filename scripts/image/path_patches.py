"""Closes the paths by which a foreign `/` could get code or settings into the executor's process.

While an image is built in place, `/` belongs to that image: its /etc/ld.so.preload would be loaded by the
next start of our interpreter, its /etc/nsswitch.conf would name libraries for our process to map, its
openssl.cnf could name a provider. Each path is changed, in the libraries that hold it, to one of equal length
that leads to /knarr. Where a compiler split a string in two, the rule has the part that stays whole.
"""

from collections.abc import Mapping

from scripts.image.architecture import Architecture

# Repeated slashes count as one.
_DEBIAN_DIRECTORIES = {
    "/usr/lib/": "/knarr///",
    "/usr/share/": "/knarr/////",
}

_LOADER = {
    "/etc/ld.so.preload": "/knarr/etc/preload",
    "/etc/ld.so.cache": "/knarr/etc/cache",
    "/usr/lib/": "/knarr///",
}

_LIBC = {
    **_DEBIAN_DIRECTORIES,  # character sets (gconv), locales, message catalogues, time zones
    "/etc/nsswitch.co": "/knarr/etc/nss.c",  # the rest is in the code: "nf"
    "/var/run/nscd/so": "/knarr/run/nscd/",  # the rest: "cket"
    "/etc/host.conf": "/knarr/etc/hcf",
    "/etc/gai.conf": "/knarr/etc/ga",
    "/etc/localtime": "/knarr/etc/ltm",
}

_LIBCRYPTO = {"/usr/lib/": "/knarr///"}  # openssl.cnf, cert.pem, engines, providers

NSS_CONFIG = "knarr/etc/nss.cnf"
"""Where libc now looks for nsswitch.conf."""

CA_BUNDLE = "knarr/ssl/cert.pem"
"""Where OpenSSL now looks for its trusted certificates."""


class DoorError(Exception):
    """A library does not hold a path that was to be changed: this is written for another version of it."""


def patch_paths(name: str, data: bytes, architecture: Architecture) -> bytes:
    """The library with its paths changed; others than the loader, libc, libcrypto come back as they are."""
    for old, new in _rules(name, architecture).items():
        before, after = old.encode(), new.encode()
        assert len(before) == len(after), (old, new)
        if before not in data:
            raise DoorError(f"{name} holds no {old!r}; hint: look for the path it uses now, with strings(1)")
        data = data.replace(before, after)
    return data


def _rules(name: str, architecture: Architecture) -> Mapping[str, str]:
    if name == architecture.loader.rpartition("/")[2]:
        return {**_LOADER, **_default_directories(architecture)}
    return {"libc.so.6": _LIBC, "libcrypto.so.3": _LIBCRYPTO}.get(name, {})


def _default_directories(architecture: Architecture) -> Mapping[str, str]:
    """Those that the loader searches for libraries; so none needs a search path of its own.

    Applied after /usr/lib. /lib alone is too short for a path of ours: nobody can create a file in /sys.
    """
    debian = f"/lib/{architecture.triplet}/"
    return {debian: "/knarr/lib".ljust(len(debian), "/"), "\0/lib/\0": "\0/sys/\0"}
