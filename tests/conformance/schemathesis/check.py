"""Sends requests made from the host's own OpenAPI document to the host: none may fail it.

    check.py HOST_BINARY PLUGINS_DIRECTORY

Starts the host on a new data directory, logs in as its operator, makes an integration with an owner
that is linked, a query, a target, a subscription and an error handler, and lets schemathesis run with a
fixed seed. An answer from 500 on is a failure, as is a host that is gone
or that logged an error.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

EMAIL = "owner@example.com"
SEED = "20261126"
EXAMPLES = "20"
START_LIMIT_S = 60

# They would end what all other requests need. tests/api/fuzz.rs makes deleted things again.
LEFT_OUT = {
    "/v1/auth/logout": "ends the session",
    "/v1/auth/revoke": "ends the session",
    "/v1/organizations/{org}/close": "ends the organization",
    "/v1/organizations/{org}/saved_queries/{q}/delete": "ends the query",
    "/v1/organizations/{org}/webhook_subscriptions/{w}/delete": "ends the subscription",
    "/v1/organizations/{org}/error_handlers/{h}/delete": "ends the error handler",
}

OWNER = "customer-1"
WEBHOOK_SECRET = "s3cret0s3cret0"

# Otherwise almost every request would stop at something that isn't there. How what is unknown is answered
# is shown by tests/api/fuzz.rs.
CONFIG = """
[parameters]
"path.org" = "default"
"path.i" = "{integration}"
"path.owner" = "{owner}"
"path.name" = "google_calendar_event_v1"
"path.field" = "webhook_secret"
"path.q" = "{query}"
"path.t" = "{target}"
"path.w" = "{subscription}"
"path.h" = "{handler}"
"""


class Neighbour(BaseHTTPRequestHandler):
    """Takes what the host sends, and knows no grant: so the vendor is asked for nothing else."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        """Of a token, of a delivery."""
        self.rfile.read(int(self.headers.get("content-length", 0)))
        of_token = self.path == "/token"
        body = b'{"error": "invalid_grant"}' if of_token else b"{}"
        self.send_response(400 if of_token else 200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, form, *values):
        """Nothing."""


def neighbour():
    """Where one listens, until the program ends."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Neighbour)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"127.0.0.1:{server.server_address[1]}"


class Host:
    """A running host."""

    def __init__(self, binary, plugins, directory):
        self.binary = binary
        self.data_dir = directory / "data"
        self.log = directory / "host.log"
        ours = {name: value for name, value in os.environ.items() if not name.startswith("ROWGATE_")}
        self.environment = ours | {
            "ROWGATE_DATA_DIR": str(self.data_dir),
            "ROWGATE_DELIVERY_ALLOW_HTTP": "true",
        }
        command = [binary, "serve", "--listen", "127.0.0.1:0", "--plugins", plugins]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, env=self.environment, stderr=log)
        self.url = self.announced()

    def announced(self):
        """Where it listens, once it does."""
        until = time.monotonic() + START_LIMIT_S
        while time.monotonic() < until and self.process.poll() is None:
            try:
                url = json.loads((self.data_dir / "host.lock").read_text())["public_url"]
                urllib.request.urlopen(f"{url}/healthz").close()
                return url
            except (OSError, ValueError, KeyError):
                time.sleep(0.02)
        raise SystemExit(f"the host doesn't listen:\n{self.log.read_text()}")

    def command(self, *arguments):
        """What `rowgate` prints."""
        command = [self.binary, *arguments]
        return subprocess.run(
            command, env=self.environment, check=True, capture_output=True, text=True
        ).stdout

    def post(self, path, body, token=None, secret=None):
        """The answer to a post, and its headers."""
        headers = {"Content-Type": "application/json"}
        if token:
            headers["Whdb-Auth-Token"] = token
        if secret:
            headers["Whdb-Webhook-Secret"] = secret
        data = json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, headers=headers)
        with urllib.request.urlopen(request) as answer:
            return json.load(answer), answer.headers

    def session(self):
        """The token of the first who logs in, who may do everything."""
        code = self.command("auth", "code", EMAIL).strip()
        done, headers = self.post("/v1/auth", {"email": EMAIL, "token": code})
        assert done["complete"], done
        return headers["Whdb-Auth-Token"].split(";")[0]

    def stop(self):
        """Ends it; the lines that it logged as errors."""
        self.process.terminate()
        status = self.process.wait(timeout=60)
        assert status == 0, f"the host ended with {status}"
        return [line for line in self.log.read_text().splitlines() if " ERROR " in line]


