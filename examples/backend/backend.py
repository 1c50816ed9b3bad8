#!/usr/bin/env python3
"""A backend's side of the contract, with nothing but the standard library.

    export ROWGATE_ENDPOINT=http://127.0.0.1:18001/v1/service_integrations/svi_...
    export ROWGATE_SECRET=...
    ./backend.py linked user-1 '1//0g...'      # a user connected: sync begins
    ./backend.py refreshed user-1 '1//0g...'   # the user granted access again
    ./backend.py resync user-1                 # read everything again
    ./backend.py unlinked user-1               # delete the user's rows

Both values are printed by `rowgate integrations create google_calendar_list_v1`.
"""

import json
import os
import sys
import urllib.error
import urllib.request

WITH_TOKEN = {"linked", "refreshed"}
WITHOUT_TOKEN = {"unlinked", "resync"}


def post(kind, owner, refresh_token=None):
    """Posts one webhook. Answered 202, it is stored: there is nothing to repeat."""
    body = {"type": kind.upper(), "external_owner_id": owner}
    if refresh_token is not None:
        body["refresh_token"] = refresh_token
    request = urllib.request.Request(
        os.environ["ROWGATE_ENDPOINT"],
        data=json.dumps(body).encode(),
        headers={
            "Content-Type": "application/json",
            "Whdb-Webhook-Secret": os.environ["ROWGATE_SECRET"],
        },
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.status


def main(arguments):
    usable = (len(arguments) == 3 and arguments[0] in WITH_TOKEN) or (
        len(arguments) == 2 and arguments[0] in WITHOUT_TOKEN
    )
    missing = [name for name in ("ROWGATE_ENDPOINT", "ROWGATE_SECRET") if not os.environ.get(name)]
    if not usable or missing:
        print(__doc__, file=sys.stderr)
        if missing:
            print("missing in the environment: " + ", ".join(missing), file=sys.stderr)
        return 2
    try:
        print(post(*arguments))
        return 0
    except urllib.error.HTTPError as refused:
        # 503 means: not stored, send it again later. Everything else is a mistake of ours.
        print(f"{refused.code}: {refused.read().decode()}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
