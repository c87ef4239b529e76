"""`events.*`: subscriptions to events over a WebSocket (docs/events.md)."""

import logging

from msgspec.structs import replace

from kaiju_tasks.api.caller import Caller
from kaiju_tasks.api.params import Subscribed, SubscribeParams, SubscriptionParams
from kaiju_tasks.api.parents import without_parent
from kaiju_tasks.api.permission import seen_by
from kaiju_tasks.api.queries import read_conditions
from kaiju_tasks.api.unseen import check_comparisons
from kaiju_tasks.errors import InvalidRequest, TooManyRequests
from kaiju_tasks.manager import Manager
from kaiju_tasks.manager.events.event_matcher import EVENT_COLUMNS
from kaiju_tasks.manager.events.hub import EncodedEvent, EventHub, Subscription
from kaiju_tasks.manager.executors.sessions import Connection
from kaiju_tasks.rights import access
from kaiju_tasks.rpc import encode_notification
from kaiju_tasks.store.query import sight_conditions
from kaiju_tasks.types import TaskEvent

log = logging.getLogger(__name__)

SUBSCRIPTIONS_MAX = 100
DROPPED, LOST = "events.dropped", "events.lost"
TOO_SLOW = (
    "events arrived faster than they were read; subscribe again, and read the tasks to catch up"
)


class EventsApi:
    """The methods on subscriptions."""

    def __init__(self, manager: Manager) -> None:
        self._hub = manager.events
        self._dice = manager.dice

    async def subscribe(self, caller: Caller, params: SubscribeParams) -> Subscribed:
        """Subscribe to events over this WebSocket. Each event is a notification with its name."""
        sight = seen_by(caller, access.READ_TASKS)
        conditions = read_conditions(params.conditions, EVENT_COLUMNS)
        check_comparisons(sight, conditions)
        conditions += sight_conditions(sight)
        connection = _connection(caller, "events.subscribe")
        if len(caller.subscriptions) >= SUBSCRIPTIONS_MAX:
            raise TooManyRequests(
                f"a WebSocket may hold {SUBSCRIPTIONS_MAX} subscriptions: end one, or open another",
                limit=SUBSCRIPTIONS_MAX,
            )
        id = self._dice.nonce()
        hides_parents = bool(sight.streams)
        socket = _Socket(id, connection, caller, self._hub, hides_parents=hides_parents)
        subscription = Subscription(conditions, socket.take, socket.lost)
        caller.subscriptions[id] = subscription
        self._hub.subscribe(subscription)
        return Subscribed(id)

    async def unsubscribe(self, caller: Caller, params: SubscriptionParams) -> bool:
        """End a subscription of this WebSocket. The result is false if it does not exist."""
        _connection(caller, "events.unsubscribe")
        subscription = caller.subscriptions.pop(params.subscription, None)
        if subscription is not None:
            self._hub.unsubscribe(subscription)
        return subscription is not None


def _connection(caller: Caller, method: str) -> Connection:
    if caller.connection is None:
        raise InvalidRequest(f"{method} must be called over the WebSocket at /rpc, not over POST")
    return caller.connection


def _brief(event: TaskEvent) -> TaskEvent:
    """An event without its message, which can contain data of the task."""
    data = event.data
    if data is None or "message" not in data:
        return event
    return replace(event, data={**data, "message": data.get("type")})


class _Socket:
    """Sends the events of one subscription. It never waits: a slow subscriber is dropped."""

    def __init__(
        self,
        id: str,
        connection: Connection,
        caller: Caller,
        hub: EventHub,
        *,
        hides_parents: bool,
    ) -> None:
        self._id = id
        self._connection = connection
        self._caller = caller
        self._hub = hub
        self._hides_parents = hides_parents

    def take(self, event: EncodedEvent) -> None:
        if self._hides_parents and event.event.parent_id is not None:
            event = EncodedEvent(without_parent(event.event))
        if not self._caller.principal.sees_data:
            event = EncodedEvent(_brief(event.event))
        if not self._connection.offer(event.notification(self._id)):
            self._drop()

    def lost(self, reason: str) -> None:
        params = {"subscription": self._id, "reason": reason}
        if not self._connection.offer(encode_notification(LOST, params)):
            self._drop()

    def _drop(self) -> None:
        subscription = self._caller.subscriptions.pop(self._id, None)
        if subscription is not None:
            self._hub.unsubscribe(subscription)
            log.info(
                "a subscriber at %s reads too slowly; its subscription was dropped",
                self._caller.remote,
            )
            params = {"subscription": self._id, "reason": TOO_SLOW}
            self._connection.send(encode_notification(DROPPED, params))
