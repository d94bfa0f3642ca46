# A shop that keeps a page of 1 MiB for each request, and never forgets one.
import http.server

pages = []


class Shop(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        pages.append(bytearray(b"x" * (1 << 20)))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *args):
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", 8014), Shop).serve_forever()
