"""What the audit `classinstance` is excused from."""

from __future__ import annotations

from untrain.checks.asking import check_how_the_network_is_written_is_nothing_to_it

AUDIT_EXCEPTIONS = {check_how_the_network_is_written_is_nothing_to_it: "one of its signals sets the original's head on the features, which reads units by their place and size"}