def run(host, directory):
    """Whether all went well."""
    token = host.session()
    of = "/v1/organizations/default"
    near = neighbour()
    settings = {
        "webhook_secret": WEBHOOK_SECRET,
        "client_id": "id",
        "client_secret": "secret",
        "api_url": f"http://{near}/api",
        "token_url": f"http://{near}/token",
    }
    body = {"service_name": "google_calendar_list_v1", "settings": settings}
    made, _ = host.post(f"{of}/service_integrations/create", body, token)
    assert made["complete"], made
    [integration] = json.loads(host.command("integrations", "list", "--format", "json"))
    of_integration = {"service_integration_identifier": integration["opaque_id"]}
    body = {"description": "one", "sql": "select 1"}
    query, _ = host.post(f"{of}/saved_queries/create", body, token)
    body = of_integration | {"connection_url": f"http://user:pass@{near}/", "period_seconds": 3600}
    target, _ = host.post(f"{of}/sync_targets/http/create", body, token)
    body = of_integration | {"url": f"http://{near}/", "webhook_secret": "s"}
    subscription, _ = host.post(f"{of}/webhook_subscriptions/create", body, token)
    handler, _ = host.post(f"{of}/error_handlers/create", {"url": f"http://{near}/"}, token)
    body = {"type": "LINKED", "external_owner_id": OWNER, "refresh_token": "1//x"}
    endpoint = f"/v1/service_integrations/{integration['opaque_id']}"
    host.post(endpoint, body, secret=WEBHOOK_SECRET)
    config = directory / "schemathesis.toml"
    config.write_text(
        CONFIG.format(
            integration=integration["opaque_id"],
            owner=OWNER,
            query=query["id"],
            target=target["opaque_id"],
            subscription=subscription["opaque_id"],
            handler=handler["opaque_id"],
        )
    )
    command = [
        pathlib.Path(sys.executable).with_name("st"),
        "--config-file", config, "run", f"{host.url}/v1/openapi.json",
        "--checks", "not_a_server_error",
        "--phases", "examples,coverage,fuzzing",
        "--max-examples", EXAMPLES,
        "--seed", SEED,
        "--generation-database", "none",
        "--request-timeout", "30",
        "--suppress-health-check", "all",
        "--warnings", "off",
        "--no-color",
        "--header", f"Whdb-Auth-Token:{token}",
    ]
    for path, why in LEFT_OUT.items():
        print(f"left out: {path}: it {why}", flush=True)
        command += ["--exclude-path", path]
    return subprocess.run(command, cwd=directory, check=False).returncode == 0


def main():
    """Runs it all on a directory that is gone afterwards."""
    binary, plugins = (str(pathlib.Path(argument).absolute()) for argument in sys.argv[1:])
    directory = pathlib.Path(tempfile.mkdtemp(prefix="rowgate-schemathesis-"))
    host = None
    try:
        host = Host(binary, plugins, directory)
        went_well = run(host, directory)
        errors = host.stop()
        if errors:
            print("the host logged errors:", *errors, sep="\n", flush=True)
        sys.exit(0 if went_well and not errors else 1)
    finally:
        if host and host.process.poll() is None:
            host.process.kill()
        shutil.rmtree(directory, ignore_errors=True)


main()
