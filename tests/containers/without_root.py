"""Runs in the executor's image: takes everything away but /knarr, then resolves, hashes, speaks TLS.

    python3.11 -c <this text> NAME PORT CA-FILE

Plants what would bring foreign code or settings into a process, before and after. Prints as JSON what the
process and a child of it had mapped, which modules were loaded late, what is left of `/`.
"""

import json
import os
import shutil
import subprocess
import sys

sys.path.append("/knarr/app")

from knarr.builder.roots.inplace.preload import load_everything

FOREIGN = "/lib/x86_64-linux-gnu/libnss_foreign.so.2"
PLANTED = {
    "/etc/ld.so.preload": f"{FOREIGN}\n",
    "/etc/nsswitch.conf": "passwd: foreign\nhosts: foreign\n",
    "/etc/host.conf": "order foreign\n",
    "/etc/localtime": "not a time zone",
    "/usr/lib/ssl/openssl.cnf": "openssl_conf = broken\n[broken]\nproviders = none\n",
    "/usr/lib/locale/locale-archive": "no archive",
}
KEPT = ("/knarr", "/proc", "/sys", "/dev")
MAPS = "import sys; print(open('/proc/self/maps').read())"


def plant(library: str) -> None:
    """Put foreign settings into `/`, with a library that they name."""
    for path, text in PLANTED.items():
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as file:
            file.write(text)
    for directory in ("/lib/x86_64-linux-gnu", "/lib", "/usr/lib"):
        os.makedirs(directory, exist_ok=True)
        for name in ("libnss_foreign.so.2", "libgcc_s.so.1", "libz.so.1"):
            shutil.copy(library, os.path.join(directory, name))


def empty(directory: str, mounts: set[str]) -> None:
    """Remove everything but what is mounted or ours."""
    for entry in os.scandir(directory):
        if entry.path in mounts or entry.path.startswith(KEPT):
            continue
        if any(mount.startswith(f"{entry.path}/") for mount in mounts):
            empty(entry.path, mounts)
        elif entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path)
        else:
            os.unlink(entry.path)


def mapped(text: str) -> list[str]:
    """The files of a process's maps."""
    return sorted({line.split(maxsplit=5)[5] for line in text.splitlines() if "/" in line})


def child_maps() -> list[str]:
    """The files that a fresh interpreter maps."""
    command = [sys.executable, "-ISBXutf8", "-c", f"import ssl, ctypes, socket; {MAPS}"]
    return mapped(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main(name: str, port: str, authority: str) -> dict[str, object]:
    """Do it all; the result is what is printed."""
    import hashlib
    import socket
    import ssl
    import threading

    load_everything()
    loaded = set(sys.modules)
    with open("/proc/self/mountinfo") as file:
        mounts = {line.split()[4] for line in file} - {"/"}
    with open(authority) as file:
        certificate = file.read()
    shutil.copy("/knarr/lib/libbz2.so.1.0", "/dev/shm/library")
    plant("/dev/shm/library")
    children = child_maps()
    empty("/", mounts)
    left = sorted(os.listdir("/"))
    children += child_maps()
    plant("/dev/shm/library")

    address = socket.getaddrinfo(name, int(port), socket.AF_INET, socket.SOCK_STREAM)[0][4]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_default_certs()
    system_certificates = len(context.get_ca_certs())
    context.load_verify_locations(cadata=certificate)
    with socket.create_connection((str(address[0]), int(port))) as plain:
        with context.wrap_socket(plain, server_hostname=name) as secure:
            secure.sendall(b"GET /v2/ HTTP/1.0\r\n\r\n")
            answer = secure.recv(100).decode().split("\r")[0]
    # A thread that ends by pthread_exit makes libc open libgcc_s.
    threading.Thread(target=threading.Event().wait, daemon=True).start()
    with open("/proc/self/maps") as file:
        own = mapped(file.read())
    return {
        "answer": answer,
        "system_certificates": system_certificates,
        "sha256": hashlib.sha256(b"knarr").hexdigest(),
        "left": left,
        "loaded_late": sorted(set(sys.modules) - loaded),
        "mapped": sorted({*own, *children, *child_maps()}),
    }


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
