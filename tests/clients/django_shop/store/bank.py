"""The bank that charges customers: an HTTP service that takes its time, as such services do."""

import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SECONDS = 0.15


class Bank(BaseHTTPRequestHandler):
    def do_POST(self):
        time.sleep(SECONDS)
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


def open_bank():
    """Starts it and gives its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Bank)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}/charge"


URL = open_bank()


def charge(order):
    request = urllib.request.Request(f"{URL}?order={order}", method="POST")
    with urllib.request.urlopen(request, timeout=10):
        pass
