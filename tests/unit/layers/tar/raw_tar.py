"""Tar archives written field by field, wrong ones included."""

BLOCK = 512
USTAR = b"ustar\x0000"
GNU = b"ustar  \x00"


def header(
    name: bytes,
    *,
    flag: bytes = b"0",
    size: int | bytes = 0,
    mode: int | bytes = 0o644,
    uid: int | bytes = 0,
    gid: int | bytes = 0,
    mtime: int | bytes = 0,
    link: bytes = b"",
    device: tuple[int, int] = (0, 0),
    magic: bytes = USTAR,
    prefix: bytes = b"",
    checksum: bytes | None = None,
) -> bytes:
    """One header block; a number given as bytes is the field itself."""
    block = b"".join(
        (
            name.ljust(100, b"\0"),
            _number(mode, 8),
            _number(uid, 8),
            _number(gid, 8),
            _number(size, 12),
            _number(mtime, 12),
            b" " * 8,
            flag,
            link.ljust(100, b"\0"),
            magic,
            bytes(64),
            _number(device[0], 8),
            _number(device[1], 8),
            prefix.ljust(155, b"\0"),
            bytes(12),
        )
    )
    assert len(block) == BLOCK
    return with_checksum(block) if checksum is None else block[:148] + checksum + block[156:]


def with_checksum(block: bytes) -> bytes:
    block = block[:148] + b" " * 8 + block[156:]
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def _number(value: int | bytes, width: int) -> bytes:
    return value.ljust(width, b"\0") if isinstance(value, bytes) else b"%0*o\0" % (width - 1, value)


def base256(value: int, width: int) -> bytes:
    encoded = bytearray(value.to_bytes(width, "big", signed=True))
    encoded[0] |= 0x80
    return bytes(encoded)


def padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % BLOCK)


def file(name: bytes, content: bytes = b"", *, mode: int = 0o644, uid: int = 0) -> bytes:
    return header(name, size=len(content), mode=mode, uid=uid) + padded(content)


def directory(name: bytes, mode: int = 0o755) -> bytes:
    return header(name, flag=b"5", mode=mode)


def symlink(name: bytes, target: bytes) -> bytes:
    return pax((b"linkpath", target)) + header(name, flag=b"2", mode=0o777)


def hardlink(name: bytes, target: bytes, mode: int = 0o644) -> bytes:
    return pax((b"linkpath", target)) + header(name, flag=b"1", mode=mode)


def fifo(name: bytes) -> bytes:
    return header(name, flag=b"6")


def record(key: bytes, value: bytes) -> bytes:
    body = b" %b=%b\n" % (key, value)
    length = len(body) + 1
    while len(b"%d" % length) + len(body) != length:
        length += 1
    return b"%d%b" % (length, body)


def pax(*records: tuple[bytes, bytes], flag: bytes = b"x") -> bytes:
    return raw_pax(b"".join(record(key, value) for key, value in records), flag=flag)


def raw_pax(data: bytes, *, flag: bytes = b"x") -> bytes:
    return header(b"pax", flag=flag, size=len(data)) + padded(data)


def long_name(name: bytes, flag: bytes = b"L") -> bytes:
    return header(b"././@LongLink", flag=flag, size=len(name) + 1, magic=GNU) + padded(name + b"\0")


def archive(*parts: bytes) -> bytes:
    return b"".join(parts) + bytes(2 * BLOCK)
