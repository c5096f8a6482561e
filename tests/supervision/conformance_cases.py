"""The conformance cases in our own words, by number, and those without a counterpart here.

`python tests/supervision/conformance_cases.py` writes `docs/conformance.md` from this list and
from the `conformance` marks of the tests; a test compares the two.
"""

from __future__ import annotations

import ast
import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "conformance.md"

SECTIONS: dict[str, dict[int, str]] = {
    "Start and specification": {
        1: "Children start in order, each finished before the next begins.",
        2: "When a start fails, those already up stop in reverse; nothing is left; the error names the child and the cause.",
        3: "A permanent or transient child that asks not to be run keeps its spec, without a live child.",
        4: "A temporary child that asks not to be run is forgotten.",
        5: "A dynamic child that asks not to be run is not recorded, whatever its restart type.",
        6: "A supervisor that asks not to be run is not there, and that is no error.",
        7: "A supervisor whose children cannot be had, or are no specs, fails to start with the cause; the caller lives.",
        8: "A child whose start raises is a failed start; its spec is not kept.",
        9: "Extra information returned by a start.",
        11: "A field that cannot be used is refused by name and value, unknown fields too.",
        12: "A minimal spec is permanent, a worker, with 5 s to stop; a supervisor has no limit.",
        13: "Strategy, intensity and period that cannot be are refused, each by its name.",
        14: "A second start under an id is answered with the living ref, or with “present, but stopped”.",
        15: "After a failed start_child nothing is kept.",
        17: "While a child is starting, every other call is answered.",
        18: "Each dynamic child has the arguments of its own start, also after a restart.",
        19: "Restarting children count against the maximum.",
    },
    "Restart types": {
        20: "A permanent child is restarted however it ended.",
        21: "A transient child that ended well stays down, its spec stays, and it can be revived.",
        22: "A transient child is restarted after a crash.",
        23: "A temporary child is never restarted, its spec goes.",
        24: "The replacement has fresh state.",
        25: "A kill is an abnormal end.",
    },
    "Strategies": {
        27: "one_for_one touches the failed child only.",
        28: "one_for_all stops the others in reverse and starts all in order.",
        29: "rest_for_one restarts the failed child and those started after it.",
        30: "A group restart ends temporary children for good.",
        32: "A group restart revives a transient child that had ended.",
        34: "A crashing dynamic child leaves the others alone.",
        35: "A start that fails within a group restart retries the whole group.",
    },
    "Intensity and escalation": {
        38: "One restart more than allowed, and all children stop in reverse and the supervisor ends.",
        39: "An intensity of 0 gives up at the first crash.",
        40: "Restarts leave the window as it slides.",
        42: "A group restart counts once.",
        43: "Failing starts count, so that a restart never loops.",
        45: "A normal end of a permanent child costs budget.",
        46: "A transient supervisor that gave up is restarted: its reason, RestartLimit, is a failure.",
        47: "With a budget per child only that child stops; 0 stops it at its first failure.",
        48: "Unlimited restarts do not loop over a start that fails.",
    },
    "Nesting": {
        49: "A replaced supervisor has its specified children, not those that were added.",
        50: "A failure climbs through five levels without budget and leaves nothing.",
        51: "Only the nearest supervisor acts.",
        53: "The children of a failing parent stop before it starts anew.",
        54: "A watcher that does not handle the notice fails; the cause stays with the parent.",
    },
    "Shutdown": {
        55: "Children stop in reverse, each gone before the next is told.",
        56: "A child over its limit is killed.",
        57: "Brutal: no cleanup at all.",
        58: "Without a limit it takes as long as it takes.",
        59: "Dynamic children stop side by side under one limit.",
        60: "A child that fails in its cleanup is reported once and disturbs nobody.",
        61: "A child that ignores its stop does not hang its supervisor.",
        62: "A child that does not trap exits dies at once.",
        63: "A supervisor stops at once while a child fails to restart for ever.",
        66: "When the actor above ends, everything below ends.",
    },
    "Administration": {
        67: "terminate_child: idempotent, unknown ids are told, no restart, no cost.",
        68: "delete_child: for stopped children only.",
        69: "restart_child: for stopped children only; after a failing start the spec stays stopped.",
        70: "which_children lists in reverse start order.",
        71: "count_children: specs, active (restarting excluded), supervisors, workers.",
        73: "Calls to a dead supervisor fail at once.",
        75: "Junk messages are dropped and change nothing.",
    },
    "Significant children": {
        77: "The normal end of a significant child ends the supervisor.",
        78: "So does the crash of a temporary significant child.",
        79: "A transient significant child that crashes is restarted instead.",
        81: "Terminating a significant child by order ends nobody.",
        83: "Significant and permanent, or significant without auto-shutdown, is refused.",
        84: "Auto-shutdown climbs through significant supervisors only.",
    },
    "Backoff": {
        85: "Waits grow by the factor up to the maximum.",
        86: "Jitter stretches each wait after the cap.",
        87: "A child that stayed up long enough waits as little as at first.",
        89: "While backing off a bounded mailbox keeps what it can hold, the rest is accounted for.",
        91: "A failing start backs off and counts.",
        92: "The limit of restarts holds under backoff.",
        93: "Stopping while backing off is immediate and final.",
        94: "Timers of a failed incarnation are gone.",
        95: "Akka's classic BackoffOnStop and BackoffOnFailure.",
        96: "A backoff holds neither siblings nor the API up.",
    },
    "Messages, refs, dead letters": {
        97: "The failing message is not processed again.",
        98: "What waited is processed in order by the new incarnation.",
        99: "The mailbox is lost at a restart.",
        100: "The ref stays the same.",
        101: "Nothing is processed between a failure and the decision.",
        102: "Resume keeps the state and goes on with the next message.",
        103: "A fatal error is not swallowed by supervision.",
        104: "A waiting ask fails at once.",
        106: "A message to the dead is exactly one dead letter with its recipient.",
        108: "A full mailbox holds up neither stops, nor watch notices, nor supervision.",
        109: "A durable message that crashes its reader k times is parked and reported.",
        110: "The old instance hears of its failure, is not stopped, and a raising hook prevents nothing.",
    },
    "Watch and links": {
        111: "Watching the dead gives one notice.",
        113: "Watching twice gives one notice.",
        114: "A hundred watchers get one notice each.",
        115: "A restart is no end for watchers.",
        116: "A watcher without a handler for the notice fails.",
        117: "Linked pairs.",
        118: "Trapping exits.",
        119: "A link to the dead.",
    },
    "Races, hung actors, scale": {
        122: "A hundred crashes at once are a hundred restarts, no more and no less.",
        124: "A handler that never returns is found within 5 s, reported with its stack, and replaced.",
        125: "A handler that computes for long is busy, not frozen, up to a hard limit.",
        126: "What a replaced incarnation still does is refused.",
        127: "When the whole host stalls, nobody is restarted for it.",
        130: "After a storm there is what the specs say: no orphan, no double, no thread left.",
        131: "Adding and stopping children costs the same per child however many there are.",
    },
    "Journal and replay": {
        132: "After a crash the state is the fold of exactly the acknowledged events.",
        133: "A failing append: no acknowledgement, and the actor never goes on unpersisted.",
        134: "A recovery that fails says at which event; no hot restart loop.",
        135: "Commands that arrive during recovery wait, in order.",
        136: "A store that goes silent in a replay.",
        137: "A restart during recovery applies no event twice.",
        138: "Many recoveries at once are bounded.",
        139: "A torn record, a gap or a duplicate is detected at opening.",
        140: "A long replay needs bounded memory.",
    },
}

