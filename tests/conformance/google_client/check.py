"""Drives a running simulator through Google's own client library.

Usage: check.py URL    (e.g. http://127.0.0.1:4920, as the simulator prints it)

Exits 0 and prints one line per check; exits 1 with the first mismatch. It makes users and calendars
of its own, so the simulator may hold other data, but nobody else should set faults meanwhile.
"""

import http.server
import json
import sys
import threading
import urllib.parse
import urllib.request
import uuid

import google.oauth2.credentials
import google.auth.transport.requests
import google_auth_httplib2
import httplib2
from googleapiclient.discovery import build
from googleapiclient.errors import HttpError

CLIENT_ID = "demo-client-id"
CLIENT_SECRET = "demo-client-secret"


class Mismatch(Exception):
    """What was expected, and what came."""


def expect(what, found, wanted):
    if found != wanted:
        raise Mismatch(f"{what}: expected {wanted!r}, got {found!r}")


def expect_error(what, request, status, reason):
    try:
        request.execute()
    except HttpError as error:
        details = error.error_details
        reasons = [entry.get("reason") for entry in details] if isinstance(details, list) else []
        expect(f"{what}: status", error.resp.status, status)
        if reason not in reasons:
            raise Mismatch(f"{what}: expected reason {reason!r}, got {details!r}") from None
        return
    raise Mismatch(f"{what}: expected {status} {reason}, but it succeeded")


class Control:
    """The simulator's control API."""

    def __init__(self, url):
        self.url = url

    def __call__(self, operation, **fields):
        body = json.dumps(fields).encode()
        request = urllib.request.Request(f"{self.url}/control/{operation}", data=body)
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)


def service_for(url, refresh_token):
    """A client whose access token comes from the simulator's token endpoint."""
    credentials = google.oauth2.credentials.Credentials(
        token=None,
        refresh_token=refresh_token,
        token_uri=f"{url}/token",
        client_id=CLIENT_ID,
        client_secret=CLIENT_SECRET,
    )
    credentials.refresh(google.auth.transport.requests.Request())
    http = google_auth_httplib2.AuthorizedHttp(credentials, http=httplib2.Http(timeout=10))
    return build(
        "calendar",
        "v3",
        http=http,
        static_discovery=True,
        client_options={"api_endpoint": f"{url}/calendar/v3/"},
    )


def pages(collection, **parameters):
    """All items of a listing, how many pages it took, and the sync token at its end."""
    items, count = [], 0
    request = collection.list(**parameters)
    while True:
        page = request.execute()
        items += page["items"]
        count += 1
        following = collection.list_next(request, page)
        if following is None:
            return items, count, page.get("nextSyncToken")
        request = following


def event(title, day):
    return {
        "summary": title,
        "start": {"dateTime": f"2026-11-{day:02}T09:00:00+01:00", "timeZone": "Europe/Berlin"},
        "end": {"dateTime": f"2026-11-{day:02}T10:00:00+01:00", "timeZone": "Europe/Berlin"},
    }


def check_calendar_list(control, service, email):
    made = control("add_calendar", email=email, spec={"summary": "Team", "time_zone": "UTC"})
    entries, _, token = pages(service.calendarList(), maxResults=1)
    expect("calendar list", {entry["id"] for entry in entries}, {email, made["calendar"]})
    control("remove_from_list", email=email, calendar=made["calendar"])
    entries, _, _ = pages(service.calendarList(), maxResults=1, syncToken=token)
    expect("calendar list delta", [entry["id"] for entry in entries], [made["calendar"]])
    expect("fields of a deleted entry", sorted(entries[0]),
           ["defaultReminders", "deleted", "etag", "id", "kind"])
    expect("calendars.get primary", service.calendars().get(calendarId="primary").execute()["id"],
           email)


def check_special_ids(control, service, email):
    calendar = f"{email.split('@')[0]}.en.usa#holiday@group.v.calendar.google.com"
    control("add_calendar", email=email, spec={"id": calendar, "summary": "Holidays"})
    service.events().insert(calendarId=calendar, body=event("Holiday", 3)).execute()
    items, _, _ = pages(service.events(), calendarId=calendar)
    expect("events of a calendar with # in its id", len(items), 1)


