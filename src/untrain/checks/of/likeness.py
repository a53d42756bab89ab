"""What the audit `likeness` is excused from."""

from __future__ import annotations

from untrain.checks.asking import check_how_the_network_is_written_is_nothing_to_it, check_the_order_of_samples_is_nothing_to_it

AUDIT_EXCEPTIONS = {
    check_how_the_network_is_written_is_nothing_to_it: "CKA as it is defined takes one scale for all units together",
    check_the_order_of_samples_is_nothing_to_it: "the folds that its logistic regression is fitted without follow the order of the samples",
}
