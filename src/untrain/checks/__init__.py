"""The laws that every method keeps: a function for each, and `check_method`, which runs them all; `check_audit` holds audits to theirs.

A law runs the method on a small case: a network trained on five digits, two of which are to be forgotten.
Where the method breaks it, `LawBroken` (an AssertionError) names the law, the method and the fact.
General laws stand here by subject; those of one method in `of/NAME.py`, found by the name of the method's file.

>>> from untrain.methods.headonly import HeadOnly
>>> check_the_repr_is_python(HeadOnly())
"""

from __future__ import annotations

from collections.abc import Sequence

from untrain.checks.asking import AUDIT_LAWS, check_audit
from untrain.checks.case import CLASSES, GONE, OTHERS, Case, Closed, Shelf, SmallRecipe
from untrain.checks.chance import (
    check_another_seed_gives_other_bits,
    check_the_random_state_of_the_caller_is_neither_used_nor_moved,
    check_the_same_seed_gives_the_same_bits,
)
from untrain.checks.effect import (
    check_a_clip_of_0_is_none,
    check_each_phase_moves_what_it_declares,
    check_the_weights_move,
    check_without_steps_it_changes_what_it_edits_and_nothing_else,
)
from untrain.checks.fields import (
    check_a_share_is_at_most_the_whole,
    check_every_field_is_documented,
    check_every_field_is_used,
    check_no_field_is_named_as_a_flag_that_all_methods_have,
    check_the_knobs_that_it_names_are_its_own,
    check_the_repr_is_python,
)
from untrain.checks.forgetting import check_it_forgets_what_it_is_told_to
from untrain.checks.golden import check_its_numbers_are_those_on_record
from untrain.checks.nets import LAWS_OF_KINDS
from untrain.checks.own import exceptions, own_laws
from untrain.checks.running import Law, LawBroken, ask, sentence
from untrain.checks.sight import (
    check_each_part_that_it_names_matters,
    check_it_sees_only_what_it_names,
    check_it_takes_as_many_of_each_class_as_a_field_says,
    check_no_image_that_it_does_not_name_passes_through_a_network,
    check_the_order_of_classes_is_nothing_to_it,
)
from untrain.checks.teachers import check_its_teachers_stay_what_they_were
from untrain.checks.traces import (
    check_every_number_that_it_leaves_is_finite,
    check_nothing_is_left_behind,
    check_the_given_model_is_left_alone,
    check_the_mode_of_the_given_model_is_nothing_to_it,
)
from untrain.core.method import Method

__all__ = [
    "AUDIT_LAWS",
    "CLASSES",
    "GONE",
    "LAWS",
    "OTHERS",
    "Case",
    "Closed",
    "Law",
    "LawBroken",
    "Shelf",
    "SmallRecipe",
    "ask",
    "check_audit",
    "check_method",
    "exceptions",
    "own_laws",
    "sentence",
]

LAWS: tuple[Law, ...] = (
    check_every_field_is_documented,
    check_the_knobs_that_it_names_are_its_own,
    check_no_field_is_named_as_a_flag_that_all_methods_have,
    check_the_repr_is_python,
    check_a_share_is_at_most_the_whole,
    check_the_given_model_is_left_alone,
    check_the_weights_move,
    check_it_forgets_what_it_is_told_to,
    check_its_numbers_are_those_on_record,
    check_it_sees_only_what_it_names,
    check_no_image_that_it_does_not_name_passes_through_a_network,
    check_each_part_that_it_names_matters,
    check_it_takes_as_many_of_each_class_as_a_field_says,
    check_the_same_seed_gives_the_same_bits,
    check_another_seed_gives_other_bits,
    check_the_random_state_of_the_caller_is_neither_used_nor_moved,
    check_the_mode_of_the_given_model_is_nothing_to_it,
    check_nothing_is_left_behind,
    check_every_number_that_it_leaves_is_finite,
    check_without_steps_it_changes_what_it_edits_and_nothing_else,
    check_each_phase_moves_what_it_declares,
    check_a_clip_of_0_is_none,
    check_its_teachers_stay_what_they_were,
    check_the_order_of_classes_is_nothing_to_it,
    *LAWS_OF_KINDS,
    check_every_field_is_used,
)
"""The laws of all methods, the quick ones first. One that does not concern a method lets it pass."""

__all__ += [law.__name__ for law in LAWS if law not in LAWS_OF_KINDS]


def check_method(method: Method, *more: Law, laws: Sequence[Law] = LAWS) -> None:
    """Run every law on a method, wherever it lives: those of all methods, its own, and these.

    An exception that is granted (`exceptions`) must be made use of: a law that is kept all the same is struck from the list.

    Args:
        method: A method with its settings.
        more: Laws of your own, functions of `(method, case=None)` that raise `LawBroken`.
        laws: Those of all methods, or some of them where time is short.

    Raises:
        LawBroken: the first law that it breaks.
    """
    excused = exceptions(method)
    for law in (*laws, *own_laws(method), *more):
        try:
            ask(law, method)
        except LawBroken:
            if law not in excused:
                raise
        else:
            if law in excused:
                raise LawBroken(law, method, f"keeps it, though it is excused ({excused[law]}); strike it from the exceptions")
