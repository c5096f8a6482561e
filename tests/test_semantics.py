"""Every promise of docs/semantics.md is held by a test that is named here."""

from __future__ import annotations

import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parent.parent

PROMISES = {
    "A message is delivered at most once": [
        "test_a_restart_keeps_ref_path_and_mailbox_and_loses_state_and_the_failing_message",
    ],
    "Messages from one sender to one receiver keep their order": [
        "test_messages_of_many_threads_keep_their_order_per_sender",
    ],
    "One message at a time": [
        "test_one_message_at_a_time_however_many_threads_ask",
        "test_one_message_at_a_time_even_while_a_handler_is_suspended",
        "test_a_reentrant_class_takes_the_next_message_during_a_suspension",
    ],
    "A message is processed or accounted for": [
        "test_a_message_to_a_dead_child_is_one_dead_letter",
        "test_dropped_messages_become_dead_letters",
        "test_stashed_messages_of_an_actor_that_stops_become_dead_letters",
    ],
    "Every ask resolves": [
        "test_every_ask_resolves_when_it_races_stop",
        "test_a_waiting_ask_fails_at_once_when_the_callee_is_replaced",
    ],
    "The control lane is not blocked by user messages": [
        "test_stop_now_comes_before_what_waits",
        "test_stop_and_watch_notices_are_never_dropped_or_blocked",
    ],
    "A stop is ordered behind what was sent before it": [
        "test_stop_from_inside_is_normal_and_behind_what_was_sent",
    ],
    "An ask may run on the caller's thread": [
        "test_an_idle_actor_answers_on_the_askers_thread",
        "test_inline_asks_do_not_leak_context_variables_either_way",
    ],
    "A cycle of asks is an error, not a deadlock": [
        "test_a_circle_of_asks_is_an_error_that_names_everybody_in_it",
        "test_a_cycle_of_awaited_asks_is_found",
    ],
    "A restart keeps the ref, the path, the watchers and the waiting mailbox": [
        "test_a_restart_keeps_ref_path_and_mailbox_and_loses_state_and_the_failing_message",
        "test_a_restart_is_no_end_for_watchers",
    ],
    "A failed tell is a failure, a failed ask goes to the caller": [
        "test_an_ask_that_raises_is_the_askers_business_by_default",
        "test_ask_failures_supervise_tells_the_asker_and_the_guardian",
    ],
    "Restart types decide what an end means": [
        "test_a_permanent_child_is_restarted_however_it_ended",
        "test_a_transient_child_is_restarted_after_a_crash",
        "test_a_temporary_child_is_never_restarted_and_its_spec_goes",
        "test_stop_from_outside_is_an_order",
    ],
    "A supervisor over its limit fails towards its parent": [
        "test_over_the_intensity_all_stop_in_reverse_and_the_supervisor_fails",
    ],
    "A supervisor is never blocked": [
        "test_a_slow_start_blocks_neither_the_api_nor_the_siblings",
        "test_siblings_and_orders_do_not_wait_for_a_backoff",
    ],
    "An old incarnation is fenced": [
        "test_a_fenced_handler_can_do_nothing_any_more",
        "test_a_lower_epoch_than_the_highest_seen_is_refused",
    ],
    "Frozen is told apart from busy and from waiting": [
        "test_a_busy_actor_is_reported_once_and_left_alone",
        "test_a_lease_keeps_a_waiting_actor_from_suspicion",
        "test_a_standstill_without_a_lease_is_frozen_within_four_to_five_seconds",
        "test_a_stall_of_the_whole_host_restarts_nobody",
    ],
    "What is acknowledged survives": [
        "test_a_killed_writer_loses_nothing_it_acknowledged",
        "test_a_power_cut_loses_nothing_acknowledged",
    ],
    "Positions are dense and in commit order": ["test_positions_are_dense_over_all_streams"],
    "An append is idempotent by event id": [
        "test_a_repeated_batch_succeeds_without_a_write",
        "test_a_wrong_expectation_writes_nothing_and_names_itself",
    ],
    "Corruption is named": ["test_a_damaged_byte_is_named_by_stream_seq_and_position"],
    "Replies leave after their events are safe": [
        "test_replies_wait_for_safety_while_the_actor_goes_on",
        "test_sends_and_deferred_calls_wait_for_safety_in_order",
        "test_a_failed_append_fails_the_incarnation_and_nobody_saw_its_state",
    ],
    "Retention never drops what is still needed": [
        "test_streams_with_unfinished_effects_are_spared",
    ],
    "A step is all or nothing": [
        "test_one_step_is_one_transaction_of_events_frames_effects_and_rows",
    ],
    "Exactly once holds inside the journal only": [
        "test_an_effect_in_hand_when_the_system_ended_is_tried_again_by_the_next",
        "test_a_dedupe_key_makes_one_effect_per_channel",
    ],
    "A repeated message id starts no second turn": [
        "test_a_repeated_message_id_names_the_same_turn_and_makes_no_new_frame",
    ],
    "Frames are dense, and a client's cursor is its seq": [
        "test_seqs_are_dense_from_one_over_several_turns",
        "test_a_client_that_comes_back_with_after_gets_the_rest_once",
    ],
    "A turn that is taken up again goes on or begins anew, never both": [
        "test_a_resumable_agent_goes_on_where_the_journal_ends",
        "test_a_crashed_agent_restarts_and_its_turn_is_begun_anew_and_says_so",
    ],
    "Not promised": [],
}


def defined() -> set[str]:
    found: set[str] = set()
    for path in (ROOT / "tests").rglob("test_*.py"):
        found.update(re.findall(r"def (test_\w+)", path.read_text(encoding="utf-8")))
    return found


def test_every_heading_of_the_semantics_is_quoted_here_and_nothing_else_is() -> None:
    text = (ROOT / "docs/semantics.md").read_text(encoding="utf-8")
    promises = re.findall(r"^### (.+)$", text, re.MULTILINE)
    assert [*promises, "Not promised"] == list(PROMISES)


def test_every_promise_is_held_by_tests_that_exist() -> None:
    missing = [n for names in PROMISES.values() for n in names if n not in defined()]
    assert not missing
    bare = [p for p, names in PROMISES.items() if not names and p != "Not promised"]
    assert not bare
