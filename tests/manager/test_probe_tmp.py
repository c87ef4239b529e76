"""Probes (scratch)."""
import asyncio, json, time
import msgspec, pytest
from kaiju_tasks.errors import *
from kaiju_tasks.protocol import AckState, Lease
from kaiju_tasks.rpc import dispatch
from tests.manager.hand import Calls, HandExecutor, finished, lease_of, pinging, LIMITS, _report
from kaiju_tasks.protocol import Report, ReportError, ReportState

def timer(s): return {"method": "_TIMER_", "params": {"timer": s}}
def message(name=None, **more):
    params = {} if name is None else {"name": name}
    if "default" in more: params["default"] = more.pop("default")
    return {"method": "_MESSAGE_", "params": params, **more}

async def raw(call, method, params_text):
    body = ('{"jsonrpc":"2.0","id":1,"method":"%s","params":%s}' % (method, params_text)).encode()
    a = await dispatch(call._registry, body, call._caller, LIMITS)
    return json.loads(a)

async def test_self_chain(call):
    async with asyncio.timeout(5):
        await call.create(timer(0), id="loop", delay=3600)
        await call("tasks.update", id="loop", data={"next_task": "loop"})
        t = await call("tasks.run_now", id="loop")
        print(t)
        print(await call.get("loop"))

async def test_m_create_next_started(call, executor):
    r = await call("tasks.m_create", data=[{"id": "a", "commands": [timer(0)], "next_task": "b"},
        {"id": "b", "commands": [{"method": "w"}], "delay": 3600}])
    t = await executor.take()
    assert t.id == "b"

async def test_two_finish_same_batch(call, executor):
    await call.create("w", id="b", delay=3600)
    await call.create("w", id="a1", next_task="b")
    await call.create("w", id="a2", next_task="b")
    x, y = await executor.take(), await executor.take()
    await executor.report(finished(x), finished(y))
    t = await executor.take()
    assert t.id == "b"
    await executor.finish(t)
    t = await executor.take()
    assert t.id == "b"

async def test_m_create_errors_have_index(call):
    for bad in ({"commands": []}, {"commands": [{"method":"a"}], "zz": 1}, {"commands": [{"method":"a"}], "next_task": "nope"}, {"commands":[{"method":"a"}], "status": "x"}, 5,
                {"commands": [{"method":"a"}], "cron": "x"}):
        with pytest.raises(InvalidParams) as e:
            await call("tasks.m_create", data=[{"commands":[{"method":"a"}]}, bad])
        print(bad, e.value, e.value.data)
        assert e.value.data["index"] == 1
    await call.create("a", id="dup", delay=3600)
    with pytest.raises(Conflict) as e:
        await call("tasks.m_create", data=[{"commands":[{"method":"a"}]}, {"id":"dup","commands":[{"method":"a"}]}])
    print(e.value.data)
    assert e.value.data["index"] == 1 and e.value.data["status"] == "IDLE"

async def test_overflow_default(call, manager):
    await call.create(message(max_timeout=0.05, default="[!x:sum:[kws.a]:[kws.a]]"), id="m", kws={"a": 2**64-1})
    await call.create(timer(0.1), id="t")
    t = await call.until("t", "FINISHED", timeout=3)
    t = await call.get("m")
    assert t["status"] == "FAILED", t

async def test_connect_weird(call, manager):
    base = dict(id="w", app_names=["default"], capacity=1)
    for change in (dict(id="a\0b"), dict(id=""), dict(id="x"*100000), dict(app_names=["a\0b"]), dict(capacity=2**70), dict(capacity=-1), dict(host="a\0"), dict(pid=2**70), dict(version="\0"), dict(commands=[{"method": "a\0", "doc": "\0"}]), dict(commands=[{"method": "m", "params": {"a": 2**63}}])):
        h = HandExecutor(manager, "w")
        try:
            r = await h.call("manager.connect", **{**base, **change})
            print("ok", change if len(str(change))<100 else "long", r)
            await asyncio.sleep(0.05)
            await h.cut()
        except KaijuError as e:
            print("ERR", str(change)[:60], type(e).__name__, e, e.data)
            assert e.code != -32603, change
        if h.caller.session:
            await h.cut()

async def test_ping_weird(call, manager, executor):
    for cap in (2**70, -5, 2**40):
        try:
            print(await executor.call("manager.ping", id="hand", capacity=cap))
        except KaijuError as e:
            assert e.code != -32603, (cap, e)
    await executor.ping()

