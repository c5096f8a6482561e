#!/bin/sh
# The whole suite, a room at a time: each in a process of its own, so that the threads and
# processes one room's tests play with are gone before the next room's begin.
#
#     PYTEST="python -m pytest" sh tests/rooms.sh [pytest options]
set -u
failed=""
for room in tests/*/ "tests/test_*.py"; do
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
