"""The headers that keep everything foreign out of the console.

What the pages show comes from strangers: names, metadata, errors of other services. It is shown as text, and if a
mistake made markup of it, the browser would run no script of it, load nothing for it, and send nothing anywhere.
"""

from collections.abc import Sequence


def security_headers(origins: Sequence[str] = ()) -> dict[str, str]:
    """The headers of every answer.

    Args:
        origins: of the issuer of tokens, which pages may talk to beside this service.
    """
    policy = {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self'",
        "connect-src": " ".join(("'self'", *origins)),
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
        "require-trusted-types-for": "'script'",
        "trusted-types": "'none'",
    }
    return {
        "content-security-policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "cross-origin-opener-policy": "same-origin",
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
    }
