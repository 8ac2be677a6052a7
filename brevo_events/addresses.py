"""E-mail addresses: validation, comparison and masking."""

from __future__ import annotations

import re
from contextlib import suppress
from hashlib import sha256

import idna  # comes with requests
from django.utils.encoding import punycode

MAX_EMAIL_LENGTH = 254
MAX_DOMAIN_LENGTH = 253

_EMAIL = re.compile(r"[^@\s\x00-\x1f\x7f-\x9f]+@[^@\s\x00-\x1f\x7f-\x9f]+")
_WORD = re.compile(r"[^\s\"'<>(),;:]+")


def problem_of(email: str) -> str:
    """Return what is wrong with an address, or an empty string."""
    if not _EMAIL.fullmatch(email):
        return "is not an e-mail address like ada@example.com"
    try:
        punycode(email.rpartition("@")[2])
    except UnicodeError:
        return "has a domain that no mail server can have"
    return ""


def contact_hash(email: str) -> str:
    """
    Return the hash by which contacts are compared, the same for every spelling of an address.

    Case is ignored, and a domain equals its punycode form (IDNA 2008, in which
    ``fußball.de`` and ``fussball.de`` are two domains). It is a hash because
    MariaDB's usual collation considers ``josé@`` and ``jose@`` equal.
    """
    local, _, domain = email.strip().rpartition("@")
    spelling = f"{_lower(local)}@{_canonical_domain(domain)}"
    return sha256(spelling.encode(errors="surrogatepass")).hexdigest()


def masked(email: str) -> str:
    """Mask an address: enough to tell two apart, not enough to identify anyone."""
    local, at, domain = email.rpartition("@")
    return f"{local[:1]}…{at}{domain[:1]}…" if at else ""


def without_addresses(text: str) -> str:
    """Return a text with every address in it replaced."""
    # Word by word: a pattern with the @ in it takes quadratic time on a long word without one.
    return _WORD.sub(lambda word: "…@…" if "@" in word[0][1:-1] else word[0], text)


def _canonical_domain(domain: str) -> str:
    if domain.isascii():
        return domain.lower()
    # A longer text must come from a search box, and old versions of idna are slow to reject it.
    if len(domain) <= MAX_DOMAIN_LENGTH:
        with suppress(UnicodeError):
            return idna.encode(domain, uts46=True).decode()
    return _lower(domain)


def _lower(text: str) -> str:
    """Lower-case each letter that is the capital of another; the Kelvin sign isn't that of k, nor İ that of i."""
    if text.isascii():
        return text.lower()
    return "".join(small if (small := letter.lower()).upper() == letter else letter for letter in text)
