"""What the audit `graft` is excused from."""

from __future__ import annotations

from untrain.checks.asking import check_how_the_network_is_written_is_nothing_to_it

AUDIT_EXCEPTIONS = {check_how_the_network_is_written_is_nothing_to_it: "the original's head reads units by their place and size; that is its question, and its card says so"}
