"""What kind of network address a host name stands for."""

import ipaddress
import socket

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_RFC1918 = tuple(map(ipaddress.IPv4Network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")))
_METADATA = ipaddress.ip_address("fd00:ec2::254")


def host_of(netloc: str) -> str:
    """The host of `host[:port]`, without the brackets of an IPv6 literal, in lower case."""
    if netloc.startswith("["):
        return netloc[1:].partition("]")[0].lower()
    return netloc.partition(":")[0].lower()


def literal(host: str) -> Address | None:
    """The address that a host is written as; None for a name."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def is_loopback(host: str) -> bool:
    """Whether the host as written can only be this machine: localhost, *.localhost, 127.0.0.0/8, ::1."""
    address = literal(host)
    if address is not None:
        return address.is_loopback
    name = host.rstrip(".").lower()
    return name == "localhost" or name.endswith(".localhost")


def is_rfc1918(host: str) -> bool:
    """Whether the host is written as an address of 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16."""
    address = literal(host)
    return isinstance(address, ipaddress.IPv4Address) and any(address in each for each in _RFC1918)


def is_local_name(host: str) -> bool:
    """Whether the host is a name below `.local`."""
    return literal(host) is None and host.rstrip(".").lower().endswith(".local")


def may_refer(registry_host: str, target_host: str) -> bool:
    """Whether a registry may send us on to another host.

    Nobody but a registry on loopback may name a host whose addresses are loopback, and nobody at all one
    that is link-local (cloud metadata services), unspecified or multicast, by literal or by name. A private
    address as a literal is for registries that have one themselves. A name that doesn't resolve here is left
    to the proxy.
    """
    if registry_host == target_host:
        return True
    addresses = _addresses(target_host)
    if any(_is_never_meant(address) for address in addresses):
        return False
    if any(address.is_loopback for address in addresses):
        return is_loopback(registry_host)
    written = literal(target_host)
    if written is not None and written.is_private:
        return any(address.is_private for address in _addresses(registry_host))
    return True


def _is_never_meant(address: Address) -> bool:
    special = address.is_link_local or address.is_unspecified or address.is_multicast
    return special or address == _METADATA


def _addresses(host: str) -> tuple[Address, ...]:
    written = literal(host)
    if written is not None:
        return (written,)
    try:
        answers = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return ()
    found = (literal(str(answer[4][0])) for answer in answers)
    return tuple(address for address in found if address is not None)