def check_paging(control, service, email):
    control("generate_events", calendar=email, count=95, mix="singles")
    items, count, token = pages(service.events(), calendarId=email, maxResults=20)
    expect("events over pages", (len({item["id"] for item in items}), count), (95, 5))
    if not token:
        raise Mismatch("the last page has no nextSyncToken")
    items, _, token = pages(service.events(), calendarId=email, maxResults=20,
                            orderBy="startTime", singleEvents=True)
    starts = [item["start"]["dateTime"] for item in items if "dateTime" in item["start"]]
    expect("orderBy=startTime", starts, sorted(starts))
    expect("sync token of an ordered list", token, None)


def check_writes_and_deltas(control, service, email):
    events = service.events()
    listing = {"calendarId": email, "maxResults": 50}
    _, _, token = pages(events, **listing)
    made = events.insert(calendarId=email, body=event("Planning", 4)).execute()
    expect("inserted start", made["start"],
           {"dateTime": "2026-11-04T08:00:00Z", "timeZone": "Europe/Berlin"})
    items, _, token = pages(events, **listing, syncToken=token)
    expect("delta after insert", [item["summary"] for item in items], ["Planning"])

    changed = {"summary": "Planning, new"}
    events.patch(calendarId=email, eventId=made["id"], body=changed).execute()
    found = events.get(calendarId=email, eventId=made["id"]).execute()
    expect("patched summary", found["summary"], "Planning, new")
    found["location"] = "Room 1"
    events.update(calendarId=email, eventId=made["id"], body=found).execute()
    items, _, token = pages(events, **listing, syncToken=token)
    expect("delta after update", [item.get("location") for item in items], ["Room 1"])

    events.delete(calendarId=email, eventId=made["id"]).execute()
    items, _, token = pages(events, **listing, syncToken=token)
    expect("delta after delete", [(item["id"], item["status"]) for item in items],
           [(made["id"], "cancelled")])
    expect_error("delete twice", events.delete(calendarId=email, eventId=made["id"]),
                 410, "deleted")
    expect_error("insert twice", events.insert(calendarId=email, body={**made}), 409, "duplicate")
    items, _, _ = pages(events, **listing, syncToken=token)
    expect("delta without change", items, [])


def check_series(control, service, email):
    events = service.events()
    body = {**event("Weekly", 5), "recurrence": ["RRULE:FREQ=WEEKLY;COUNT=4"]}
    master = events.insert(calendarId=email, body=body).execute()
    found = events.instances(calendarId=email, eventId=master["id"]).execute()["items"]
    expect("instances", [item["id"] for item in found],
           [f"{master['id']}_202611{day}T080000Z" for day in ("05", "12", "19", "26")])
    events.delete(calendarId=email, eventId=found[1]["id"]).execute()
    items, _, _ = pages(events, calendarId=email, singleEvents=True)
    mine = sorted(i["id"] for i in items if i.get("recurringEventId") == master["id"])
    expect("expanded without the cancelled instance", mine,
           [found[0]["id"], found[2]["id"], found[3]["id"]])


def check_errors(control, service, other, shared):
    events = service.events()
    _, _, token = pages(events, calendarId=shared)
    expect_error("forbidden parameter with a sync token",
                 events.list(calendarId=shared, syncToken=token, timeMin="2026-11-01T00:00:00Z"),
                 400, "badRequest")
    expect_error("another page size with a sync token",
                 events.list(calendarId=shared, syncToken=token, maxResults=7),
                 410, "fullSyncRequired")
    expect_error("another user's sync token",
                 other.events().list(calendarId=shared, syncToken=token),
                 410, "fullSyncRequired")
    control("expire_sync_tokens")
    expect_error("an expired sync token", events.list(calendarId=shared, syncToken=token),
                 410, "fullSyncRequired")
    expect_error("a broken page token", events.list(calendarId=shared, pageToken="broken"),
                 400, "invalid")
    expect_error("an unknown calendar", events.list(calendarId="nobody@example.com"),
                 404, "notFound")
    expect_error("a reader who writes",
                 other.events().insert(calendarId=shared, body=event("No", 6)),
                 403, "requiredAccessLevel")
    path = f"/calendar/v3/calendars/{urllib.parse.quote(shared)}/events"
    fault = control("add_fault", when={"path": path, "count": 1}, then={"error": "quota-per-user"})
    expect_error("a used up quota", events.list(calendarId=shared), 403, "RATE_LIMIT_EXCEEDED")
    control("clear_faults", id=fault["id"])
    pages(events, calendarId=shared)


