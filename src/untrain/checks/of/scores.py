"""What the audit `scores` is excused from."""

from __future__ import annotations

from untrain.checks.asking import check_the_order_of_samples_is_nothing_to_it

AUDIT_EXCEPTIONS = {check_the_order_of_samples_is_nothing_to_it: "the field's attacks are fitted to some of the samples, and the folds follow their order"}
