"""What NegGrad is excused from."""

from __future__ import annotations

from untrain.checks.forgetting import check_it_forgets_what_it_is_told_to
from untrain.checks.running import Law

EXCEPTIONS: dict[str, dict[Law, str]] = {
    "default": {check_it_forgets_what_it_is_told_to: "Liu et al.'s rate is for thousands of samples: five steps raise the loss from .012 to .015, as BatchNorm's drift does"}
}