class Receiver(http.server.ThreadingHTTPServer):
    """Keeps the headers of the notifications that arrive, by channel."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), ReceiverHandler)
        self.received = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def __exit__(self, *reason):
        self.shutdown()
        super().__exit__(*reason)

    def states(self, channel):
        mine = [headers for headers in self.received if headers["X-Goog-Channel-ID"] == channel]
        return [headers["X-Goog-Resource-State"] for headers in mine]


class ReceiverHandler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.server.received.append(self.headers)
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


def check_channels(control, service, other, shared):
    events = service.events()
    with Receiver() as receiver:
        address = f"http://127.0.0.1:{receiver.server_port}/"
        channel = {"id": str(uuid.uuid4()), "type": "web_hook", "address": address,
                   "token": "secret"}
        expect_error("an address without TLS", events.watch(calendarId="primary", body=channel),
                     400, "push.webhookUrlNotHttps")
        control("set_push_rules", allow_http=True)
        opened = events.watch(calendarId="primary", body=channel).execute()
        expect("fields of a channel", sorted(opened),
               ["expiration", "id", "kind", "resourceId", "resourceUri", "token"])
        expect("type of the expiration", type(opened["expiration"]), str)
        expect_error("a used channel id", events.watch(calendarId="primary", body=channel),
                     400, "channelIdNotUnique")
        on_list = {**channel, "id": str(uuid.uuid4())}
        on_list = service.calendarList().watch(body=on_list).execute()

        events.insert(calendarId=shared, body=event("Told", 7)).execute()
        control("set_hidden", email=shared, calendar=shared, hidden=True)
        control("await_pushes")
        expect("notifications of events", receiver.states(opened["id"]), ["sync", "exists"])
        expect("notifications of the list", receiver.states(on_list["id"]), ["sync", "exists"])
        token = receiver.received[0]["X-Goog-Channel-Token"]
        expect("token of a notification", token, "secret")

        ended = {"id": opened["id"], "resourceId": opened["resourceId"]}
        expect_error("another user's channel", other.channels().stop(body=ended), 404, "notFound")
        service.channels().stop(body=ended).execute()
        expect_error("a channel stopped twice", service.channels().stop(body=ended),
                     404, "notFound")
        events.insert(calendarId=shared, body=event("Untold", 8)).execute()
        control("await_pushes")
        expect("notifications after the stop", len(receiver.states(opened["id"])), 2)
        control("expire_channels", user=shared)
        control("set_push_rules", allow_http=False)


def check_token_refresh(control, service, email):
    control("expire_access_tokens", email=email)
    items, _, _ = pages(service.events(), calendarId=email, maxResults=50)
    expect("the library refreshes an expired access token", bool(items), True)


def run(url):
    control = Control(url)
    run_id = control("advance", seconds=1)["now"].replace(":", "").replace(".", "").lower()
    email, reader = f"ana.{run_id}@example.com", f"bo.{run_id}@example.com"
    ana = service_for(url, control("create_user", email=email)["refresh_token"])
    bo = service_for(url, control("create_user", email=reader)["refresh_token"])
    control("share_calendar", calendar=email, email=reader, role="reader")
    checks = [
        ("calendar list", lambda: check_calendar_list(control, ana, email)),
        ("special ids", lambda: check_special_ids(control, ana, email)),
        ("paging", lambda: check_paging(control, ana, email)),
        ("writes and deltas", lambda: check_writes_and_deltas(control, ana, email)),
        ("series", lambda: check_series(control, ana, email)),
        ("errors", lambda: check_errors(control, ana, bo, email)),
        ("channels", lambda: check_channels(control, ana, bo, email)),
        ("token refresh", lambda: check_token_refresh(control, ana, email)),
    ]
    for name, check in checks:
        check()
        print(f"ok: {name}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    try:
        run(sys.argv[1].rstrip("/"))
    except Mismatch as mismatch:
        sys.exit(f"mismatch: {mismatch}")
    except HttpError as error:
        sys.exit(f"mismatch: an error where none was expected: {error}")
