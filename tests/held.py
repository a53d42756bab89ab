"""The known ways to fail, and which tests hold each: named here, or by their docstrings (`F03`). The table in the docs is drawn from it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

FAILURES = {
    "F01": "killed, or out of power, at any moment: it goes on to the same bytes",
    "F02": "killed while it saves: what was whole before is used, and what is left is swept",
    "F03": "a full disk, a broken one, one that takes no writing: exit 7, and nothing lost",
    "F04": "too little room: said before the work",
    "F05": "two processes on one folder: the second is told who writes",
    "F06": "a killed run called again with other arguments, data, code or versions: refused, with what differs",
    "F07": "an output that is an input, or lies in one, under any name",
    "F08": "an output that exists",
    "F09": "signals: the step is finished and saved",
    "F10": "clocks that jump",
    "F11": "closed streams, no terminal, other encodings",
    "F12": "file systems that cannot flush folders",
    "F13": "weights that are cut, empty, too long, of another kind",
    "F14": "a flipped bit in weights or in a saved state",
    "F15": "a pickle that would run code",
    "F16": "weights of another network, or under other names",
    "F17": "a head with other classes than the data",
    "F18": "the model that was given: its modes, flags and weights stay what they were",
    "F19": "answers that are tuples, dicts, several heads",
    "F20": "answers that are probabilities",
    "F21": "one logit for two classes, and other heads that are none",
    "F22": "tensors that share memory or lie in odd layouts",
    "F23": "BatchNorm and a last batch of one",
    "F24": "BatchNorm's statistics and noise",
    "F25": "NaN in the weights that are given",
    "F26": "half precision, quantised networks, weights without values",
    "F27": "random numbers within the forward",
    "F28": "a mask on the head that passes for forgetting",
    "F29": "a loss that goes to NaN",
    "F30": "a model that was ruined",
    "F31": "forgetting more than a retrained model would",
    "F32": "machines that do not give the same bits twice",
    "F33": "memory that runs out: smaller batches by itself",
    "F34": "no GPU, or one that was not asked for",
    "F35": "more threads than processors",
    "F36": "a rank that fails",
    "F37": "classes that are not there, or could be two",
    "F38": "nothing or everything to forget",
    "F39": "broken images, odd sizes, a wrong normalisation",
    "F40": "copies of what is to be forgotten among what stays",
    "F41": "a hold-out with samples of the training",
    "F42": "a hold-out of another kind than what is forgotten",
    "F43": "data, weights or code that change while a run goes on",
    "F44": "lists with names that are not there, or twice",
    "F45": "images that are deleted already",
    "F46": "very many classes or images",
    "F47": "downloads that break off",
    "F48": "retained data that are a part of the original's",
    "F49": "names that are markup, or turn the direction of a text",
    "F50": "names that lead out of a folder",
    "F51": "cheats that fool an audit",
    "F52": "audits that could not have seen anything",
    "F53": "words that claim more than was measured",
    "F54": "records that are edited afterwards",
    "F55": "names and pictures of those who are to be forgotten",
    "F56": "files that still know what was forgotten",
    "F57": "runs again until one looks well",
    "F58": "many tests at once",
    "F59": "one request after the other",
}
"""In a phrase each."""

NAMED = {
    "F01": ("test_a_killed_run_goes_on_to_the_same_bits", "test_a_run_killed_again_and_again_ends_in_the_same_bits", "test_a_run_killed_under_ranks_goes_on_to_the_same_bits"),
    "F03": ("test_a_write_that_fails_leaves_the_old_file_whole_and_nothing_beside_it", "test_a_run_whose_disk_is_full_for_a_while_ends_in_the_same_bits"),
    "F05": ("test_a_folder_that_another_writes_is_locked",),
    "F07": ("test_fault_57_an_output_within_the_data_is_refused",),
    "F08": ("test_bad_input_is_refused_in_one_line", "test_a_page_replaces_no_other_file"),
    "F13": ("test_a_truncated_or_lengthened_file_is_refused", "test_a_foreign_file_is_refused"),
    "F14": ("test_bit_rot_in_a_weight_loads_in_silence_and_is_seen_by_either_hash",),
    "F15": (
        "test_a_pickle_is_refused_unread_whatever_its_name",
        "test_what_could_run_code_is_not_converted_and_does_not_run",
        "test_fault_67_what_gets_behind_the_first_wall_opens_and_writes_nothing",
    ),
    "F16": ("test_weights_of_another_network_are_refused_by_their_first_differences", "test_a_prefix_is_taken_off_and_said_and_is_there_again"),
    "F17": ("test_a_head_of_another_width_is_refused",),
    "F18": ("test_frozen_gives_back_each_modules_mode_and_each_weights_flag", "test_the_given_model_is_untouched_by_a_run_to_nan"),
    "F19": ("test_logits_are_found_in_what_a_model_answers", "test_of_several_answers_the_named_heads_counts"),
    "F21": ("test_what_a_head_lacks_is_said",),
    "F22": ("test_weights_in_any_layout_or_shared_are_saved_by_value",),
    "F23": ("test_no_rank_has_a_single_sample_where_there_are_more", "test_a_part_of_a_single_sample_is_refused_by_name"),
    "F24": ("test_a_buffer_that_became_infinite_ends_the_run",),
    "F25": ("test_weights_that_do_not_fit_are_refused_and_nothing_is_put_in",),
    "F26": ("test_half_models_are_changed_in_single_precision_and_come_back_as_they_were", "test_models_without_values_are_refused_by_name"),
    "F27": ("test_dropout_draws_from_the_calls_own_stream",),
    "F28": ("test_a_head_mask_is_never_clean_whatever_is_skipped",),
    "F29": ("test_a_run_to_nan_is_named_and_leaves_no_gradient",),
    "F30": ("test_fault_71_a_ruined_model_is_marked_wherever_it_is_told_and_never_cleared",),
    "F31": ("test_both_sides_are_asked",),
    "F32": ("test_the_engine_says_what_fp32_means_on_a_gpu",),
    "F34": ("test_a_device_chooses_itself_and_a_slow_precision_is_warned_about",),
    "F37": ("test_a_name_of_two_classes_is_refused_and_a_number_says_which", "test_a_number_that_is_also_the_name_of_another_class_is_refused"),
    "F38": ("test_what_cannot_be_forgotten_is_refused",),
    "F39": ("test_a_file_that_is_no_image_is_named_in_one_line_before_any_work", "test_a_wrong_normalisation_is_noticed_and_the_right_one_named"),
    "F40": ("test_every_planted_copy_is_found_and_nothing_else",),
    "F41": ("test_samples_that_are_forgotten_and_never_seen_at_once_are_refused",),
    "F42": ("test_without_a_hold_out_it_is_skipped_and_says_what_it_needs",),
    "F44": ("test_lists_that_do_not_fit_are_refused_with_counts_and_names",),
    "F46": ("test_the_first_of_many_classes_come_in_a_moment",),
    "F49": ("test_no_string_of_a_record_becomes_markup", "test_fault_59_escape_sequences_of_names_reach_no_terminal"),
    "F50": ("test_fault_64_a_record_names_a_file_beside_it", "test_fault_27_files_lie_in_their_folder_unless_asked"),
    "F51": ("test_how_a_network_is_written_is_nothing_to_the_audits", "test_the_features_tell_the_fakes_and_the_original_from_a_retrained_model"),
    "F52": ("test_what_lies_beyond_the_limit_that_is_told_is_found",),
    "F53": ("test_a_sentence_comes_from_its_code_alone", "test_nothing_is_claimed_that_no_test_can_show"),
    "F54": ("test_fault_65_an_edited_verdict_is_drawn_as_edited_though_its_seal_fits", "test_fault_65_each_of_a_thousand_changes_of_one_byte_is_found"),
    "F55": ("test_a_list_goes_the_whole_way", "test_a_page_shows_pictures_and_no_names"),
    "F57": ("test_attempts_and_audits_before_are_chained_by_the_hash_of_their_records",),
    "F58": ("test_holms_procedure_is_that_of_its_definition",),
    "F59": ("test_a_later_request_follows_the_record_of_the_one_before_and_looks_at_it_again",),
}
"""Tests that were there before they were asked after by a number."""


def there() -> dict[str, tuple[str, str]]:
    """Every test by name: its file, and its docstring."""
    found = {}
    for path in sorted(Path(__file__).parent.rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                found[node.name] = (path.name, ast.get_docstring(node) or "")
    return found


def held() -> dict[str, list[tuple[str, str]]]:
    """For each way to fail the tests that hold it, each as its file and its name."""
    known = there()
    named = {number: [*NAMED.get(number, ()), *(name for name, (_, doc) in known.items() if re.search(rf"\b{number}\b", doc))] for number in FAILURES}
    return {number: [(known[name][0], name) for name in dict.fromkeys(names)] for number, names in named.items()}
