"""The page at `/`."""

from kaiju_tasks.version import __version__

__all__ = ["PAGE"]

PAGE = f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>kaiju_tasks</title>
<body>
<h1>kaiju_tasks {__version__}</h1>
<p>A manager of tasks: pipelines of commands that executors run. It is talked to by JSON-RPC 2.0:
<code>POST /rpc</code>, or a WebSocket on the same path.</p>
<ul>
<li><a href="openrpc.json">openrpc.json</a>: every method, its parameters, result and errors</li>
<li><a href="healthz">healthz</a>, <a href="readyz">readyz</a>: is it up, does it reach its
database</li>
<li><a href="metrics">metrics</a>: for Prometheus</li>
</ul>
<pre>curl {{url}}/rpc -H 'Content-Type: application/json' \\
  -d '{{{{"jsonrpc": "2.0", "id": 1, "method": "system.info"}}}}'</pre>
"""
