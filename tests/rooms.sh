#!/bin/sh
# The whole suite, a room at a time: each in a process of its own, so that the threads and
# processes one room's tests play with are gone before the next room's begin.
#
#     PYTEST="python -m pytest" sh tests/rooms.sh [pytest options]
#     ROOMS="tests/cli/ tests/codec/" ...     only these; "tests" for those in no room
set -u
failed=""
for room in ${ROOMS:-tests/*/ tests}; do
    if [ "$room" = tests ]; then room="tests/test_*.py"; fi  # those in no room
    case "$room" in *__pycache__*|*/typing/) continue ;; esac
    printf '\n-- %s\n' "$room"
    # shellcheck disable=SC2086 # both are lists
    ${PYTEST:-python -m pytest} -q "$@" $room
    code=$?
    # 5: nothing was collected, because the options leave this room out
    if [ $code -ne 0 ] && [ $code -ne 5 ]; then failed="$failed $room"; fi
done
if [ -n "$failed" ]; then
    printf '\nfailed in:%s\n' "$failed"
    exit 1
fi
printf '\nall rooms passed\n'