NO_COUNTERPART: dict[int, str] = {
    9: "A start gives a ref and nothing else; what a caller wants to know of a child it asks.",
    62: "There are no exit signals to trap: every stop is an order that calls `on_stop`, but for `Shutdown.BRUTAL` (57).",
    95: "One backoff serves failures and failing starts; a normal end is judged by the restart type (20, 21).",
    99: "The mailbox is kept (98); what a closing mailbox still holds becomes dead letters (106).",
    117: "No links: supervision binds fates downwards, watching informs in any direction.",
    118: "No links, so nothing to trap; a kill reaches watchers as `Exit.KILLED` (56, 57).",
    119: "No links; watching the dead gives a notice at once (111).",
}

HEAD = """\
# Conformance

The behaviour of supervision, case by case: taken from OTP 25, Akka and Pekko, Elixir, Ractor and
Orleans, and decided where they differ. Each case is covered by the tests named beside it, one
failure point each; a case without a counterpart says why. The numbers have gaps.

This page is made by `python tests/supervision/conformance_cases.py` from the marks of the tests.

What holds where the sources differ:

| question | OTP | Akka | here |
|---|---|---|---|
| what a restart replaces | the process, mailbox lost | the behaviour, mailbox kept | the instance; ref, path, watchers and mailbox stay |
| who counts restarts | the supervisor | each child | the supervisor; `budget="child"` for the other reading |
| window | whole seconds | tumbling | sliding, on the system's clock |
| over budget | all children and itself | that child | all children and itself; the reason, `RestartLimit`, makes the next one act |
| default | 1 in 5 s | unlimited | 3 in 5 s |
| delay | none | backoff | none; backoff with jitter and reset where asked for |
| a hung actor | never found | never found | found, told from the busy and the waiting, replaced |
| watching twice | two notices | one | one |
"""


def covered() -> dict[int, list[str]]:
    """The tests that carry each number, as `file::test`."""
    found: dict[int, list[str]] = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        if "conformance(" not in (text := path.read_text(encoding="utf-8")):
            continue
        for node in ast.walk(ast.parse(text)):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            for mark in node.decorator_list:
                if (
                    isinstance(mark, ast.Call)
                    and isinstance(mark.func, ast.Attribute)
                    and mark.func.attr == "conformance"
                ):
                    for number in mark.args:
                        assert isinstance(number, ast.Constant)
                        assert isinstance(number.value, int)
                        where = f"{path.relative_to(ROOT / 'tests')}::{node.name}"
                        found.setdefault(number.value, []).append(where)
    return found


def page() -> str:
    """The whole page."""
    tests = covered()
    lines = [HEAD]
    for title, cases in SECTIONS.items():
        lines += [f"## {title}\n", "| # | case | tests |", "|---|---|---|"]
        for number, words in cases.items():
            if number in NO_COUNTERPART:
                proof = f"no counterpart: {NO_COUNTERPART[number]}"
            else:
                proof = "<br>".join(f"`{name}`" for name in sorted(tests.get(number, ())))
            lines.append(f"| {number} | {words} | {proof or '**not covered**'} |")
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
