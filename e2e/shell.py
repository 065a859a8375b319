# SPDX-License-Identifier: Apache-2.0
"""Commands, progress lines and bounded waiting."""

import shlex
import subprocess
import sys
import time

STARTED = time.monotonic()


class Failure(Exception):
    """What went wrong, with the object's name and the next step; shown without a traceback."""


def progress(text):
    """One line for people, with the seconds since the program began."""
    print(f"[{time.monotonic() - STARTED:6.1f} s] {text}", file=sys.stderr, flush=True)


def run(argv, check=True, timeout=120, **options):
    """Runs a command and returns its output; a Failure with the end of its error output unless it succeeds."""
    argv = [str(word) for word in argv]
    try:
        done = subprocess.run(argv, text=True, capture_output=True, check=False, timeout=timeout, **options)
    except subprocess.TimeoutExpired:
        raise Failure(f"`{shlex.join(argv)}` did not end within {timeout} s") from None
    except FileNotFoundError:
        raise Failure(f"there is no program {argv[0]}: run ./dev setup") from None
    if check and done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip())[-2000:]
        raise Failure(f"`{shlex.join(argv)}` ended with {done.returncode}: {said}")
    return done.stdout


def succeeds(argv, **options):
    """Whether a command ends with status 0; an endless one counts as failed."""
    try:
        run(argv, **options)
        return True
    except Failure:
        return False


def wait_until(what, condition, seconds, every=0.2):
    """Waits until condition() is true and returns what it gave; a Failure that names `what` after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise Failure(f"{what}: not within {seconds} s")
        time.sleep(every)
