"""B06, live: quotes as JSON, CSV and HTTP, each with its age; a stale source no longer steers, its last good word stands till then."""

import http.server
import json
import threading
from pathlib import Path

from polysilicon.gateway.broker.quotes import Feed, parse
from polysilicon.gateway.config import QuotePart

ROWS = [{"target": "a", "model": "m", "usd_per_mtok_in": 3.0, "usd_per_mtok_out": 15.0, "at": "2026-11-22T00:00:00Z"}]


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = json.dumps(ROWS).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def test_live_feeds(tmp_path: Path) -> None:
    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        feed = Feed(QuotePart(url=f"http://127.0.0.1:{server.server_port}/", every_s=1.0, stale_after_s=10.0), [])
        feed.read(100.0)
        server.shutdown()
        thread.join(5)
    assert feed.quotes[0].usd_per_mtok_out == 15.0
    assert not feed.stale(109.0)
    feed.read(105.0)
    assert feed.problem
    assert feed.quotes
    assert feed.stale(111.0)
    csv = "target,model,usd_per_mtok_in,usd_per_mtok_out,available,at\na,m,3,15,yes,2026-11-22\nb,m,2,9,no,2026-11-21\n"
    quotes = parse(csv.encode(), "feed.csv")
    assert [(q.target, q.usd_per_mtok_in, q.available, q.at) for q in quotes] == [("a", 3.0, True, "2026-11-22"), ("b", 2.0, False, "2026-11-21")]
    path = tmp_path / "quotes.json"
    path.write_text(json.dumps(ROWS))
    local = Feed(QuotePart(file=str(path)), [])
    local.read(1.0)
    assert local.quotes == feed.quotes
