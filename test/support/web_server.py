"""A small web server for scenarios: web_server.py ADDRESS PORT [CERTIFICATE KEY]. Ends when its parent does."""
import http.server
import ssl
import sys


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, body, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def handle_any(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        if self.headers.get("Upgrade") == "echo":
            return self.echo()
        if self.path == "/page":
            return self.answer(200, '<a href="/next">next</a>', Content_Type="text/html")
        if self.path == "/moved":
            return self.answer(302, "", Location="/next")
        if self.path == "/slow":
            return self.trickle()
        self.answer(200, f"{self.command} {self.path} {self.headers.get('X-Forwarded-Uri')} {body}", Content_Type="text/plain")

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = handle_any

    def trickle(self):
        """Chunks without an end, until the client leaves."""
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            self.wfile.write(b"5\r\nfirst\r\n")
            self.wfile.flush()
            self.rfile.read(1)
        except OSError:
            pass
        self.close_connection = True

    def echo(self):
        """Leaves HTTP and says everything twice."""
        self.send_response(101)
        self.send_header("Connection", "Upgrade")
        self.send_header("Upgrade", "echo")
        self.end_headers()
        self.wfile.flush()
        while line := self.rfile.readline():
            self.wfile.write(line + line)
            self.wfile.flush()
        self.close_connection = True

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), Handler)
server.daemon_threads = True
if len(sys.argv) > 3:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[3], sys.argv[4])
    server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