async def test_suspend_executor_weird(call, manager):
    for i in ("a\0b", "", "x"*5000):
        with pytest.raises(KaijuError) as e:
            await call("manager.suspend_executor", id=i)
        assert e.value.code != -32603, i

async def test_report_weird(call, executor):
    await call.create("a", "b", id="r1", max_retries=3)
    t = await executor.take()
    bad = [
      dict(id="a\0b"), dict(job_id="\0"), dict(epoch=2**70), dict(stage=2**70), dict(stage=-1), dict(nonce="\0"),
    ]
    for b in bad:
        (ack,) = await executor.report(msgspec.structs.replace(finished(t), **b))
        print(b, ack)
    from kaiju_tasks.api import write_stage_fast
    async def fail(error):
        body = b'{"reports":[{"id":"r1","job_id":"%s","epoch":%d,"nonce":"%s","stage":0,"state":"failed","error":%s}]}' % (t.job_id.encode(), t.epoch, t.nonce.encode(), error)
        return (await write_stage_fast(executor.manager, executor.caller, body)).acks
    deep = b'['*200 + b']'*200
    for error in (b'{"type":"x\\u0000","message":"\\u0000"}', b'{"type":"x","message":"m","data":%s}' % (b'9'*400), b'{"type":"x","message":"m","data":%s}' % deep, ):
        acks = await fail(error)
        print(error[:50], acks, (await call.get("r1"))["error"] if True else "")
        t = await executor.take()

async def test_big_error(call, executor):
    await call.create("a", id="r1")
    t = await executor.take()
    await executor.fail(t, message="x"*5_000_000)
    x = await call.get("r1")
    print(len(x["error"]["message"]))
    assert len(x["error"]["message"]) < 100_000

async def test_huge_result_int(call, executor):
    await call.create("a", id="r1")
    t = await executor.take()
    r = _report(t, ReportState.FINISHED, result=msgspec.Raw(b"1"*5000))
    print(await executor.report(r))
    print((await call.get("r1"))["error"])

async def test_stream_fairness(call, manager):
    for i in range(20):
        await call.create("w", id=f"a{i}", app_name="a")
    for i in range(3):
        await call.create("w", id=f"b{i}", app_name="b")
    h = HandExecutor(manager, "h", capacity=1)
    await h.call("manager.connect", id="h", app_names=["a", "b"], capacity=1)
    seen = []
    async with pinging(h):
        for _ in range(8):
            t = await h.take()
            seen.append(t.id)
            await h.finish(t)
    print(seen)
    assert any(s.startswith("b") for s in seen)

