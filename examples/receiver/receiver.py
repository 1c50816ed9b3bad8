#!/usr/bin/env python3
"""Keeps a copy of a table by HTTP Sync, with nothing but the standard library.

    export RECEIVER_PASSWORD=...                 # of the address that Rowgate posts to
    ./receiver.py copy.db --listen 127.0.0.1:18002
    rowgate httpsync create google_calendar_event_v1 --period 600 --deletions \\
      --url "https://rowgate:$RECEIVER_PASSWORD@sync.example.org/"
    export RECEIVER_SECRET=whsec_...             # as printed; then start the receiver again

Rowgate asks whether anybody is there when a target is made, before its secret can be known here. From
then on such a post is signed like any other, and checked.

Each post is one transaction of the copy, and is answered when that is on disk. What was lost on the
way, or was not answered, comes again: to store a row twice changes nothing. A post of a sender that
was replaced meanwhile carries a lower fence, and is refused.
"""

import argparse
import base64
import hmac
import json
import os
import sqlite3
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOLERANCE_S = 300

SCHEMA = """
create table if not exists rows (key text primary key, row text not null, copy text);
create table if not exists place (fence integer not null, epoch text not null, number integer not null);
"""


class Stale(Exception):
    """The post's sender is no longer the one that delivers."""


def is_signed(secret, headers, body):
    """Standard Webhooks: HMAC-SHA256 over id, time and body."""
    given = headers.get("webhook-signature", "").split(" ")
    sent_at = headers.get("webhook-timestamp", "")
    if not sent_at.isdigit() or abs(time.time() - int(sent_at)) > TOLERANCE_S:
        return False
    key = base64.b64decode(secret.removeprefix("whsec_"))
    text = f"{headers.get('webhook-id', '')}.{sent_at}.".encode() + body
    expected = "v1," + base64.b64encode(hmac.digest(key, text, "sha256")).decode()
    return any(hmac.compare_digest(expected, one) for one in given)


def apply(copy, delivery):
    """Stores one delivery, in a transaction of the caller's."""
    position = delivery.get("position")
    if position:
        known = copy.execute("select max(fence) from place").fetchone()[0]
        if known is not None and position["fence"] < known:
            raise Stale
        copy.execute("delete from place")
        at = (position["fence"], position["epoch"], position["number"])
        copy.execute("insert into place values (?, ?, ?)", at)
    key = delivery.get("key", "pk")
    part = delivery.get("copy")
    for gone in delivery.get("deleted", []):
        copy.execute("delete from rows where key = ?", (str(gone[key]),))
    copy.executemany(
        "insert or replace into rows values (?, ?, ?)",
        [(str(row[key]), json.dumps(row), part and part["id"]) for row in delivery["rows"]],
    )
    if part and part["last"]:
        # The whole table was sent: what was not in it is gone.
        copy.execute("delete from rows where copy is not ?", (part["id"],))


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        self.answer(self.receive(body))

    def receive(self, body):
        server = self.server
        if not hmac.compare_digest(self.headers.get("authorization", ""), server.authorization):
            return 401
        delivery = json.loads(body)
        if server.secret and not is_signed(server.secret, self.headers, body):
            return 401
        if delivery["integration_id"] == "svi_test":
            return 200  # Rowgate asks whether anybody is there.
        try:
            with server.lock, server.copy:
                apply(server.copy, delivery)
        except Stale:
            return 409
        return 200

    def answer(self, status):
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, form, *values):
        print(form % values, file=sys.stderr, flush=True)


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("copy", help="SQLite file")
    arguments.add_argument("--listen", default="127.0.0.1:18002", metavar="ADDRESS")
    arguments.add_argument("--user", default="rowgate")
    given = arguments.parse_args()
    password = os.environ.get("RECEIVER_PASSWORD")
    if not password:
        sys.exit("RECEIVER_PASSWORD is missing in the environment")
    host, port = given.listen.rsplit(":", 1)
    server = ThreadingHTTPServer((host, int(port)), Receiver)
    server.daemon_threads = True
    both = base64.b64encode(f"{given.user}:{password}".encode()).decode()
    server.authorization = f"Basic {both}"
    server.secret = os.environ.get("RECEIVER_SECRET")
    server.lock = threading.Lock()
    server.copy = sqlite3.connect(given.copy, check_same_thread=False)
    server.copy.executescript(SCHEMA)
    address, port = server.server_address[:2]
    print(f"listening on {address}:{port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
