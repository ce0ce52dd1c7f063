#!/usr/bin/env python3
"""An admission webhook for scenarios: webhook_server.py CERTIFICATE KEY PORT_FILE. /mutate adds data, /validate denies
what is called "forbidden", /hang never answers."""
import base64
import http.server
import json
import ssl
import sys
import threading


class Hook(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        request = review["request"]
        response = {"uid": request["uid"], "allowed": True}
        path = self.path.split("?")[0]
        if path == "/hang":
            threading.Event().wait(30)
        if path == "/mutate":
            patch = [{"op": "add", "path": "/data", "value": {"hooked": "yes"}}]
            response["patchType"] = "JSONPatch"
            response["patch"] = base64.b64encode(json.dumps(patch).encode()).decode()
        if path == "/validate" and request.get("name") == "forbidden":
            response["allowed"] = False
            response["status"] = {"message": "not in my namespace"}
        answer = json.dumps({"apiVersion": review["apiVersion"], "kind": "AdmissionReview", "response": response}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        pass  # a client that stopped waiting


def main(certificate, key, port_file):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = Server(("127.0.0.1", 0), Hook)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    with open(port_file, "w") as out:
        out.write(str(server.server_address[1]))
    server.serve_forever()


main(*sys.argv[1:])