async def test_weird_values(call):
    cases = [
     ('tasks.create', '{"data":{"commands":[{"method":"a","params":{"x":"\\u0000","y":18446744073709551615,"z":1e308}}],"kws":{"\\u0000":"\\u0000"},"meta":{"a":"\\u0000"},"description":"\\u0000x","id":"nul","delay":1000}}'),
     ('tasks.create', '{"data":{"commands":[{"method":"a"}],"id":"a\\ud800"}}'),
     ('tasks.create', '{"data":{"commands":[{"method":"a"}],"next_run":1e300}}'),
     ('tasks.create', '{"data":{"commands":[{"method":"a"}],"next_run":-1}}'),
     ('tasks.create', '{"data":{"commands":[{"method":"a"}],"next_run":NaN}}'),
     ('tasks.create', '{"data":{"commands":[{"method":"a"}],"delay":1e400}}'),
     ('tasks.create', '{"data":{"commands":[{"method":"a"}],"priority":99999999999999999999999}}'),
     ('tasks.create', '{"data":{"commands":[{"method":"a"}],"next_task":"\\u0000"}}'),
     ('tasks.create', '{"data":{"commands":[{"method":"a"}],"group":"\\u0000"}}'),
     ('tasks.create', '{"data":{"commands":[{"method":"a"}],"webhook":{"url":"http://x"}}}'),
     ('tasks.create', '{"data":{"commands":[{"method":"%s"}]}}' % ("a"*300)),
     ('tasks.create', '{"data":{"commands":[{"method":"%s"}],"id":"longm","delay":1000}}' % ("a"*255)),
     ('tasks.create', '{"data":{"commands":[{"method":"_MESSAGE_","params":{"name":"\\u0000"}}]}}'),
     ('tasks.create', '{"data":{"commands":[{"method":"_MESSAGE_","params":{"name":""}}]}}'),
     ('tasks.create', '{"data":{"commands":[{"method":"_MESSAGE_","params":{"name":"%s"}}]}}' % ("n"*300)),
     ('tasks.create', '{"data":{"commands":[{"method":"a"}],"cron":"* * * * *","next_run":253402300799}}'),
     ('tasks.create', '{"data":{"commands":[{"method":"a"}],"every":0.1,"next_run":253402300798}}'),
     ('tasks.list', '{"conditions":{"id":"\\u0000"}}'),
     ('tasks.list', '{"conditions":{"priority":{"gt":18446744073709551615}}}'),
     ('tasks.list', '{"conditions":{"next_run":{"gt":18446744073709551615}}}'),
     ('tasks.list', '{"conditions":{"next_run":1e308}}'),
     ('tasks.list', '{"conditions":{"enabled":{"gt":false}}}'),
     ('tasks.list', '{"conditions":{"enabled":1}}'),
     ('tasks.list', '{"conditions":{"id":{"like":"%%\\\\"}}}'),
     ('tasks.list', '{"conditions":{"status":"NOPE"}}'),
     ('tasks.list', '{"conditions":{"exit_code":null}}'),
     ('tasks.list', '{"conditions":{"exit_code":[null,1]}}'),
     ('tasks.list', '{"conditions":{"created":{"gt":5}}}'),
     ('tasks.list', '{"sort":["nope"]}'), ('tasks.list', '{"sort":[5]}'), ('tasks.list', '{"sort":[["id","desc"]]}'),('tasks.list', '{"sort":"id"}'),
     ('tasks.list', '{"cursor":"zzz"}'), ('tasks.list', '{"cursor":"W1tdLFtdXQ=="}'),
     ('tasks.list', '{"limit":0}'), ('tasks.list', '{"columns":["id","zz"]}'), ('tasks.list', '{"columns":["created","result"]}'),
     ('tasks.get', '{"id":"\\u0000"}'), ('tasks.get', '{"id":5}'), ('tasks.get', '["x"]'), ('tasks.get', '{"id":"x","y":1}'),
     ('tasks.stages', '{"job_id":"zz"}'), ('tasks.wait', '{"id":"nul","timeout":61}'), ('tasks.wait', '{"id":"nul","timeout":0}'),
     ('tasks.message', '{"id":"nul","data":"\\u0000","name":"\\u0000"}'),('tasks.message', '{"id":"nul"}'),
     ('tasks.message', '{"id":"nul","data":1,"message_id":""}'),('tasks.message', '{"id":"nul","data":1}'),
     ('tasks.update', '{"id":"nul","data":{"next_task":"zzz"}}'),('tasks.update', '{"id":"nul","data":{"next_task":"\\u0000"}}'),
     ('tasks.update', '{"id":"nul","data":{"status":"IDLE"}}'),('tasks.update', '{"id":"nul","data":{"id":"b"}}'),('tasks.update', '{"id":"nul","data":{"zz":"b"}}'),
     ('tasks.update', '{"id":"nul","data":{"enabled":null}}'),('tasks.update', '{"id":"nul","data":{}}'),('tasks.update', '{"id":"nul","data":5}'),
     ('tasks.restart_from', '{"id":"nul","stage":7}'),('tasks.restart_from', '{"id":"nul","stage":"zz"}'),('tasks.restart_from', '{"id":"nul","stage":0}'),
     ('tasks.delete_old_tasks', '{"interval_days":-1}'),('tasks.delete_old_tasks', '{"interval_days":36500}'),
     ('tasks.validate', '{"data":{"commands":[]}}'),('tasks.validate', '{"data":{"commands":[{"method":"x"}],"status":"A"}}'),
     ('executors.get', '{"id":"nope"}'), ('executors.suspend', '{"id":"nope"}'),('executors.list', '{}'),
     ('cron.preview', '{"cron":"* * * * *","timezone":"UTC","n":2}'),('cron.preview', '{"cron":"x"}'),('cron.preview', '{"cron":"* * * * *","timezone":"\\u0000"}'),
     ('cron.preview', '{"cron":"* * * * *","n":3,"after":253402300799}'),
     ('manager.write_stage', '{"reports":[]}'),('manager.ping', '{"id":"nope"}'),('manager.execute_stage', '{"a":1}'),('system.info', '{}'),('manager.list_active_executors','{}'),
     ('tasks.m_get','{"ids":["nul","zz","nul"]}'),('tasks.exists','{"id":"nul"}'),('tasks.count','{}'),('tasks.m_delete','{"ids":["zz","nul","nul"]}'),
    ]
    bad = []
    for method, params in cases:
        a = await raw(call, method, params)
        e = a.get("error")
        print(method, params[:130], "->", json.dumps(e or a["result"])[:330])
        if e and e["code"] == -32603: bad.append((method, params[:100]))
    assert not bad, bad
