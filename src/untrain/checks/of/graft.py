"""What the audit `graft` is excused from."""

from __future__ import annotations

from untrain.checks.asking import check_how_the_network_is_written_is_nothing_to_it
from untrain.checks.truth import check_it_sees_what_was_learned

AUDIT_EXCEPTIONS = {
    check_how_the_network_is_written_is_nothing_to_it: "the original's head reads units by their place and size; that is its question, and its card says so",
    check_it_sees_what_was_learned: "upon features of another model the original's head may call anything the class; its card says to read the row beside that of the retained",
}
