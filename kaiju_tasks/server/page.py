"""Provides the HTML page at `/`."""

from kaiju_tasks.version import __version__

__all__ = ["PAGE"]

PAGE = f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>kaiju_tasks</title>
<body>
<h1>kaiju_tasks {__version__}</h1>
<p>This is a task manager. Tasks are pipelines of commands that executors run. Call its methods with
JSON-RPC 2.0: <code>POST /rpc</code>, or a WebSocket on the same path.</p>
<ul>
<li><a href="openrpc.json">openrpc.json</a>: all methods, their parameters, results and errors</li>
<li><a href="healthz">healthz</a>, <a href="readyz">readyz</a>: whether the manager is up, and
whether it reaches its database</li>
<li><a href="metrics">metrics</a>: metrics for Prometheus</li>
</ul>
<pre>curl {{url}}/rpc -H 'Content-Type: application/json' \\
  -d '{{{{"jsonrpc": "2.0", "id": 1, "method": "system.info"}}}}'</pre>
"""
