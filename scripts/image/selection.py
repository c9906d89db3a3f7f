"""What goes into the images: packages, modules, and the parts of each that are left out."""

from collections.abc import Collection, Mapping
from types import MappingProxyType

PYTHON = "python3.11"

DEBIAN_PACKAGES = (
    "busybox-static",
    "ca-certificates",
    "libbz2-1.0",
    "libc6",
    "libexpat1",
    "libffi8",
    "libgcc-s1",
    "liblzma5",
    "libpython3.11-minimal",
    "libpython3.11-stdlib",
    "libssl3",
    "libuuid1",
    "python3.11-minimal",
    "zlib1g",
)

OPENED_BY_NAME = ("libgcc_s.so.1",)
"""Libraries that libc opens itself, without naming them in its ELF header: for the end of a thread."""

STDLIB_LEFT_OUT: Collection[str] = frozenset(
    # Development, documentation, tests.
    "__phello__ bdb cProfile code codeop compileall doctest ensurepip idlelib lib2to3 pdb profile pstats "
    "py_compile pyclbr pydoc pydoc_data rlcompleter tabnanny test this timeit trace tracemalloc turtle "
    "turtledemo unittest venv zipapp distutils "
    # Terminals, sound, graphics, other systems.
    "aifc chunk cgi cgitb cmd colorsys crypt curses imghdr msilib nturl2path ossaudiodev pty sndhdr sunau "
    "tkinter tty wave webbrowser "
    # Protocols and formats that no image or registry has.
    "antigravity asynchat asyncio asyncore configparser dbm ftplib imaplib mailbox mailcap modulefinder "
    "multiprocessing netrc nntplib optparse pickletools pipes plistlib poplib sched shelve smtpd smtplib "
    "socketserver sqlite3 statistics symtable telnetlib tomllib uu wsgiref xdrlib xmlrpc zoneinfo "
    # Debian's own build data.
    "_sysconfigdata__x86_64-linux-gnu _sysconfigdata__aarch64-linux-gnu config-3.11-x86_64-linux-gnu "
    "config-3.11-aarch64-linux-gnu EXTERNALLY-MANAGED sitecustomize LICENSE.txt "
    # Parts of packages: fallbacks for what the interpreter has in C, servers, tests.
    "_pydecimal _pyio ctypes/test http/server importlib/_bootstrap importlib/_bootstrap_external "
    "logging/config logging/handlers".split()
)
"""Modules and packages of the standard library, by path without suffix."""

KEPT_OF: Mapping[str, Collection[str]] = MappingProxyType(
    {
        # Most of Debian's extension modules are part of the interpreter itself.
        "lib-dynload": frozenset(
            "_bz2 _contextvars _ctypes _decimal _hashlib _json _lzma _queue _ssl _typing _uuid mmap resource "
            "termios".split()
        ),
        # cp437 is the encoding of names in zip archives.
        "encodings": frozenset(
            "__init__ aliases ascii cp437 idna latin_1 punycode raw_unicode_escape undefined unicode_escape "
            "utf_16 utf_16_be utf_16_le utf_32 utf_32_be utf_32_le utf_8 utf_8_sig".split()
        ),
    }
)
"""Directories of the standard library of which only these modules are kept."""

WHEEL_PARTS_LEFT_OUT: Mapping[str, Collection[str]] = MappingProxyType(
    {
        "anyio": ("_backends", "_core/_asyncio_selector_thread.py", "pytest_plugin.py"),
        "httpx2": ("_main.py", "websockets"),
        "idna": ("__main__.py", "cli.py"),
        "isal": ("isa-l",),
        "typer": ("__main__.py", "cli.py", "rich_utils.py", "testing.py"),
        "zstandard": ("_cffi", "backend_cffi.py", "backend_rust"),
    }
)
"""Beginnings of paths within a wheel's package: other backends, command lines, tests."""
